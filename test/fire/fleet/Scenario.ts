/** What people do with a fleet while something goes wrong on one of its servers. All of it is data, and shrinks. */
import type { VersionProfile } from "@effect-comfyui/testing"
import * as fc from "fast-check"
import { type Job, type Kind, kinds, type Scenario } from "../Scenario.ts"

/** One job for a pool. */
export interface FleetJob extends Job {
  readonly tenant: string
  readonly priority: number
}

/** Everything that chance decides. */
export interface FleetScenario extends Omit<Scenario, "jobs" | "version"> {
  /** Of the servers, one each. */
  readonly versions: ReadonlyArray<VersionProfile.Version>
  readonly jobs: ReadonlyArray<FleetJob>
  /** The server that the fault strikes, from 0. */
  readonly victim: number
}

/** What a row may fix of its scenarios. */
export interface FleetShape {
  readonly kinds?: ReadonlyArray<Kind>
  readonly minJobs?: number
  readonly maxJobs?: number
  readonly cancels?: boolean
  readonly versions?: ReadonlyArray<VersionProfile.Version>
  /** How many servers, at least and at most. Default 2 to 6. */
  readonly servers?: readonly [least: number, most: number]
  /** The jobs come within so many milliseconds. Default 5 s. */
  readonly arrivalsMs?: number
  /** 1 to this. Default 20. */
  readonly maxSize?: number
}

const all: ReadonlyArray<VersionProfile.Version> = ["0.33.0", "0.27.0", "0.20.1", "0.12.3", "0.3.64"]

/** Scenarios of a shape. */
export const scenarios = (shape: FleetShape = {}): fc.Arbitrary<FleetScenario> => {
  const { arrivalsMs = 5_000, maxJobs = 8, maxSize = 20, minJobs = 1, servers: [least, most] = [2, 6] } = shape
  const job: fc.Arbitrary<FleetJob> = fc.record({
    kind: fc.constantFrom(...(shape.kinds ?? kinds)),
    size: fc.integer({ min: 1, max: maxSize }),
    startMs: fc.integer({ min: 0, max: arrivalsMs }),
    cancelMs: shape.cancels === true
      ? fc.option(fc.integer({ min: 0, max: 8_000 }), { nil: undefined, freq: 3 })
      : fc.constant(undefined),
    attachMs: fc.option(fc.integer({ min: 0, max: 10_000 }), { nil: undefined }),
    tenant: fc.constantFrom("a", "b", "c"),
    priority: fc.integer({ min: -1, max: 1 })
  })
  const version = fc.constantFrom(...(shape.versions ?? all))
  return fc.record({
    versions: fc.array(version, { minLength: least, maxLength: most }),
    seed: fc.integer({ min: 1, max: 1_000_000 }),
    jobs: fc.array(job, { minLength: minJobs, maxLength: maxJobs }),
    faultMs: fc.integer({ min: 0, max: 8_000 }),
    dial: fc.integer({ min: 0, max: 99 }),
    victim: fc.nat({ max: 5 })
  }).map((scenario) => ({ ...scenario, victim: scenario.victim % scenario.versions.length }))
}
