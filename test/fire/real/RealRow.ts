/** What the rows on real sockets and processes are made of: a stage, what strikes it, and what may come of it. */
import type * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { type FakeServer, Fault, TestNodes } from "@effect-comfyui/testing"
import * as ChaosProxyNode from "@effect-comfyui/testing/ChaosProxyNode"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { judge, type Permits } from "../Judge.ts"
import type { Scenario, Shape } from "../Scenario.ts"
import type { Crowd } from "../World.ts"
import * as Host from "./Host.ts"
import { live, type Stage } from "./live.ts"

/** One row; `complaints` plays a scenario and judges it. */
export interface RealRow {
  readonly row: number
  readonly name: string
  readonly shape: Shape
  readonly complaints: (scenario: Scenario) => Effect.Effect<ReadonlyArray<string>>
}

/** What a row says beside its strike. */
export interface Telling {
  readonly row: number
  readonly name: string
  readonly shape?: Shape
  readonly permits?: Permits
  readonly client?: Partial<ComfyClient.Options>
  readonly platform?: PlatformNode.PlatformOptions
}

type Effectful = Effect.Effect<void, never, Scope.Scope>

/** Scenarios are written for virtual time; here a second of theirs takes so many milliseconds. */
const pace = 0.03

/** Seconds of virtual time on the wall clock. */
const soon = (ms: number): number => Math.round(ms * pace)

const jobs = (crowd: Crowd, scenario: Scenario): Effectful =>
  Effect.forEach(
    scenario.jobs,
    (job) =>
      Effect.gen(function*() {
        yield* Effect.sleep(soon(job.startMs))
        const running = yield* crowd.start(job)
        yield* Effect.all([
          job.attachMs === undefined
            ? Effect.void
            : Effect.andThen(Effect.sleep(soon(job.attachMs)), crowd.attach(running)),
          job.cancelMs === undefined
            ? Effect.void
            : Effect.andThen(Effect.sleep(soon(job.cancelMs)), crowd.cancel(running))
        ], { concurrency: "unbounded", discard: true })
      }),
    { concurrency: "unbounded", discard: true }
  )

/** The jobs at their times, the fault at its own; done when all jobs have begun and the strike is over. */
const happens = (crowd: Crowd, scenario: Scenario, strike: Effectful): Effectful =>
  Effect.gen(function*() {
    const striking = yield* Effect.forkScoped(
      scenario.faultMs === 0 ? strike : Effect.andThen(Effect.sleep(soon(scenario.faultMs)), strike),
      { startImmediately: true }
    )
    yield* jobs(crowd, scenario)
    yield* Fiber.join(striking)
  })

const played = (
  telling: Telling,
  setting: (scenario: Scenario) => Effect.Effect<
    { readonly stage: Stage; readonly strike: Effectful },
    never,
    Scope.Scope
  >
): RealRow => ({
  row: telling.row,
  name: telling.name,
  shape: telling.shape ?? {},
  complaints: (scenario) =>
    Effect.scoped(Effect.gen(function*() {
      const { stage, strike } = yield* setting(scenario)
      const seen = yield* live(
        stage,
        { seed: scenario.seed, client: telling.client, platform: telling.platform },
        (crowd) => happens(crowd, scenario, strike)
      )
      // The clocks of two processes are not compared.
      return judge(seen, () => ({ ...telling.permits, toldWithinMs: Number.POSITIVE_INFINITY }))
    }))
})

const loopback = (scenario: Scenario) =>
  LoopbackNode.make({ version: scenario.version, seed: scenario.seed, speed: pace, nodes: TestNodes.nodes })

export type Served = FakeServer<Fault.FaultData>

/** A server on a port of this process. */
export const onLoopback = (
  telling: Telling,
  strike: (server: Served, scenario: Scenario) => Effectful
): RealRow =>
  played(telling, (scenario) =>
    Effect.map(loopback(scenario), (server) => ({
      stage: { url: server.url, ledger: server.ledger, server, heal: server.heal },
      strike: strike(server, scenario)
    })))

/** A server on a port of this process, behind a proxy that treats connections badly. */
export const onProxy = (
  telling: Telling,
  strike: (proxy: ChaosProxyNode.ChaosProxy, server: Served, scenario: Scenario) => Effectful
): RealRow =>
  played(telling, (scenario) =>
    Effect.gen(function*() {
      const server = yield* loopback(scenario)
      const proxy = yield* ChaosProxyNode.make({ target: server.url, seed: scenario.seed })
      const stage: Stage = {
        url: proxy.url,
        ledger: server.ledger,
        server,
        heal: Effect.andThen(server.heal, proxy.heal)
      }
      return { stage, strike: strike(proxy, server, scenario) }
    }))

/** A process of its own; `away`: it is not started again. */
export const onProcess = (
  telling: Telling & { readonly dequeueMs?: number; readonly away?: boolean },
  strike: (host: Host.Host, scenario: Scenario) => Effectful
): RealRow =>
  played(telling, (scenario) =>
    Effect.gen(function*() {
      const host = yield* Host.make({
        profile: scenario.version,
        seed: scenario.seed,
        speed: pace,
        ...telling.dequeueMs === undefined ? {} : { dequeueMs: telling.dequeueMs }
      })
      const gone = telling.away === true
      const stage: Stage = {
        url: host.process.url,
        ledger: host.ledger,
        server: gone ? undefined : host.server,
        heal: gone ? Effect.void : host.server.heal
      }
      return { stage, strike: strike(host, scenario) }
    }))

/** Brings faults into force. */
export const inject = (server: Served, ...faults: ReadonlyArray<Fault.FaultData>): Effect.Effect<void> =>
  Effect.asVoid(server.inject(faults))

/** Faults, and sockets that break and stay away, so that HTTP has to tell. */
export const withoutSocket = (server: Served, ...faults: ReadonlyArray<Fault.FaultData>): Effect.Effect<void> =>
  Effect.andThen(
    inject(server, Fault.refuseUpgrades({ status: 503 }, { forMs: 1_200 }), ...faults),
    server.cutSockets()
  )
