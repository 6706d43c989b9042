/** Row 37: many clients lose their sockets at once, and come back without a rush. */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { Fault, TestNodes, Workflows } from "@effect-comfyui/testing"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { share } from "../rows/Row.ts"
import type { RealRow } from "./RealRow.ts"

const clients = 20
/** The default schedule begins with a quarter of a second: nobody can dial more often in a second than this. */
const dialsPerSecond = 6

/** The most entries of a sorted list that lie within a second. */
const densest = (times: ReadonlyArray<number>): number =>
  Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + 1_000).length))

export const many: ReadonlyArray<RealRow> = [{
  row: 37,
  name: `${clients} sockets drop at once`,
  shape: {},
  complaints: (scenario) =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make({ speed: 0.01, seed: scenario.seed, nodes: TestNodes.nodes })
      const all = yield* Effect.forEach(
        Array.from({ length: clients }),
        () => Effect.orDie(ComfyClient.make({ url: server.url, socket: "required" })),
        { concurrency: "unbounded" }
      )
      const connected = Effect.forEach(
        all,
        ({ link }) => link.changes.pipe(Stream.takeUntil((state) => state._tag === "Up"), Stream.runDrain),
        { concurrency: "unbounded", discard: true }
      )
      yield* connected
      const runs = yield* Effect.forEach(
        all,
        (client, index) =>
          Effect.forkScoped(Effect.result(client.result(Workflows.counting({ steps: 10 + index, stepMs: 200 })))),
        { concurrency: "unbounded" }
      )
      yield* Effect.repeat(Effect.delay(server.ledger, "5 millis"), {
        until: ({ prompts }) => prompts.length === clients
      })
      const before = (yield* server.requests).length
      yield* server.inject(Fault.refuseUpgrades("reset", { forMs: share(scenario, 1, 600) }))
      yield* server.cutSockets()
      const endings = yield* Effect.forEach(runs, Fiber.join)
      yield* connected
      const dials = (yield* server.requests).slice(before).filter(({ target }) => target.startsWith("/ws"))
      const { prompts } = yield* server.ledger
      const rush = densest(dials.map(({ at }) => at))
      return [
        ...endings.flatMap((ending) => Result.isFailure(ending) ? [ending.failure.message] : []),
        ...prompts.length === clients ? [] : [`${prompts.length} prompts of ${clients} runs`],
        ...dials.length >= clients ? [] : [`${dials.length} dials of ${clients} clients`],
        ...rush <= clients * dialsPerSecond ? [] : [`${rush} dials within a second`]
      ]
    }).pipe(Effect.scoped, Effect.provide(PlatformNode.layer()))
}]
