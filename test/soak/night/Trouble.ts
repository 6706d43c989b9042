/** What goes wrong in the night: every kind of fault of the kit, as something that befalls one server for a while. */
import { type FakeServer, Fault, FaultPresets } from "@effect-comfyui/testing"
import * as BadFrames from "@effect-comfyui/testing/BadFrames"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** One kind. `strike` ends when it is over and mended, and says whether it came to pass. */
export interface Trouble {
  readonly name: string
  readonly strike: (server: FakeServer) => Effect.Effect<boolean>
}

/** What befell a server, as it is written down. Times are milliseconds since the night began. */
export interface Stroke {
  readonly server: string
  readonly name: string
  readonly at: number
  /** Undefined while it lasts. */
  endedAt: number | undefined
}

/** Whether it was there at any time between these. */
export const isWithin = ({ at, endedAt = Number.POSITIVE_INFINITY }: Stroke, from: number, to: number): boolean =>
  at <= to && endedAt >= from

const seconds = (low: number, high: number): Effect.Effect<number> => Random.nextIntBetween(low * 1_000, high * 1_000)

/** For so long a fault waits for something to strike. */
const patienceMs = 10 * 60_000

/** Faults that strike a few times, or for some time; what is left of them is taken back in the end. */
const faults = (
  name: string,
  make: (ms: number) => ReadonlyArray<Fault.Fault>,
  then: (server: FakeServer) => Effect.Effect<void> = () => Effect.void,
  lasts: Effect.Effect<number> = seconds(5, 90)
): Trouble => ({
  name,
  strike: (server) =>
    Effect.gen(function*() {
      const all = make(yield* lasts)
      const { heal } = yield* server.inject(all)
      yield* then(server)
      for (let waited = 0; waited < patienceMs; waited += 20_000) {
        yield* Effect.sleep(20_000)
        if ((yield* server.snapshot).faults === 0) return true
      }
      yield* heal
      return false
    })
})

/** Faults after which the process is dead, or of no use: somebody sees it after a while and starts another. */
const deadly = (name: string, make: () => ReadonlyArray<Fault.Fault>, noticed: Effect.Effect<number>): Trouble => ({
  name,
  strike: (server) =>
    Effect.gen(function*() {
      const { heal } = yield* server.inject(make())
      let struck = false
      for (let waited = 0; !struck && waited < patienceMs; waited += 5_000) {
        yield* Effect.sleep(5_000)
        struck = (yield* server.snapshot).faults === 0
      }
      yield* heal
      if (!struck) return false
      yield* Effect.sleep(yield* noticed)
      yield* server.restart
      return true
    })
})

const command = (
  name: string,
  act: (server: FakeServer, ms: number) => Effect.Effect<void>,
  lasts: Effect.Effect<number> = seconds(5, 120)
): Trouble => ({
  name,
  strike: (server) =>
    Effect.gen(function*() {
      const { sockets } = yield* server.snapshot
      yield* act(server, yield* lasts)
      return sockets.length > 0
    })
})

/** A world that lasts: faults that hold for some time. */
const world = (
  name: string,
  make: (ms: number) => ReadonlyArray<Fault.Fault>,
  lasts: Effect.Effect<number> = seconds(30, 600)
): Trouble => ({
  name,
  strike: (server) =>
    Effect.gen(function*() {
      const ms = yield* lasts
      const { heal } = yield* server.inject(make(ms))
      yield* Effect.sleep(ms)
      yield* heal
      return true
    })
})

const twice = { times: 2 }
const once = { times: 1 }
const prompt = Fault.request("POST", "/prompt")
const progress = Fault.event("progress", "progress_state")
const cut = (server: FakeServer): Effect.Effect<void> => server.cutSockets()

const onPrompts: ReadonlyArray<Trouble> = [
  faults("prompt: request lost", () => [Fault.on(prompt, Fault.dropRequest, once)]),
  faults("prompt: answer lost", () => [Fault.on(prompt, Fault.dropAnswer, once)]),
  faults("prompt: 504 behind its back", () => [Fault.on(prompt, Fault.replaceAnswer(Fault.gatewayTimeout), once)]),
  faults("prompt: hangs, done", () => [Fault.on(prompt, Fault.hang({ done: true }), once)]),
  faults("prompt: hangs, not done", () => [Fault.on(prompt, Fault.hang({ done: false }), once)]),
  faults("prompt: 429", () => [Fault.on(prompt, Fault.respond(Fault.tooManyRequests(5)), twice)]),
  faults("prompt: 500", () => [Fault.on(prompt, Fault.respond(Fault.serverError), once)]),
  deadly("prompt: killAfter", () => [Fault.on(prompt, Fault.killAfter, once)], seconds(5, 60)),
  deadly("prompt: killBefore", () => [Fault.on(prompt, Fault.killBefore, once)], seconds(5, 60))
]

