/** Rows 30 to 39, and the slow world of real fleets: cancelling, failures of nodes, proxies, silence. */
import { Fault, FaultPresets } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import { cancelling, gone, inject, long, type Row, share, succeeding } from "./Row.ts"

export const server: ReadonlyArray<Row> = [
  { row: 30, name: "cancelled at any moment", shape: cancelling, strike: () => Effect.void },
  {
    row: 31,
    name: "cancelled, and the first interrupts are lost",
    shape: cancelling,
    strike: (server, { dial }) => Effect.asVoid(server.inject(Fault.loseInterrupts({ times: 1 + (dial % 3) })))
  },
  {
    row: 31,
    name: "cancelled while the answers to it are lost",
    shape: cancelling,
    strike: inject(() => [
      Fault.on(
        Fault.either(Fault.path("/interrupt"), Fault.path("/queue"), Fault.path("/jobs/*/cancel")),
        Fault.dropAnswer,
        { probability: 0.5 }
      )
    ])
  },
  {
    row: 31,
    name: "cancelled in nodes that see no interrupt",
    shape: cancelling,
    strike: inject(() => [Fault.onNode({}, Fault.uninterruptible, { probability: 0.5 })])
  },
  {
    row: 33,
    name: "workflows that fail by themselves",
    shape: { kinds: ["raising", "outOfMemory"] },
    strike: () => Effect.void
  },
  {
    row: 33,
    name: "out of memory in somebody's node",
    shape: succeeding,
    strike: inject(({ dial }) => [
      Fault.onNode({}, Fault.outOfMemory(dial % 2 === 0 ? "before" : "after"), { skip: dial % 4, times: 1 })
    ]),
    permits: { nodeFailures: ["OutOfMemory"] }
  },
  {
    row: 34,
    name: "a consumer that takes a second for each event",
    shape: { kinds: ["counting", "drawing", "picture"] },
    slowConsumerMs: 1_000,
    strike: () => Effect.void,
    permits: { toldWithinMs: 10 * 60_000 }
  },
  {
    row: 39,
    name: "the network flaps, up 2 s and down 2 s",
    strike: inject(() => [Fault.flapping({ upMs: 2_000, downMs: 2_000, schedule: { forMs: 120_000 } })]),
    permits: { reasons: ["Unreachable", "SubmitAmbiguous"], toldWithinMs: 10 * 60_000 }
  },
  {
    row: 39,
    name: "the process flaps",
    strike: inject(
      () => [Fault.flapping({ upMs: 5_000, downMs: 2_000, what: "process", schedule: { forMs: 60_000 } })]
    ),
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 39,
    name: "the event loop stutters",
    strike: inject(() => [Fault.flapping({ upMs: 2_000, downMs: 2_000, what: "stall", schedule: { forMs: 120_000 } })])
  },
  {
    row: "fleet",
    name: "a poisoned card: every node fails at once",
    shape: succeeding,
    strike: inject(({ dial }) => [Fault.onNode({}, Fault.poisonGpu(), { skip: dial % 4, times: 1 })]),
    permits: { nodeFailures: ["GpuPoisoned"] }
  },
  {
    row: "fleet",
    name: "a full disk",
    shape: succeeding,
    strike: inject(() => [Fault.diskFull()]),
    permits: { nodeFailures: ["DiskFull"] }
  },
  {
    row: "fleet",
    name: "the worker thread dies",
    client: { watch: { stuckNode: 10 * 60_000, stuckAhead: 20 * 60_000 } },
    shape: long,
    strike: inject(({ dial }) => [Fault.onNode({}, Fault.killWorker(), { skip: dial % 4, times: 1 })]),
    permits: { reasons: ["WorkerStuck"], toldWithinMs: 60 * 60_000 }
  },
  {
    row: "fleet",
    name: "outputs are deleted before anybody fetches them",
    strike: inject(() => [Fault.deleteOutputs()])
  },
  {
    row: "fleet",
    name: "nodes are silent for minutes",
    // Every node of three drawings may be silent for twenty minutes.
    patienceMs: 12 * 3_600_000,
    shape: long,
    strike: inject((now) => [Fault.onNode({}, Fault.silent(share(now, 60_000, 20 * 60_000)), { probability: 0.5 })])
  },
  {
    row: "slow",
    name: "the slow world",
    strike: inject(() => FaultPresets.slow()),
    permits: { toldWithinMs: 5 * 60_000 }
  },
  {
    row: "proxy",
    name: "behind a proxy",
    shape: long,
    strike: inject(() => FaultPresets.proxy({ idleMs: 5_000 })),
    permits: { toldWithinMs: 3 * 60_000 }
  },
  {
    row: "proxy",
    name: "the machine behind the proxy is gone for a while",
    strike: (server, now) =>
      Effect.gen(function*() {
        yield* inject(() => FaultPresets.machineGone)(server, now)
        yield* server.cutSockets()
        yield* Effect.sleep(share(now, 1_000, 60_000))
        yield* server.heal
      }),
    permits: { reasons: ["Unreachable", "SubmitAmbiguous"], toldWithinMs: 5 * 60_000 }
  },
  {
    row: "proxy",
    name: "the proxy's session ends for a while",
    strike: (server, now) =>
      Effect.gen(function*() {
        yield* inject(() => FaultPresets.loggedOut())(server, now)
        yield* server.cutSockets()
        yield* Effect.sleep(share(now, 1_000, 60_000))
        yield* server.heal
      }),
    permits: { reasons: ["Unreachable", "Unauthorized", "SubmitAmbiguous"], toldWithinMs: 5 * 60_000 }
  }
]
