/**
 * One client on one server as a small pure model: commands in, and for every run what may come of it. It knows nothing
 * of frames, answers and clocks; all it says is which endings would be lies.
 */
import type { VersionProfile } from "@effect-comfyui/testing"
import * as fc from "fast-check"
import type { Permits } from "./Judge.ts"
import { type Job, type Kind, kinds } from "./Scenario.ts"

/** What people and the world do. `run` counts the runs so far, from the last. */
export type Command =
  | { readonly _tag: "Submit"; readonly kind: Kind; readonly size: number }
  | { readonly _tag: "Cancel" | "Attach" | "Leave"; readonly run: number }
  | { readonly _tag: "Kill" | "Restart" | "CutSocket" | "Deafen" | "HalfOpen" }
  /** Answers and frames take so long for ten seconds. */
  | { readonly _tag: "Delay"; readonly ms: number }
  /** The next POST is done or not done, and has no answer. */
  | { readonly _tag: "LosePost"; readonly done: boolean }
  | { readonly _tag: "Advance"; readonly ms: number }

const run = fc.nat({ max: 3 })

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      _tag: fc.constant("Submit"),
      kind: fc.constantFrom(...kinds),
      size: fc.integer({ min: 1, max: 6 })
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({ _tag: fc.constant("Advance"), ms: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 15_000 })) })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constantFrom("Cancel", "Attach"), run }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Leave"), run }) },
  {
    weight: 3,
    arbitrary: fc.record({ _tag: fc.constantFrom("Kill", "Restart", "CutSocket", "Deafen", "HalfOpen") })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Delay"), ms: fc.integer({ min: 1, max: 3_000 }) }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("LosePost"), done: fc.boolean() }) }
)

/** A sequence of them on a server of some version. */
export interface Sequence {
  readonly version: VersionProfile.Version
  readonly seed: number
  readonly commands: ReadonlyArray<Command>
}

export const sequences: fc.Arbitrary<Sequence> = fc.record({
  version: fc.constantFrom<VersionProfile.Version>("0.33.0", "0.27.0", "0.20.1", "0.12.3", "0.3.64"),
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  commands: fc.array(command, { minLength: 1, maxLength: 20 })
})

/** What may be true of one run. */
interface RunModel {
  /** The process died while it was open: nobody can know how it went. */
  readonly mayBeLost: boolean
  /** The server was away, or a POST was lost, before it was accepted. */
  readonly mayBeUnreached: boolean
}

export interface Model {
  readonly up: boolean
  /** The next POSTs that have no answer: whether they are done. */
  readonly losses: ReadonlyArray<boolean>
  readonly runs: ReadonlyArray<RunModel>
}

export const initial: Model = { up: true, losses: [], runs: [] }

/** The job that a `Submit` stands for. */
export const jobOf = ({ kind, size }: Extract<Command, { readonly _tag: "Submit" }>): Job => ({
  kind,
  size,
  startMs: 0,
  cancelMs: undefined,
  attachMs: undefined
})

/** The index that a command means among `count` runs; undefined where there is none. */
export const chosen = (back: number, count: number): number | undefined => back < count ? count - 1 - back : undefined

/** `isOpen`: the stream of a run had not ended when the command came. */
export const step = (model: Model, command: Command, isOpen: (index: number) => boolean): Model => {
  switch (command._tag) {
    case "Submit":
      return {
        ...model,
        // A POST to a dead server may use up a loss, or not.
        losses: model.up ? model.losses.slice(1) : model.losses.map(() => false),
        runs: [...model.runs, { mayBeLost: !model.up, mayBeUnreached: !model.up || model.losses[0] === false }]
      }
    case "Kill":
    case "Restart":
      return {
        ...model,
        up: command._tag === "Restart",
        runs: model.runs.map((run, index) => isOpen(index) ? { mayBeLost: true, mayBeUnreached: true } : run)
      }
    case "LosePost":
      return { ...model, losses: [...model.losses, command.done] }
    default:
      return model
  }
}

/** What the model permits beside the plain truth. */
export const permitsOf = ({ mayBeLost, mayBeUnreached }: RunModel): Permits => ({
  reasons: [
    ...mayBeLost ? ["Lost", "SubmitAmbiguous"] as const : [],
    ...mayBeUnreached || mayBeLost ? ["Unreachable"] as const : []
  ],
  toldWithinMs: mayBeLost ? 20 * 60_000 : 180_000
})