const requests: ReadonlyArray<Trouble> = [
  faults("requests lost", () => [Fault.on(Fault.any, Fault.dropRequest, twice)]),
  faults("answers lost", () => [Fault.on(Fault.any, Fault.dropAnswer, twice)]),
  faults("502", () => [Fault.on(Fault.any, Fault.respond(Fault.badGateway), twice)]),
  faults("503", () => [Fault.on(Fault.any, Fault.respond(Fault.serviceUnavailable), twice)]),
  faults("504 behind its back", () => [Fault.on(Fault.any, Fault.replaceAnswer(Fault.gatewayTimeout), twice)]),
  faults("requests hang", () => [Fault.on(Fault.any, Fault.hang({ done: true }), twice)]),
  faults("slow headers", (ms) => [Fault.on(Fault.any, Fault.slowHeaders(ms), twice)]),
  faults("slow bodies", (ms) => [Fault.on(Fault.any, Fault.slowBody({ overMs: ms }), twice)]),
  faults("bodies cut", (ms) => [Fault.on(Fault.any, Fault.cutBody(ms % 40), twice)]),
  faults("bodies stall", (ms) => [Fault.on(Fault.any, Fault.stallBody(ms % 40), twice)])
]

const sockets: ReadonlyArray<Trouble> = [
  command("sockets cut", cut),
  command("sockets deaf", (server) => server.deafenSockets()),
  command("sockets half open", (server, ms) => server.halfOpenSockets({ serverNoticesMs: ms })),
  command("stall", (server, ms) => server.stall(ms)),
  faults("upgrades refused", () => [Fault.refuseUpgrades({ status: 502 }, twice)], cut),
  faults("upgrades hang", () => [Fault.hangUpgrades(once)], cut),
  faults("upgrades deaf", () => [Fault.deafUpgrades(once)], cut),
  world("network flaps", (ms) => [
    Fault.flapping({ upMs: 8_000, downMs: 4_000, schedule: { forMs: ms } })
  ], seconds(30, 180)),
  world("process flaps", (ms) => [
    Fault.flapping({ upMs: 40_000, downMs: 5_000, what: "process", schedule: { forMs: ms } })
  ], seconds(50, 120)),
  world("event loop flaps", (ms) => [
    Fault.flapping({ upMs: 8_000, downMs: 8_000, what: "stall", schedule: { forMs: ms } })
  ], seconds(30, 180))
]

const frames: ReadonlyArray<Trouble> = [
  world("frames late", (ms) => [Fault.delayFrames(3_000, { forMs: ms })], seconds(30, 180)),
  faults("progress lost", () => [Fault.dropFrames(progress, { times: 10 })]),
  faults("ends lost", () => [Fault.dropFrames(Fault.event("executing", "execution_success"), { times: 6 })]),
  faults("frames twice", () => [Fault.duplicateFrames(Fault.anyFrame, 2, { times: 20 })]),
  faults("frames out of order", () => [Fault.reorderFrames(Fault.anyFrame, {}, { times: 20 })]),
  faults("frames malformed", () => [Fault.insertFrames(Fault.anyFrame, BadFrames.malformed, "after", { times: 3 })]),
  faults("socket cut at an end", () => [Fault.cutSocketAt(Fault.event("execution_success"), once)]),
  deadly("killed at an end", () => [Fault.killServerAt(Fault.event("execution_success"), once)], seconds(5, 60))
]

const nodes: ReadonlyArray<Trouble> = [
  faults("node silent", (ms) => [Fault.onNode({}, Fault.silent(6 * ms), twice)]),
  faults("node slower", () => [Fault.onNode({}, Fault.slower(3), twice)]),
  faults("node raises", () => [Fault.onNode({}, Fault.raise("ValueError", "by chance"), once)]),
  faults("node out of memory", () => [Fault.onNode({}, Fault.outOfMemory(), once)]),
  faults("node stalls the server", (ms) => [Fault.onNode({}, Fault.stallServer(ms), twice)]),
  faults("node sees no interrupt", () => [Fault.onNode({}, Fault.uninterruptible, twice)]),
  faults("disk full", () => [Fault.diskFull(once)]),
  deadly("card poisoned", () => [Fault.onNode({}, Fault.poisonGpu(), once)], seconds(60, 600)),
  deadly("node kills the process", () => [Fault.onNode({}, Fault.killProcess(), once)], seconds(5, 120)),
  deadly("node kills the worker", () => [Fault.onNode({}, Fault.killWorker(), once)], seconds(60, 600))
]

const worlds: ReadonlyArray<Trouble> = [
  command(
    "killed, another started",
    (server, ms) => server.kill.pipe(Effect.andThen(Effect.sleep(ms)), Effect.andThen(server.restart))
  ),
  command("another process at once", (server) => server.restart),
  world("slow", () => FaultPresets.slow({ objectInfoBytes: 100_000, loadMs: 20_000, silentMs: 60_000 })),
  world("proxy", () => FaultPresets.proxy()),
  world("machine gone", () => FaultPresets.machineGone, seconds(20, 240)),
  world("logged out", () => FaultPresets.loggedOut(), seconds(20, 240)),
  world("wall clock wrong", () => [Fault.skewClock(3_600_000)])
]

/** All kinds. */
export const troubles: ReadonlyArray<Trouble> = [...onPrompts, ...requests, ...sockets, ...frames, ...nodes, ...worlds]
