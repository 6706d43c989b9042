/** What the rows of the fault table are made of: what strikes, which jobs it meets, what may come of it beside the truth. */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import { ComfyTest, type FakeServer, Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Permits } from "../Judge.ts"
import type { Scenario, Shape } from "../Scenario.ts"
import { live, type Observation, type World, type WorldOptions } from "../World.ts"

/** What a row does to the server at its time; it may go on in the background. */
export type Strike = (server: FakeServer, scenario: Scenario) => Effect.Effect<void, never, Scope.Scope>

/** One row: `row` is its number in the table of faults, or a word for the slow world of real fleets. */
export interface Row extends Omit<WorldOptions, "version" | "seed"> {
  readonly row: number | "slow" | "proxy" | "fleet"
  readonly name: string
  readonly shape?: Shape
  readonly permits?: Permits
  readonly strike: Strike
}

const jobs = (world: World, scenario: Scenario) =>
  Effect.forEach(
    scenario.jobs,
    (job) =>
      Effect.gen(function*() {
        yield* Effect.sleep(job.startMs)
        const running = yield* world.start(job)
        yield* Effect.all([
          job.attachMs === undefined
            ? Effect.void
            : Effect.andThen(Effect.sleep(job.attachMs), world.attach(running)),
          job.cancelMs === undefined ? Effect.void : Effect.andThen(Effect.sleep(job.cancelMs), world.cancel(running))
        ], { concurrency: "unbounded" })
      }),
    { concurrency: "unbounded", discard: true }
  )

/** Plays a row's scenario: the jobs at their times, and the fault at its own. */
export const observe = (row: Row, scenario: Scenario): Effect.Effect<Observation> =>
  live({ ...row, version: scenario.version, seed: scenario.seed }, (world) =>
    Effect.gen(function*() {
      const strike = row.strike(world.server, scenario)
      const later = scenario.faultMs === 0 ? strike : Effect.andThen(Effect.sleep(scenario.faultMs), strike)
      yield* Effect.forkScoped(later, { startImmediately: true })
      const done = yield* Effect.forkScoped(jobs(world, scenario), { startImmediately: true })
      // All have started, been joined and been cancelled by then.
      yield* ComfyTest.advanceUntil(() => done.pollUnsafe() !== undefined, { step: "1 second", limit: "20 seconds" })
    }).pipe(Effect.orDie))

/** The faults of one scenario. */
export type Faults = (scenario: Scenario) => ReadonlyArray<Fault.Fault>

export const inject = (faults: Faults): Strike => (server, scenario) =>
  Effect.forEach(faults(scenario), (fault) => server.inject(fault), { discard: true })

/** Faults, and sockets that break, so that HTTP has to tell. */
export const withoutSocket = (faults: Faults): Strike => (server, scenario) =>
  Effect.andThen(
    inject((now) => [Fault.refuseUpgrades({ status: 503 }, { forMs: 60_000 }), ...faults(now)])(server, scenario),
    server.cutSockets()
  )

/** The process dies, and a new one is there `dial` tenths of a second later. */
export const killed: Strike = (server, { dial }) =>
  server.kill.pipe(Effect.andThen(Effect.sleep(dial * 100)), Effect.andThen(server.restart))

/** A new process in the place of whichever dies, two seconds later. */
export const supervised = (faults: Faults): Strike => (server, scenario) =>
  Effect.gen(function*() {
    yield* inject(faults)(server, scenario)
    yield* Effect.forkScoped(
      Effect.forever(Effect.gen(function*() {
        yield* Effect.sleep(2_000)
        const { up } = yield* server.snapshot
        if (!up) yield* server.restart
      }))
    )
  })

export const post = Fault.request("POST", "/prompt")
export const questions = Fault.method("GET")
export const succeeding: Shape = { kinds: ["picture", "counting", "drawing", "slow"] }
export const long: Shape = { kinds: ["counting", "slow", "drawing"] }
export const cancelling: Shape = { kinds: ["counting", "slow", "drawing", "picture"], cancels: true }

/** The server cannot be asked any more: its process and its memory are gone. */
export const gone: ReadonlyArray<Reason["_tag"]> = ["Lost", "Unreachable", "SubmitAmbiguous"]

/** A whole number between the bounds, by the scenario's dial. */
export const share = ({ dial }: Scenario, low: number, high: number): number =>
  Math.round(low + ((high - low) * dial) / 99)
