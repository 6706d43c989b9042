/**
 * The server of a recording, in memory and on Effect's Clock: behind the two seams to the world it says to a client what
 * it said to the recorded one, line by line with the recorded pauses, and answers questions from what it had told so far.
 */
import * as Prompt from "@effect-comfyui/protocol/Prompt"
import * as Version from "@effect-comfyui/protocol/Version"
import { FakeNodeSocket } from "@effect-comfyui/testing/FakeSocket"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Socket from "effect/socket/Socket"
import { messageOf } from "./Facts.ts"
import { frameOf, jsonOf, textOf } from "./Recording.ts"
import * as Rename from "./Rename.ts"
import { type Answer, answer, type Moment, outageAt, placeOf, queueRemaining, takesOut } from "./ServerState.ts"
import { type Found, type RecordedSocket, sockets, type Submission } from "./Submissions.ts"

/** The address of every replayed server. */
export const origin = "http://recorded:8188"

/** The recorded connections that the client's socket stands for. */
export interface Listening {
  readonly sockets: ReadonlyArray<RecordedSocket>
  /** The events of the prompt itself come here; false: only what everybody gets. */
  readonly own: boolean
}

/**
 * Those of the client id that the prompt was posted with, also later ones. What is posted without an id is told to every
 * socket, so to the first that was open then. Undefined if no socket heard of it: then the client has none.
 */
export const listening = (found: Found, submission: Submission): Listening | undefined => {
  const all = sockets(found.recording)
  const { requestAt } = submission.exchange
  const open = all.filter(({ closeAt, openAt }) => openAt < requestAt && closeAt > requestAt)
  if (open.some(({ clientId }) => clientId === submission.clientId)) {
    return { own: true, sockets: all.filter((one) => one.clientId === submission.clientId && one.closeAt > requestAt) }
  }
  const [first] = submission.clientId === null ? open : []
  return first === undefined ? undefined : { own: false, sockets: [first] }
}

const encoder = new TextEncoder()

const textOfBody = ({ body }: HttpClientRequest.HttpClientRequest): string => {
  if (body._tag === "Uint8Array") return new TextDecoder().decode(body.body)
  return body._tag === "Raw" && typeof body.body === "string" ? body.body : ""
}

const refused = (request: HttpClientRequest.HttpClientRequest) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })
    })
  })

const toResponse = (request: HttpClientRequest.HttpClientRequest, { body, contentType, status }: Answer) =>
  HttpServerResponse.toClientResponse(
    HttpServerResponse.uint8Array(encoder.encode(body), { status, contentType }),
    { request }
  )

/** What is replayed. */
export interface Options {
  readonly found: Found
  readonly submission: Submission
  /** The last line that is replayed. */
  readonly holdAt: number
}

