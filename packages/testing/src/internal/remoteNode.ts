// A hold on a fake server in another process, over its control port.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import { request } from "node:http"
import type { FakeServer } from "../FakeServer.ts"
import type { FaultData } from "../FaultData.ts"
import * as control from "./control.ts"

const call = (method: string, url: string, body: string): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const sent = request(
      url,
      { method, agent: false, headers: { "content-type": "application/json" } },
      (response) => {
        const chunks: Array<Buffer> = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.on("error", (error) => resume(Effect.die(error)))
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString()
          resume(response.statusCode === 200 ? Effect.succeed(text) : Effect.die(new Error(`control said ${text}`)))
        })
      }
    )
    sent.on("error", (error) => resume(Effect.die(error)))
    sent.end(body)
    return Effect.sync(() => sent.destroy())
  })

const encodeCommand = Schema.encodeEffect(Schema.fromJsonString(control.Command))
const decodeDone = Schema.decodeUnknownEffect(Schema.fromJsonString(control.Done))

/** All but the process itself. */
export const remote = (
  origin: string,
  base: Effect.Effect<string>
): Omit<FakeServer<FaultData>, "kill" | "restart"> => {
  const look = <A>(path: string, schema: Schema.Codec<A, unknown>): Effect.Effect<A> =>
    Effect.orDie(Effect.flatMap(
      Effect.flatMap(base, (url) => call("GET", `${url}${path}`, "")),
      Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
    ))
  const ids = Effect.fnUntraced(function*(command: control.Command) {
    const url = yield* base
    const body = yield* Effect.orDie(encodeCommand(command))
    return (yield* Effect.orDie(Effect.flatMap(call("POST", `${url}/command`, body), decodeDone))).ids
  })
  const send = (command: control.Command): Effect.Effect<void> => Effect.asVoid(ids(command))
  const chosen = (clientId: string | undefined) => (clientId === undefined ? {} : { clientId })
  return {
    origin,
    ledger: look("/ledger", control.Ledger),
    snapshot: look("/snapshot", control.Look),
    requests: look("/requests", control.Requests),
    inject: (fault) =>
      Effect.map(
        ids({ _tag: "Inject", faults: Array.isArray(fault) ? fault : [fault] }),
        (given) => ({ heal: send({ _tag: "Heal", ids: given }) })
      ),
    heal: send({ _tag: "Heal" }),
    cutSockets: (which = {}) => send({ _tag: "CutSockets", which: chosen(which.clientId) }),
    deafenSockets: (which = {}) => send({ _tag: "DeafenSockets", which: chosen(which.clientId) }),
    halfOpenSockets: ({ clientId, serverNoticesMs } = {}) =>
      send({
        _tag: "HalfOpenSockets",
        which: chosen(clientId),
        ...(serverNoticesMs === undefined ? {} : { serverNoticesMs })
      }),
    sendFrames: (frames, which = {}) => send({ _tag: "SendFrames", frames, which: chosen(which.clientId) }),
    wipe: (folder) => send({ _tag: "Wipe", folder }),
    stall: (duration) => send({ _tag: "Stall", ms: Duration.toMillis(duration) }),
    killWorker: send({ _tag: "KillWorker" })
  }
}
