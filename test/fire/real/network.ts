/** Rows 2 to 4, 8 to 10, 13, 14 and 19 on real sockets: what proxies and broken peers do to connections. */
import { Fault } from "@effect-comfyui/testing"
import * as BadFrames from "@effect-comfyui/testing/BadFrames"
import * as Effect from "effect/Effect"
import { post, questions, share } from "../rows/Row.ts"
import { inject, onLoopback, onProxy, type RealRow, withoutSocket } from "./RealRow.ts"

const posts = (asked: string): boolean => asked.startsWith("POST") && asked.includes("/prompt")
const isSocket = ({ firstLine }: { readonly firstLine: string | undefined }): boolean =>
  firstLine?.includes("/ws") === true

export const network: ReadonlyArray<RealRow> = [
  onProxy(
    { row: 2, name: "the answer to the POST is lost in the proxy" },
    (proxy, _, { dial }) => proxy.loseAnswers({ times: 1 + (dial % 3), match: posts })
  ),
  onLoopback(
    { row: 2, name: "the server takes the POST and resets the connection" },
    (server, { dial }) => inject(server, Fault.on(post, Fault.dropAnswer, { times: 1 + (dial % 3) }))
  ),
  onLoopback(
    { row: 3, name: "the connection is reset before the server sees the POST", permits: { refusals: ["Unreachable"] } },
    (server, { dial }) => inject(server, Fault.on(post, Fault.dropRequest, { times: 1 + (dial % 3) }))
  ),
  onProxy(
    {
      row: 4,
      name: "the way to the server holds everything back for longer than the client waits for a POST",
      client: { promptTimeout: "150 millis", watch: { absentAfterProxy: 2_000 } },
      permits: { reasons: ["SubmitAmbiguous"], refusals: ["Unreachable"] }
    },
    (proxy, _, now) =>
      proxy.set({ latencyMs: share(now, 50, 500) }, "toServer").pipe(
        Effect.andThen(Effect.sleep(500)),
        Effect.andThen(proxy.set({}))
      )
  ),
  onLoopback(
    {
      row: 4,
      name: "the answer to the POST takes longer than the client waits",
      client: { promptTimeout: "100 millis" }
    },
    (server, now) => inject(server, Fault.on(post, Fault.holdAnswer(share(now, 50, 600)), { times: 2 }))
  ),
  onProxy(
    {
      row: 8,
      name: "the socket ends, and new connections are refused for a while",
      permits: { refusals: ["Unreachable"] }
    },
    (proxy, _, now) =>
      proxy.refuse.pipe(
        Effect.andThen(now.dial % 2 === 0 ? proxy.cut(isSocket) : proxy.reset(isSocket)),
        Effect.andThen(Effect.sleep(share(now, 20, 500))),
        Effect.andThen(proxy.accept)
      )
  ),
  onProxy(
    { row: 9, name: "every connection is cut again and again" },
    (proxy, _, { dial }) =>
      Effect.asVoid(
        Effect.repeat(Effect.delay(dial % 2 === 0 ? proxy.cut(isSocket) : proxy.reset(isSocket), 10 + dial), {
          times: 5
        })
      )
  ),
  onProxy(
    {
      row: 10,
      name: "a black hole in the place of the connections",
      client: { promptTimeout: "400 millis", watch: { absentAfterProxy: 600 } },
      permits: { refusals: ["Unreachable"] }
    },
    (proxy, _, now) =>
      Effect.gen(function*() {
        const later = yield* proxy.blackHoleNew
        yield* proxy.blackHole(now.dial % 2 === 0 ? isSocket : "all")
        yield* Effect.sleep(share(now, 50, 600))
        yield* later.heal
      })
  ),
  onLoopback(
    { row: 13, name: "headers come byte by byte" },
    (server, now) =>
      withoutSocket(
        server,
        Fault.on(questions, Fault.slowHeaders(share(now, 50, 1_500)), { probability: 0.5, forMs: 1_500 })
      )
  ),
  onLoopback(
    { row: 13, name: "bodies come byte by byte" },
    (server, now) =>
      withoutSocket(
        server,
        Fault.on(questions, Fault.slowBody({ overMs: share(now, 50, 1_500) }), { probability: 0.5, forMs: 1_500 })
      )
  ),
  ...(["reset", "end", "badChunk"] as const).map((how) =>
    onLoopback(
      { row: 14, name: `bodies break off in the middle: ${how}` },
      (server, { dial }) =>
        withoutSocket(server, Fault.on(questions, Fault.cutBody(dial, how), { probability: 0.5, forMs: 1_000 }))
    )
  ),
  onLoopback(
    { row: 14, name: "bodies stop in the middle" },
    (server, { dial }) =>
      withoutSocket(server, Fault.on(questions, Fault.stallBody(dial), { probability: 0.3, forMs: 800 }))
  ),
  onLoopback(
    { row: 14, name: "the answer to the POST breaks off" },
    (server, { dial }) =>
      inject(
        server,
        Fault.on(post, Fault.cutBody(dial % 40, dial % 2 === 0 ? "reset" : "badChunk"), { times: 2 })
      )
  ),
  onLoopback(
    { row: 19, name: "bytes that are no frames" },
    (server, { dial }) => {
      const frame = BadFrames.brokenFraming[dial % BadFrames.brokenFraming.length]
      return inject(
        server,
        Fault.insertFrames(Fault.anyFrame, frame === undefined ? [] : [frame], dial % 2 === 0 ? "before" : "after", {
          probability: 0.3,
          times: 5
        })
      )
    }
  ),
  onLoopback(
    { row: 19, name: "a frame that never ends, and eats what follows" },
    (server, { dial }) =>
      inject(
        server,
        Fault.insertFrames(Fault.anyFrame, [BadFrames.unfinished], "before", { skip: dial % 10, times: 1 })
      )
  ),
  onLoopback(
    { row: 19, name: "frames that are too large", platform: { maxFrameBytes: 64 * 1024 } },
    (server, { dial }) =>
      inject(
        server,
        Fault.insertFrames(Fault.anyFrame, [BadFrames.oversizedText(100_000)], "before", {
          probability: 0.2,
          skip: dial % 5,
          times: 3
        })
      )
  )
]
