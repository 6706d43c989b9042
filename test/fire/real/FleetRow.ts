/** What the rows of a pool on real processes are made of: hosts, jobs at their times, what strikes, what may come of it. */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import type { ServerEvent } from "@effect-comfyui/pool/PoolEvent"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import type { SpawnOptions } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Crowd from "../fleet/Crowd.ts"
import { judge, type Permits } from "../fleet/Judge.ts"
import type { Observation } from "../fleet/Observation.ts"
import type { FleetScenario, FleetShape } from "../fleet/Scenario.ts"
import * as Host from "./Host.ts"
import { quick } from "./live.ts"

/** A second of a scenario takes so many milliseconds. */
export const pace = 0.03

/** What can be done to a fleet of processes. */
export interface Stage {
  readonly pool: Pool.Shape
  readonly crowd: Crowd.Crowd
  readonly hosts: ReadonlyArray<Host.Host>
  readonly victim: Host.Host
  readonly victimId: BackendId
  readonly note: (text: string) => void
}

/** One row; `complaints` plays a scenario and judges it. */
export interface RealFleetRow {
  readonly row: number
  readonly name: string
  readonly shape: FleetShape
  readonly complaints: (scenario: FleetScenario) => Effect.Effect<ReadonlyArray<string>>
}

/** What a row says beside its strike. */
export interface FleetTelling extends Crowd.Habits {
  readonly row: number
  readonly name: string
  readonly shape?: FleetShape
  readonly permits?: Permits
  readonly dequeueMs?: number
  readonly also?: (seen: Observation) => ReadonlyArray<string>
}

/** How long jobs may take to end; on a busy machine too. */
const patience = "30 seconds"

const isOfServer = (event: { readonly _tag: string }): event is ServerEvent => "server" in event && !("jobId" in event)

/** As many processes as a scenario has servers. */
export const spawn = (scenario: FleetScenario, options: SpawnOptions = {}) =>
  Effect.forEach(
    scenario.versions,
    (profile, index) => Host.make({ profile, seed: scenario.seed + index, speed: pace, ...options }),
    { concurrency: "unbounded" }
  )

const nameOf = (index: number): BackendId => BackendId.make(`gpu-${index + 1}`)

const ready = (pool: Pool.Shape) =>
  Effect.ignore(Effect.timeoutOption(
    Effect.repeat(Effect.delay(pool.servers.get, "10 millis"), {
      until: (all) => all.every(({ status, version }) => status === "ready" && version !== null)
    }),
    "5 seconds"
  ))

const program = Effect.fnUntraced(function*(
  telling: FleetTelling,
  scenario: FleetScenario,
  strike: (stage: Stage, scenario: FleetScenario) => Effect.Effect<void, never, Scope.Scope>
) {
  const hosts = yield* spawn(scenario, telling.dequeueMs === undefined ? {} : { dequeueMs: telling.dequeueMs })
  const scope = yield* Scope.make()
  const pool = yield* Scope.provide(
    Pool.make({
      servers: hosts.map(({ process }, index) => ({
        id: nameOf(index),
        make: Effect.map(
          ComfyClient.make({ id: nameOf(index), url: process.url, ...quick }),
          ComfyClient.backend
        )
      })),
      probe: "500 millis",
      failover: { delay: 50, delayCap: 500 },
      budget: { share: 10, fixed: 100 },
      breakers: { open: 500, openCap: 2_000 }
    }),
    scope
  )
  const serverEvents: Array<ServerEvent> = []
  const notes: Array<string> = []
  yield* Scope.provide(
    Effect.forkScoped(
      Stream.runForEach(pool.events, (event) =>
        Effect.sync(() => {
          if (isOfServer(event)) serverEvents.push(event)
        })),
      { startImmediately: true }
    ),
    scope
  )
  yield* ready(pool)
  const victim = hosts[scenario.victim]
  if (victim === undefined) return ["a scenario without a victim"]
  const crowd = Crowd.gather(pool, telling, pace)
  const stage: Stage = {
    pool,
    crowd,
    hosts,
    victim,
    victimId: nameOf(scenario.victim),
    note: (text) => void notes.push(text)
  }
  const struckAt = (yield* Clock.currentTimeMillis) + scenario.faultMs * pace
  const over = Effect.repeat(Effect.delay(Effect.sync(() => crowd.running.every(Crowd.isOver)), "20 millis"), {
    until: Boolean
  })
  yield* Scope.provide(
    Effect.all([
      Effect.delay(strike(stage, scenario), scenario.faultMs * pace),
      Effect.forEach(
        scenario.jobs,
        (job) => Effect.delay(crowd.start(job), job.startMs * pace),
        { concurrency: "unbounded", discard: true }
      )
    ], { concurrency: "unbounded", discard: true }),
    scope
  )
  yield* Effect.timeoutOption(over, patience)
  const jobs = yield* Effect.forEach(crowd.running, Crowd.toSeen)
  const closed = yield* Effect.timeoutOption(Scope.close(scope, Exit.void), patience)
  const seen: Observation = {
    jobs,
    servers: yield* Effect.forEach(
      hosts,
      (host, index) => Effect.map(host.ledger, (ledger) => ({ id: String(nameOf(index)), ledger, dials: [] }))
    ),
    victim: stage.victimId,
    struckAt,
    foreign: new Set(),
    serverEvents,
    samples: [],
    defects: [],
    notes,
    rest: undefined,
    left: { closes: closed._tag === "Some", sockets: 0, requestsLater: 0 }
  }
  // The clocks of two processes are not compared.
  return [...judge(seen, { late: true, ...telling.permits }), ...telling.also?.(seen) ?? []]
})

/** A pool over processes of their own. */
export const onProcesses = (
  telling: FleetTelling,
  strike: (stage: Stage, scenario: FleetScenario) => Effect.Effect<void, never, Scope.Scope>
): RealFleetRow => ({
  row: telling.row,
  name: telling.name,
  shape: telling.shape ?? {},
  complaints: (scenario) =>
    program(telling, scenario, strike).pipe(
      Effect.scoped,
      Effect.provide(
        Layer.mergeAll(
          JobQueueMemory.layerMemory,
          RouterPolicies.layerCostAware,
          PlatformNode.layer(),
          Layer.succeed(References.MinimumLogLevel, "None")
        )
      ),
      Random.withSeed(scenario.seed)
    )
})
