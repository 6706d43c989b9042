/** What goes wrong in a soak: every kind of fault as data, with how to bring it about and whether it struck. */
import { Fault } from "@effect-comfyui/testing"
import * as BadFrames from "@effect-comfyui/testing/BadFrames"
import type { ChaosProxy, Connection } from "@effect-comfyui/testing/ChaosProxyNode"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Host } from "../fire/real/Host.ts"

/** One server, perhaps behind a proxy. */
export interface Target {
  readonly host: Host
  readonly proxy: ChaosProxy | undefined
  /** Somebody cancels whatever is under way. */
  readonly cancelAll: Effect.Effect<void>
}

/** One kind of fault. `strike` ends when it is over and healed, and says whether it came to pass. */
export interface Strike {
  readonly name: string
  readonly needsProxy: boolean
  /** It does to frames what no connection does: a success under it may lack outputs. */
  readonly shuffles?: boolean
  readonly strike: (target: Target) => Effect.Effect<boolean>
}

/** For so long a fault waits for something to strike; one that needs a node of a kind waits longer. */
const patience = "1500 millis"
const patienceForNodes = "4 seconds"

const some = (low: number, high: number): Effect.Effect<number> => Random.nextIntBetween(low, high)

/** Waits until every fault has struck as often as it may. */
const usedUp = ({ host }: Target, within: Duration.Input = patience): Effect.Effect<boolean> =>
  Effect.map(
    Effect.timeoutOption(
      Effect.repeat(Effect.delay(host.server.snapshot, "25 millis"), { until: ({ faults }) => faults === 0 }),
      within
    ),
    (snapshot) => snapshot._tag === "Some"
  )

type Making = (ms: number) => ReadonlyArray<Fault.FaultData>

/** Faults that say how often they strike; `then` brings about what they strike. */
const faults = (
  name: string,
  make: Making,
  then: (target: Target) => Effect.Effect<void> = () => Effect.void,
  within: Duration.Input = patience
): Strike => ({
  name,
  needsProxy: false,
  strike: (target) =>
    Effect.gen(function*() {
      yield* target.host.server.inject(make(yield* some(20, 400)))
      yield* then(target)
      const struck = yield* usedUp(target, within)
      yield* target.host.server.heal
      return struck
    })
})

/** Faults on nodes, which have to come along first. */
const onNodes = (name: string, make: Making): Strike => faults(name, make, () => Effect.void, patienceForNodes)

/** Faults of which the process dies, or is of no use any more: a new one comes in its place. */
const deadly = (name: string, make: Making, after: "dies" | "lingers"): Strike => ({
  name,
  needsProxy: false,
  strike: (target) =>
    Effect.gen(function*() {
      const { host } = target
      yield* host.record
      yield* host.server.inject(make(yield* some(20, 400)))
      if (after === "dies") {
        const died = yield* Effect.timeoutOption(host.died, patience)
        yield* host.restart
        return died._tag === "Some"
      }
      const struck = yield* usedUp(target)
      yield* Effect.sleep(yield* some(100, 500))
      yield* host.restart
      return struck
    })
})

/** A command that strikes whatever there is; it lasts for some hundreds of milliseconds. */
const command = (name: string, act: (target: Target, ms: number) => Effect.Effect<void>): Strike => ({
  name,
  needsProxy: false,
  strike: (target) =>
    Effect.gen(function*() {
      const ms = yield* some(20, 600)
      const { sockets } = yield* target.host.server.snapshot
      yield* act(target, ms)
      yield* Effect.sleep(ms)
      return sockets.length > 0
    })
})

const ofProxy = (name: string, act: (proxy: ChaosProxy, ms: number) => Effect.Effect<boolean>): Strike => ({
  name,
  needsProxy: true,
  strike: ({ proxy }) =>
    proxy === undefined ? Effect.succeed(false) : Effect.gen(function*() {
      const struck = yield* act(proxy, yield* some(20, 600))
      yield* proxy.heal
      return struck
    })
})

