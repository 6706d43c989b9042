// What a `packages/*/bench/*.bench.ts` exports: `export const cases: ReadonlyArray<Case>`.

/** `max` and `min` bound the ratio ours / reference, the absolute ones bound ours itself, in the case's unit. */
export type Goal =
  | { readonly max: number }
  | { readonly min: number }
  | { readonly maxAbsolute: number }
  | { readonly minAbsolute: number }

/** One round of work; answers how many units it did: frames, runs, megabytes. A round of 20 ms or more is steady. */
export type Work = () => number | Promise<number>

export interface Sides {
  readonly ours: Work
  readonly reference: Work
  readonly close?: () => void | Promise<void>
}

/** One round's figures. */
export interface Sample {
  readonly ours: number
  readonly reference: number
  readonly ratio: number
}

interface Named {
  readonly name: string
  readonly goal: Goal
  /** What `ours` and `reference` are in; only shown. */
  readonly unit?: string
  /**
   * `close`: a ratio with a goal from 0.95 to 1.2, 30 rounds, and a 90 % interval narrower than ±3 % that reaches the
   * goal. `wide`: the median of at least five rounds.
   */
  readonly noise: "close" | "wide"
  /** At least five; 30 when close. */
  readonly rounds?: number
}

/** Ours beside what it is compared with, in turns in one process. */
export interface Compared extends Named {
  /** `cpu`: nanoseconds of CPU time of this process per unit. `rate`: units per second by the clock. */
  readonly measure: "cpu" | "rate"
  /**
   * How often each side works within a round, in turns; default once. Many short turns see the same machine where it has
   * other work to do now and then.
   */
  readonly turns?: number
  readonly prepare: () => Sides | Promise<Sides>
}

/** A figure without a counterpart, such as memory: its reference is the nanoseconds of one JSON.parse on this machine. */
export interface Single extends Named {
  readonly measure: "figure"
  readonly figure: () => number | Promise<number>
}

/** A case that takes its samples by itself. */
export interface Own extends Named {
  readonly measure: "samples"
  readonly samples: () => ReadonlyArray<Sample> | Promise<ReadonlyArray<Sample>>
}

export type Case = Compared | Single | Own
