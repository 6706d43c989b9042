/** Rows 1 to 16: what happens to requests, connections and the process behind them. */
import { Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import { gone, inject, killed, post, questions, type Row, share, supervised, withoutSocket } from "./Row.ts"

export const network: ReadonlyArray<Row> = [
  {
    row: 1,
    name: "killed before it accepts, and away for good",
    shape: { maxJobs: 1 },
    strike: (server) => server.kill,
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 1,
    name: "killed, and back after some seconds",
    strike: killed,
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 2,
    name: "the answer to the POST is lost",
    strike: inject(({ dial }) => [Fault.on(post, Fault.dropAnswer, { times: 1 + (dial % 3) })])
  },
  {
    row: 3,
    name: "the POST is lost",
    strike: inject(({ dial }) => [Fault.on(post, Fault.dropRequest, { times: 1 + (dial % 3) })]),
    permits: { reasons: ["Unreachable"] }
  },
  {
    row: 4,
    name: "the POST arrives late, behind a proxy that has given up",
    strike: inject((now) => [
      Fault.on(post, Fault.delayRequest(share(now, 1_000, 100_000)), { times: 2 }),
      Fault.on(post, Fault.answerWithin(60_000))
    ]),
    permits: { reasons: ["SubmitAmbiguous"] }
  },
  {
    row: 4,
    name: "the answer to the POST takes longer than anybody waits",
    strike: inject((now) => [Fault.on(post, Fault.holdAnswer(share(now, 1_000, 200_000)), { times: 2 })])
  },
  {
    row: 5,
    name: "the process dies after it took the prompt, before its answer",
    strike: supervised(() => [Fault.on(post, Fault.killAfter, { times: 1 })]),
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 5,
    name: "the process dies before it takes the prompt",
    strike: supervised(() => [Fault.on(post, Fault.killBefore, { times: 1 })]),
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 6,
    name: "the process dies in a node",
    strike: supervised(({ dial }) => [
      Fault.onNode({}, Fault.killProcess(dial % 2 === 0 ? "before" : { progress: 1 + (dial % 7) }), {
        skip: dial % 3,
        times: 1
      })
    ]),
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 7,
    name: "the process dies when all is done and nobody was told",
    strike: supervised(() => [Fault.killServerAt(Fault.event("execution_success"), { times: 1 })]),
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 8,
    name: "the socket is cut, and new ones are refused for a while",
    strike: (server, now) =>
      Effect.andThen(
        server.inject(Fault.refuseUpgrades({ status: 502 }, { forMs: share(now, 100, 30_000) })),
        server.cutSockets()
      )
  },
  {
    row: 9,
    name: "the socket is cut again and again",
    strike: (server, { dial }) =>
      Effect.asVoid(
        Effect.forkScoped(
          Effect.repeat(Effect.delay(server.cutSockets(), 500 + dial * 20), { times: 10 })
        )
      )
  },
  {
    row: 10,
    name: "the connection is half open",
    strike: (server, { dial }) => server.halfOpenSockets({ serverNoticesMs: dial % 2 === 0 ? 10_000 : 120_000 }),
    permits: { toldWithinMs: 3 * 60_000 }
  },
  { row: 11, name: "the socket goes deaf", strike: (server) => server.deafenSockets() },
  {
    row: 11,
    name: "every socket is deaf",
    strike: (server) => Effect.andThen(server.inject(Fault.deafUpgrades()), server.cutSockets())
  },
  {
    row: 12,
    name: "the process is replaced at once, and knows nothing",
    strike: (server) => Effect.andThen(server.kill, server.restart),
    permits: { reasons: gone, toldWithinMs: 20 * 60_000 }
  },
  {
    row: 13,
    name: "answers come byte by byte",
    strike: withoutSocket((now) => [
      Fault.on(questions, Fault.slowBody({ overMs: share(now, 100, 20_000) }), { probability: 0.5 })
    ])
  },
  {
    row: 14,
    name: "bodies break off or stop in the middle",
    strike: withoutSocket(({ dial }) => [
      Fault.on(questions, Fault.cutBody(dial, dial % 2 === 0 ? "reset" : "end"), { probability: 0.4, forMs: 60_000 }),
      Fault.on(questions, Fault.stallBody(dial), { probability: 0.2, forMs: 60_000 })
    ]),
    permits: { toldWithinMs: 10 * 60_000 }
  },
  {
    row: 14,
    name: "the answer to the POST breaks off",
    strike: inject(({ dial }) => [Fault.on(post, Fault.cutBody(dial), { times: 2 })])
  },
  {
    row: 15,
    name: "a gateway answers in the place of the server",
    strike: withoutSocket(() => [
      Fault.on(questions, Fault.respond(Fault.badGateway), { probability: 0.3, forMs: 60_000 }),
      Fault.on(questions, Fault.respond(Fault.serviceUnavailable), { probability: 0.3, forMs: 60_000 }),
      Fault.on(questions, Fault.respond(Fault.serverError), { probability: 0.3, forMs: 60_000 })
    ]),
    permits: { toldWithinMs: 10 * 60_000 }
  },
  {
    row: 15,
    name: "the POST is done, and a gateway says 504",
    strike: inject(({ dial }) => [Fault.on(post, Fault.replaceAnswer(Fault.gatewayTimeout), { times: 1 + (dial % 3) })])
  },
  {
    row: 15,
    name: "the POST is answered by a gateway and never arrives",
    strike: inject(() => [Fault.on(post, Fault.respond(Fault.badGateway), { times: 1 })]),
    permits: { reasons: ["Unreachable"] }
  },
  {
    row: 16,
    name: "come back later: seconds, a date, nonsense",
    strike: withoutSocket(({ dial }) => [
      Fault.on(
        dial % 2 === 0 ? questions : Fault.any,
        Fault.respond(
          Fault.tooManyRequests(
            ["5", "Sat, 21 Nov 2026 09:01:00 GMT", "-7", "1e99", "soon"][dial % 5] ?? "1"
          )
        ),
        { probability: 0.5, forMs: 60_000 }
      )
    ]),
    permits: { reasons: ["RateLimited"], toldWithinMs: 10 * 60_000 }
  }
]