const twice = { times: 2 }
const isSocket = ({ firstLine }: Connection): boolean => firstLine?.includes("/ws") === true
const cut = ({ host }: Target): Effect.Effect<void> => host.server.cutSockets()
const progress = Fault.event("progress", "progress_state")

const requests: ReadonlyArray<Strike> = [
  faults("dropRequest", () => [Fault.on(Fault.any, Fault.dropRequest, twice)]),
  faults("dropAnswer", () => [Fault.on(Fault.any, Fault.dropAnswer, twice)]),
  faults("replaceAnswer", () => [Fault.on(Fault.any, Fault.replaceAnswer(Fault.gatewayTimeout), twice)]),
  faults("respond 502", () => [Fault.on(Fault.any, Fault.respond(Fault.badGateway), twice)]),
  faults("respond 503", () => [Fault.on(Fault.any, Fault.respond(Fault.serviceUnavailable), twice)]),
  faults("respond 504", () => [Fault.on(Fault.any, Fault.respond(Fault.gatewayTimeout), twice)]),
  faults("respond 429", () => [Fault.on(Fault.any, Fault.respond(Fault.tooManyRequests(1)), twice)]),
  faults("answerWithin", (ms) => [
    Fault.on(Fault.any, Fault.holdAnswer(ms + 100), twice),
    Fault.on(Fault.any, Fault.answerWithin(50), twice)
  ]),
  faults("hang, done", () => [Fault.on(Fault.any, Fault.hang({ done: true }), { times: 1 })]),
  faults("hang, not done", () => [Fault.on(Fault.any, Fault.hang({ done: false }), { times: 1 })]),
  faults("slowHeaders", (ms) => [Fault.on(Fault.any, Fault.slowHeaders(2 * ms), twice)]),
  faults("slowBody", (ms) => [Fault.on(Fault.any, Fault.slowBody({ overMs: 2 * ms }), twice)]),
  faults("cutBody", (ms) => [Fault.on(Fault.any, Fault.cutBody(ms % 40, ms % 2 === 0 ? "reset" : "badChunk"), twice)]),
  faults("stallBody", (ms) => [Fault.on(Fault.any, Fault.stallBody(ms % 40), twice)]),
  deadly("killAfter", () => [Fault.on(Fault.request("POST", "/prompt"), Fault.killAfter, { times: 1 })], "dies")
]

const upgrades: ReadonlyArray<Strike> = [
  faults("upgrades refused", () => [Fault.refuseUpgrades({ status: 502 }, twice)], cut),
  faults("upgrades reset", () => [Fault.refuseUpgrades("reset", twice)], cut),
  faults("upgrades hang", () => [Fault.hangUpgrades({ times: 1 })], cut),
  faults("upgrades deaf", () => [Fault.deafUpgrades({ times: 1 })], cut),
  command("cutSockets", cut),
  command("deafenSockets", ({ host }) => host.server.deafenSockets()),
  command("halfOpen", ({ host }, ms) => host.server.halfOpenSockets({ serverNoticesMs: ms })),
  command("stall", ({ host }, ms) => host.server.stall(ms)),
  command(
    "flapping network",
    ({ host }, ms) =>
      host.server.inject(Fault.flapping({ upMs: 80, downMs: 80, schedule: { forMs: ms } })).pipe(
        Effect.andThen(Effect.sleep(ms)),
        Effect.andThen(host.server.heal)
      )
  )
]

