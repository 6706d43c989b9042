/** What the rows of the fault table are made of when a pool plays them: what strikes, which jobs, what may come of it. */
import { Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import { judge, type Permits } from "./Judge.ts"
import type { Observation } from "./Observation.ts"
import type { FleetScenario, FleetShape } from "./Scenario.ts"
import { observe, type Strike, type World, type WorldOptions } from "./World.ts"

/** One row; `row` is its number in the table of faults. */
export interface FleetRow extends WorldOptions {
  readonly row: number
  readonly name: string
  readonly shape?: FleetShape
  readonly permits?: Permits
  readonly strike: Strike
  /** What this row demands beside what all do. */
  readonly also?: (seen: Observation, scenario: FleetScenario) => ReadonlyArray<string>
}

/** Plays a scenario and judges it. */
export const complaints = (row: FleetRow, scenario: FleetScenario): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(observe(row, scenario, row.strike), (seen) => [
    ...judge(seen, row.permits),
    ...row.also?.(seen, scenario) ?? []
  ])

export type Faults = (scenario: FleetScenario, index: number) => ReadonlyArray<Fault.Fault>

/** Faults on the victim. */
export const inject = (faults: Faults): Strike => ({ victim }, scenario) =>
  Effect.asVoid(victim.inject(faults(scenario, scenario.victim)))

/** Faults on all servers. */
export const injectAll = (faults: Faults): Strike => ({ servers }, scenario) =>
  Effect.forEach(servers, (server, index) => server.inject(faults(scenario, index)), { discard: true })

/** A new process in the place of whichever dies, two seconds later. */
export const supervise = ({ servers }: World) =>
  Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    yield* Effect.sleep(2_000)
    for (const server of servers) {
      const { up } = yield* server.snapshot
      if (!up) yield* server.restart
    }
  }))))

/** Faults on the victim that may kill it. */
export const supervised = (faults: Faults): Strike => (world, scenario) =>
  Effect.andThen(inject(faults)(world, scenario), supervise(world))

export const post = Fault.request("POST", "/prompt")
export const questions = Fault.method("GET")
export const succeeding: FleetShape = { kinds: ["picture", "counting", "drawing", "slow"], minJobs: 2 }
export const long: FleetShape = { kinds: ["counting", "slow", "drawing"], minJobs: 2 }

/** A whole number between the bounds, by the scenario's dial. */
export const share = ({ dial }: FleetScenario, low: number, high: number): number =>
  Math.round(low + ((high - low) * dial) / 99)
