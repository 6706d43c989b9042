/** Rows 1, 5 to 7, 10, 12 and 24 on processes of their own: SIGKILL, SIGSTOP, a new process, a client that stands still. */
import { Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import type { Permits } from "../Judge.ts"
import { gone, long, share, succeeding } from "../rows/Row.ts"
import { killedAnd, once, standStill } from "./Host.ts"
import { inject, onProcess, type RealRow } from "./RealRow.ts"

/** Who dies takes along what it did after it was last asked. */
const died: Permits = { reasons: gone, unknowable: true }

export const processes: ReadonlyArray<RealRow> = [
  onProcess(
    {
      row: 1,
      name: "nobody listens on the port any more",
      away: true,
      permits: died,
      client: { watch: { unreachableFloor: 400, unreachableCap: 500, doubtGiveUp: 600 } }
    },
    (host) => host.kill
  ),
  onProcess(
    { row: 5, name: "killed after it took the prompt, before it began", dequeueMs: 150, permits: died },
    (host, now) => Effect.andThen(once(host, ({ prompts }) => prompts.length > 0), killedAnd(host, share(now, 0, 200)))
  ),
  onProcess(
    { row: 6, name: "killed in a node", shape: long, permits: died },
    (host, now) =>
      once(host, ({ nodes }) => nodes.some(({ endedAt }) => endedAt === undefined)).pipe(
        Effect.andThen(Effect.sleep(share(now, 0, 100))),
        Effect.andThen(killedAnd(host, share(now, 0, 100)))
      )
  ),
  onProcess(
    { row: 7, name: "killed when all was done, and nobody had been told", shape: succeeding, permits: died },
    (host, now) =>
      inject(host.server, Fault.delayFrames(60_000)).pipe(
        Effect.andThen(once(host, ({ prompts }) => prompts.some(({ outcome }) => outcome === "success"))),
        Effect.andThen(killedAnd(host, share(now, 0, 100)))
      )
  ),
  onProcess(
    { row: 10, name: "stopped for a while", shape: { cancels: true } },
    (host, now) =>
      host.process.stop.pipe(
        Effect.andThen(Effect.sleep(share(now, 50, 800))),
        Effect.andThen(host.process.continue)
      )
  ),
  onProcess(
    { row: 12, name: "replaced at once on the same port", permits: died },
    (host) => host.restart
  ),
  onProcess(
    { row: 24, name: "the client's own event loop stands still", shape: { cancels: true } },
    (_, now) => standStill(share(now, 100, 1_500))
  )
]