const frames: ReadonlyArray<Strike> = [
  faults("frames late", (ms) => [
    Fault.onFrame<Fault.FrameMatchData, Fault.FrameActionData>(Fault.anyFrame, { _tag: "Delay", ms }, { times: 20 })
  ]),
  faults("progress lost", () => [Fault.dropFrames(progress, { times: 10 })]),
  faults("frames twice", () => [Fault.duplicateFrames(Fault.anyFrame, 2, { times: 20 })]),
  {
    ...faults(
      "frames out of order",
      () => [Fault.reorderFrames(Fault.anyFrame, { window: 4, withinMs: 60 }, { times: 20 })]
    ),
    shuffles: true
  },
  faults("frames malformed", () => [Fault.insertFrames(Fault.anyFrame, BadFrames.malformed, "after", { times: 3 })]),
  faults("frames broken", (ms) => [
    Fault.insertFrames(
      Fault.anyFrame,
      BadFrames.brokenFraming.filter((_, index) => index === ms % BadFrames.brokenFraming.length),
      "before",
      { times: 1 }
    )
  ])
]

const nodes: ReadonlyArray<Strike> = [
  onNodes("node silent", (ms) => [Fault.onNode({}, Fault.silent(ms), twice)]),
  onNodes("node raises", () => [Fault.onNode({}, Fault.raise("ValueError", "by chance"), { times: 1 })]),
  onNodes("node out of memory", () => [Fault.onNode({}, Fault.outOfMemory(), { times: 1 })]),
  onNodes("node sees no interrupt", () => [Fault.onNode({}, Fault.uninterruptible, twice)]),
  faults("interrupts lost", () => [Fault.loseInterrupts({ times: 1 })], ({ cancelAll }) => cancelAll),
  onNodes("disk full", () => [Fault.diskFull({ times: 1 })]),
  deadly("card poisoned, restart", () => [Fault.onNode({}, Fault.poisonGpu(), { times: 1 })], "lingers"),
  deadly("node kills process", () => [Fault.onNode({}, Fault.killProcess(), { times: 1 })], "dies"),
  deadly("node kills worker, restart", () => [Fault.onNode({}, Fault.killWorker(), { times: 1 })], "lingers")
]

const signals: ReadonlyArray<Strike> = [
  command(
    "SIGKILL, restart",
    ({ host }, ms) => host.kill.pipe(Effect.andThen(Effect.sleep(ms)), Effect.andThen(host.restart))
  ),
  command("SIGKILL, restart at once", ({ host }) => host.restart),
  command(
    "SIGSTOP, SIGCONT",
    ({ host }, ms) => Effect.ensuring(Effect.andThen(host.process.stop, Effect.sleep(ms)), host.process.continue)
  )
]

const hasConnections = (proxy: ChaosProxy): Effect.Effect<boolean> =>
  Effect.map(proxy.connections, (connections) => connections.length > 0)

const proxies: ReadonlyArray<Strike> = [
  ofProxy("proxy cuts", (proxy) => Effect.tap(hasConnections(proxy), proxy.cut())),
  ofProxy("proxy resets", (proxy) => Effect.tap(hasConnections(proxy), proxy.reset())),
  ofProxy("proxy black hole", (proxy, ms) =>
    Effect.tap(
      hasConnections(proxy),
      Effect.andThen(proxy.blackHole(ms % 2 === 0 ? isSocket : "all"), Effect.sleep(ms))
    )),
  ofProxy("proxy loses answers", (proxy) =>
    Effect.gen(function*() {
      let lost = 0
      const match = (asked: string): boolean => {
        if (asked.includes("/ws")) return false
        lost++
        return true
      }
      yield* proxy.loseAnswers({ times: 2, match })
      yield* Effect.timeoutOption(
        Effect.repeat(Effect.delay(Effect.sync(() => lost), "25 millis"), { until: (count) => count >= 2 }),
        patience
      )
      return lost > 0
    })),
  ofProxy("proxy refuses", (proxy, ms) =>
    Effect.as(
      proxy.refuse.pipe(Effect.andThen(proxy.cut()), Effect.andThen(Effect.sleep(ms)), Effect.andThen(proxy.accept)),
      true
    ))
]

/** All of them. */
export const strikes: ReadonlyArray<Strike> = [
  ...requests,
  ...upgrades,
  ...frames,
  ...nodes,
  ...signals,
  ...proxies
]