/** The seams of a replayed server, with its timers in this scope. */
export const make = Effect.fnUntraced(function*({ found, holdAt, submission }: Options) {
  const { lines } = found.recording
  const { endAt, requestAt } = submission.exchange
  const listens = listening(found, submission)
  const conns = new Set(listens?.sockets.map(({ conn }) => conn))
  const start = yield* FiberSet.makeRuntime<never>()
  const posted = yield* Deferred.make<void>()
  const keepsIds = Version.traits(Version.parse(found.recording.version)).clientPromptId
  let at = requestAt - 1
  let promptId = submission.promptId
  let removedByUs = false
  let postedAs: string | undefined
  let current: { readonly socket: FakeNodeSocket; readonly clientId: string } | undefined
  let runningNode: string | undefined

  const moment = (): Moment => ({
    found,
    submission,
    at,
    removedByUs,
    renaming: { from: submission.promptId, to: promptId }
  })
  const isDown = () => outageAt(found, at) !== undefined

  const send = (frame: string | Uint8Array) =>
    current?.socket.received(typeof frame === "string" ? frame : new Uint8Array(frame))

  /** Whatever is told to each socket when it opens is not replayed: the client's own socket opened in its own time. */
  const isGreeting = (frame: string): boolean => {
    const message = messageOf(frame)
    return message?.type === "feature_flags" || (message !== undefined && Json.get(message.data, "sid") !== undefined)
  }

  const tell = (index: number) => {
    const line = lines[index]
    const frame = line === undefined ? undefined : frameOf(line)
    if (line === undefined || frame === undefined || !("dir" in line) || line.dir !== "in" || !conns.has(line.conn)) {
      return
    }
    if (typeof frame === "string") {
      if (isGreeting(frame)) return
      const message = messageOf(frame)
      if (message?.type === "executing" && Json.get(message.data, "prompt_id") === submission.promptId) {
        const node = Json.get(message.data, "node")
        runningNode = typeof node === "string" ? node : undefined
      }
    }
    send(isMine(index) ? Rename.inFrame(frame, moment().renaming) : frame)
  }

  /** Frames of another run under the same id stay foreign; those without text of their own belong to what runs. */
  const isMine = (index: number): boolean =>
    found.accepted.every((other) =>
      other === submission || other.promptId !== submission.promptId || !other.facts.some((fact) => fact.at === index)
    )

  const play = Effect.gen(function*() {
    let t = lines[requestAt]?.kind === "request" ? submission.exchange.request.t ?? 0 : 0
    for (let index = requestAt + 1; index <= Math.min(holdAt, lines.length - 1); index++) {
      const line = lines[index]
      const next = line !== undefined && "t" in line ? line.t ?? t : t
      if (next > t) yield* Effect.sleep(Duration.millis(next - t))
      t = Math.max(t, next)
      const wasDown = isDown()
      at = index
      if (isDown() && !wasDown) {
        const lost = current
        current = undefined
        lost?.socket.closed(1006, "")
      }
      tell(index)
      if (index === endAt) yield* Deferred.succeed(posted, undefined)
    }
  })

  const receipt = (): Answer => {
    const recorded = submission.exchange.answer
    const json = recorded === undefined ? undefined : jsonOf(textOf(recorded))
    return {
      status: recorded?.status ?? 500,
      contentType: recorded?.headers["content-type"] ?? "application/json",
      body: json === undefined ? "" : Json.stringify(Rename.inside(json, moment().renaming))
    }
  }

  const onPost = (body: string) => {
    const json = jsonOf(body)
    const request = json === undefined ? undefined : Prompt.Request.decode(json)
    if (request?._tag === "Success") {
      if (keepsIds) promptId = request.success.prompt_id ?? promptId
      postedAs = request.success.client_id
    }
    at = requestAt
    start(play)
    return Effect.map(Deferred.await(posted), receipt)
  }

  const http = HttpClient.make((request, url) => {
    const path = url.pathname + url.search
    const body = textOfBody(request)
    if (isDown()) return Effect.fail(refused(request))
    if (request.method === "POST" && url.pathname === "/prompt") {
      return Effect.map(onPost(body), (answer) => toResponse(request, answer))
    }
    const said = answer(moment(), request.method, path)
    if (takesOut(moment(), request.method, path, body)) removedByUs = true
    return Effect.succeed(toResponse(request, said))
  })

  const greet = (clientId: string) => {
    const sid = { status: { exec_info: { queue_remaining: queueRemaining(moment()) } }, sid: clientId }
    send(Json.stringify({ type: "status", data: sid }))
    const isRunning = postedAs === clientId && placeOf(found, submission, at) === "running"
    if (isRunning && listens?.own === true && runningNode !== undefined) {
      send(Json.stringify({ type: "executing", data: { node: runningNode } }))
    }
  }

  const flags = listens?.sockets.find(({ flags }) => flags !== undefined)?.flags
  const construct = (url: string): FakeNodeSocket => {
    const clientId = new URL(url).searchParams.get("clientId") ?? ""
    const socket: FakeNodeSocket = new FakeNodeSocket(url, {
      send: (frame) => {
        if (current?.socket !== socket || typeof frame !== "string" || flags === undefined) return
        if (messageOf(frame)?.type === "feature_flags") later(() => send(flags))
      },
      ping: () => later(() => socket.ponged()),
      close: (code, reason) =>
        later(() => {
          if (current?.socket === socket) current = undefined
          socket.closed(code, reason)
        }),
      terminate: () => {
        if (current?.socket === socket) current = undefined
      }
    })
    later(() => {
      if (isDown()) return socket.broken("connect ECONNREFUSED")
      current = { socket, clientId }
      socket.opened()
      greet(clientId)
    })
    return socket
  }

  /** A fiber starts at once; a socket's user first adds its listeners. */
  const later = (act: () => void) => void start(Effect.andThen(Effect.yieldNow, Effect.sync(act)))

  return Context.make(HttpClient.HttpClient, http).pipe(Context.add(Socket.WebSocketConstructor, construct))
})
