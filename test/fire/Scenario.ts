/** What people do while something goes wrong: a few jobs at chosen times on one server. All of it is data, and shrinks. */
import type { VersionProfile } from "@effect-comfyui/testing"
import { Workflows } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as fc from "fast-check"

/** Kinds of jobs: `raising` and `outOfMemory` fail in their node, all others succeed. */
export const kinds = ["picture", "counting", "drawing", "slow", "raising", "outOfMemory"] as const
export type Kind = (typeof kinds)[number]

/** One job: how large it is decides its length; `cancelMs` after its start somebody cancels it. */
export interface Job {
  readonly kind: Kind
  /** 1 to 20. */
  readonly size: number
  readonly startMs: number
  readonly cancelMs: number | undefined
  /** A second subscriber comes so much later. */
  readonly attachMs: number | undefined
}

/** Everything that chance decides. */
export interface Scenario {
  readonly version: VersionProfile.Version
  /** Of the server: its ids, and the dice of its faults. */
  readonly seed: number
  readonly jobs: ReadonlyArray<Job>
  /** When the fault strikes; 0 is before the first job. */
  readonly faultMs: number
  /** 0 to 99, free for a row. */
  readonly dial: number
}

/** What a job runs. Every size makes other keys, so that nothing is served from the cache. */
export const workflowOf = ({ kind, size }: Job, index: number): Workflow => {
  switch (kind) {
    case "picture":
      return Workflows.picture({ color: size * 1000 + index })
    case "counting":
      return Workflows.counting({ steps: size * 2 + index, stepMs: 200, previews: size % 2 === 0 })
    case "drawing":
      return Workflows.textToImage({ seed: size, steps: size, width: 64, height: 64, filenamePrefix: `job-${index}` })
    case "slow":
      return Workflows.slow({ seconds: size + index / 10 })
    case "raising":
      return Workflows.raising({ message: `job ${index}` })
    case "outOfMemory":
      return Workflows.outOfMemory({ seconds: size / 10 + index / 100 })
  }
}

/** The output nodes of a job that succeeds, each with the number of its files. */
export const outputsOf = (kind: Kind): Readonly<Record<string, number>> => {
  switch (kind) {
    case "picture":
      return { "2": 1 }
    case "counting":
      return { "1": 0 }
    case "drawing":
      return { "9": 1 }
    case "slow":
      return { "2": 0, "3": 1 }
    case "raising":
    case "outOfMemory":
      return {}
  }
}

/** What a row may fix of its scenarios. */
export interface Shape {
  readonly kinds?: ReadonlyArray<Kind>
  readonly maxJobs?: number
  readonly cancels?: boolean
  readonly versions?: ReadonlyArray<VersionProfile.Version>
}

const versions: ReadonlyArray<VersionProfile.Version> = ["0.33.0", "0.27.0", "0.20.1", "0.12.3", "0.3.64"]

/** Scenarios of a shape. */
export const scenarios = (shape: Shape = {}): fc.Arbitrary<Scenario> => {
  const job: fc.Arbitrary<Job> = fc.record({
    kind: fc.constantFrom(...(shape.kinds ?? kinds)),
    size: fc.integer({ min: 1, max: 20 }),
    startMs: fc.integer({ min: 0, max: 3_000 }),
    cancelMs: shape.cancels === true
      ? fc.option(fc.integer({ min: 0, max: 8_000 }), { nil: undefined, freq: 3 })
      : fc.constant(undefined),
    attachMs: fc.option(fc.integer({ min: 0, max: 5_000 }), { nil: undefined })
  })
  return fc.record({
    version: fc.constantFrom(...(shape.versions ?? versions)),
    seed: fc.integer({ min: 1, max: 1_000_000 }),
    jobs: fc.array(job, { minLength: 1, maxLength: shape.maxJobs ?? 3 }),
    faultMs: fc.integer({ min: 0, max: 5_000 }),
    dial: fc.integer({ min: 0, max: 99 })
  })
}
