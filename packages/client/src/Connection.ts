/**
 * One WebSocket, reduced to what a client of ComfyUI needs: batches of frames pulled as they come, text sent, pings where
 * the platform has them. The reading side never pauses: a client that stops reading stalls every other client of its
 * server, so what is not pulled waits here, within a bound.
 */
import { type Frame, stateHead } from "@effect-comfyui/protocol/Frame"
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"

/** The connection could not be opened; `cause` is the platform's word, at most 200 characters. */
export const OpenFailed = Schema.TaggedStruct("OpenFailed", { cause: Schema.String })
/** The upgrade was not answered in time. */
export const OpenTimeout = Schema.TaggedStruct("OpenTimeout", {})
/** The upgrade was answered with an HTTP status. */
export const UpgradeRefused = Schema.TaggedStruct("UpgradeRefused", { status: Schema.Int })
/** This platform's sockets cannot send headers (browsers): use a query parameter. */
export const HeadersUnsupported = Schema.TaggedStruct("HeadersUnsupported", {})
/** The connection ended. Servers that die send no close frame: 1006. */
export const SocketClosed = Schema.TaggedStruct("SocketClosed", { code: Schema.Int, reason: Schema.String })
/** More bytes waited for the pump than allowed. */
export const Overflow = Schema.TaggedStruct("Overflow", { limitBytes: Schema.Finite })
/** Nothing answered our pings while the server answered over HTTP. */
export const PongsMissed = Schema.TaggedStruct("PongsMissed", { missed: Schema.Int })
/** HTTP proved that frames of ours were due, and none came. */
export const Deaf = Schema.TaggedStruct("Deaf", {})
/** We closed it. */
export const Dropped = Schema.TaggedStruct("Dropped", {})

export const LinkReason = Schema.Union([
  OpenFailed,
  OpenTimeout,
  UpgradeRefused,
  HeadersUnsupported,
  SocketClosed,
  Overflow,
  PongsMissed,
  Deaf,
  Dropped
])
export type LinkReason = typeof LinkReason.Type

/** Why a socket did not open or does not live any more. Survives JSON; carries no URL and no header. */
export class LinkError extends Schema.TaggedError<LinkError>()("LinkError", { reason: LinkReason }) {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "OpenFailed":
        return `socket could not be opened: ${reason.cause}`
      case "OpenTimeout":
        return "socket did not open in time"
      case "UpgradeRefused":
        return `socket refused with status ${reason.status}`
      case "HeadersUnsupported":
        return "sockets of this platform cannot send headers: use a query parameter"
      case "SocketClosed":
        return `socket closed (${reason.code}${reason.reason === "" ? "" : ` ${reason.reason}`})`
      case "Overflow":
        return `more than ${reason.limitBytes} bytes waited to be read`
      case "PongsMissed":
        return `${reason.missed} pings without an answer`
      case "Deaf":
        return "the socket is open and deaf"
      case "Dropped":
        return "socket dropped"
    }
  }
}

/** A text frame that is still bytes: large ones may turn out not to be worth reading. */
export interface UnreadText {
  readonly bytes: Uint8Array
  readonly read: () => string
}

/** Found structurally on the socket, never required: `ws` has them, browsers do not. */
export interface WebSocketPowers {
  ping?(): void
  terminate?(): void
  on?(event: "pong", listener: () => void): unknown
  /** Frames before they become message events; only `WebSocketNode` has it. */
  onFrame?(listener: (frame: Frame | UnreadText) => void): void
}

/** An open socket. It ends with its scope, which drops it. */
export interface Connection {
  /**
   * The frames that came since the last pull, in order; waits for one; ends by failing, after the last frame. Of several
   * `progress_state` of one prompt that waited, all but the last may be missing.
   */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Frame>, LinkError>
  readonly send: (frame: string) => Effect.Effect<void, LinkError>
  /** Sends a ping and waits for the next pong, however long. None in browsers. */
  readonly ping: Option.Option<Effect.Effect<void, LinkError>>
  /** Ends the connection at once, without a closing handshake where the platform allows that. */
  readonly drop: Effect.Effect<void>
}

/** What {@link dial} needs to know. */
export interface DialOptions {
  readonly url: URL
  readonly headers: Readonly<Record<string, Redacted.Redacted<string>>>
  readonly openTimeout: Duration.Input
  /** Bound of what may wait between two pulls; beyond it the connection fails with `Overflow`. */
  readonly maxBufferedBytes: number
}

const failure = (reason: LinkReason): LinkError => new LinkError({ reason })

const causeText = (cause: unknown): string => {
  const text = Predicate.hasProperty(cause, "message") ? String(cause.message) : String(cause)
  return text.slice(0, 200)
}

/** `WebSocketNode` puts the status of a refused upgrade on its error. */
const openFailure = (event: Socket.WebSocketEvent): LinkError => {
  const error = Predicate.hasProperty(event, "error") ? event.error : undefined
  const status = Predicate.hasProperty(error, "status") ? error.status : undefined
  return typeof status === "number"
    ? failure({ _tag: "UpgradeRefused", status })
    : failure({ _tag: "OpenFailed", cause: error === undefined ? "connection failed" : causeText(error) })
}

const toFrame = (data: unknown): Frame | undefined =>
  typeof data === "string" || data instanceof Uint8Array
    ? data
    : data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : undefined

const sizeOf = (frame: Frame | UnreadText): number =>
  typeof frame === "string" ? frame.length : frame instanceof Uint8Array ? frame.byteLength : frame.bytes.byteLength

/** `unread` was noted when the frames came: looking at each again would cost as much as reading it. */
const isRead = (_frames: Array<Frame | UnreadText>, unread: boolean): _frames is Array<Frame> => !unread

/** Frames as they are wanted: states that a later one supersedes are never read. */
const readAll = (frames: ReadonlyArray<Frame | UnreadText>): Array<Frame> => {
  const heads = new Set<string>()
  const read: Array<Frame> = []
  for (let i = frames.length - 1; i >= 0; i--) {
    const frame = frames[i]
    if (frame === undefined) continue
    if (typeof frame === "string" || frame instanceof Uint8Array) {
      read.push(frame)
      continue
    }
    const head = stateHead(frame.bytes)
    if (head !== undefined && heads.has(head)) continue
    if (head !== undefined) heads.add(head)
    read.push(frame.read())
  }
  return read.toReversed()
}

/** Opens a socket. The wait for the opening is bounded, and an interrupted wait leaves nothing behind. */
export const dial = (
  options: DialOptions
): Effect.Effect<Connection, LinkError, Scope.Scope | Socket.WebSocketConstructor> =>
  Effect.flatMap(Socket.WebSocketConstructor, (construct) =>
    Effect.acquireRelease(
      open(construct, options),
      ({ drop }) => drop
    ).pipe(
      Effect.tap(({ opened }) =>
        Effect.timeoutOrElse(opened, {
          duration: options.openTimeout,
          orElse: () => Effect.fail(failure({ _tag: "OpenTimeout" }))
        })
      )
    ))

type Opening = Connection & { readonly opened: Effect.Effect<void, LinkError> }

const construction = (
  construct: Socket.WebSocketConstructor["Service"],
  { headers, url }: DialOptions
): Effect.Effect<Socket.WebSocketLike & WebSocketPowers, LinkError> => {
  const names = Object.entries(headers)
  const plain = Object.fromEntries(names.map(([name, value]) => [name, Redacted.value(value)]))
  return Effect.try({
    try: () => construct(url.href, names.length === 0 ? undefined : { headers: plain }),
    catch: (cause) =>
      failure(
        cause instanceof TypeError && names.length > 0
          ? { _tag: "HeadersUnsupported" }
          : { _tag: "OpenFailed", cause: causeText(cause) }
      )
  })
}

/**
 * A pull that waits for a frame. `soon`: one turn later, when what else came with it is here. `now`: at once, inside the
 * event of the frame that makes a batch full, because one turn of the event loop can read megabytes, and a batch that
 * outlives its read costs the garbage collector more than all the rest.
 */
interface Wake {
  readonly soon: () => void
  readonly now: () => void
}

const fullBatch = 512
const fullBatchBytes = 2 * 1024 * 1024

const open = Effect.fnUntraced(function*(
  construct: Socket.WebSocketConstructor["Service"],
  options: DialOptions
): Effect.fn.Return<Opening, LinkError> {
  const socket = yield* construction(construct, options)
  // `ws` hands out views of what it received; a browser would make a Blob of each binary frame.
  if (socket.on === undefined) Object.assign(socket, { binaryType: "arraybuffer" })

  let frames: Array<Frame | UnreadText> = []
  let unread = false
  let bytes = 0
  let ended: LinkError | undefined
  let isOpen = false
  let wake: Wake | undefined
  let onOpen: ((exit: Exit.Exit<void, LinkError>) => void) | undefined
  const pongs = new Set<Deferred.Deferred<void, LinkError>>()

  const opening = (exit: Exit.Exit<void, LinkError>) => {
    onOpen?.(exit)
    // It would keep the fiber that waited.
    onOpen = undefined
  }
  const end = (error: LinkError) => {
    if (ended !== undefined) return
    ended = error
    opening(Exit.fail(error))
    for (const pong of pongs) Deferred.doneUnsafe(pong, Exit.fail(error))
    wake?.now()
  }
  const drop = (reason: LinkReason) => {
    end(failure(reason))
    if (socket.terminate !== undefined) socket.terminate()
    else socket.close()
  }

  socket.addEventListener("open", () => {
    isOpen = true
    opening(Exit.void)
  })
  const received = (frame: Frame | UnreadText) => {
    if (ended !== undefined) return
    frames.push(frame)
    bytes += sizeOf(frame)
    if (typeof frame !== "string") unread ||= !(frame instanceof Uint8Array)
    if (bytes > options.maxBufferedBytes) drop({ _tag: "Overflow", limitBytes: options.maxBufferedBytes })
    else if (frames.length >= fullBatch || bytes >= fullBatchBytes) wake?.now()
    else wake?.soon()
  }
  if (socket.onFrame !== undefined) socket.onFrame(received)
  else {
    socket.addEventListener("message", (event) => {
      const frame = toFrame(event.data)
      if (frame !== undefined) received(frame)
    })
  }
  // Stays for ever: a socket dropped while it connects reports an error that nobody else would hear.
  socket.addEventListener("error", (event) => {
    if (!isOpen) end(openFailure(event))
  })
  socket.addEventListener("close", (event) => {
    end(failure({ _tag: "SocketClosed", code: event.code ?? 1006, reason: (event.reason ?? "").slice(0, 123) }))
  })
  socket.on?.("pong", () => {
    for (const pong of pongs) Deferred.doneUnsafe(pong, Exit.void)
  })

  const waitForFrame = Effect.withFiber<void>((fiber) =>
    Effect.callback((resume) => {
      if (ended !== undefined) return resume(Effect.void)
      let scheduled = false
      const now = () => {
        if (wake !== waiting) return
        wake = undefined
        resume(Effect.void)
      }
      const waiting: Wake = {
        now,
        soon: () => {
          if (scheduled) return
          scheduled = true
          fiber.currentDispatcher.scheduleTask(now, 0)
        }
      }
      wake = waiting
      if (frames.length > 0) waiting.soon()
      return Effect.sync(() => {
        wake = undefined
      })
    })
  )
  const takeAll = Effect.suspend((): Effect.Effect<NonEmptyReadonlyArray<Frame>, LinkError> => {
    const taken = isRead(frames, unread) ? frames : readAll(frames)
    if (!isArrayNonEmpty(taken)) return ended === undefined ? pull : Effect.fail(ended)
    frames = []
    unread = false
    bytes = 0
    return Effect.succeed(taken)
  })
  const pull: Connection["pull"] = Effect.andThen(waitForFrame, takeAll)

  const whileOpen = <A>(f: () => A): Effect.Effect<A, LinkError> =>
    Effect.suspend(() =>
      ended !== undefined
        ? Effect.fail(ended)
        : Effect.try({ try: f, catch: (cause) => failure({ _tag: "OpenFailed", cause: causeText(cause) }) })
    )

  const ping = Effect.suspend(() => {
    const pong = Deferred.makeUnsafe<void, LinkError>()
    pongs.add(pong)
    return whileOpen(() => socket.ping?.()).pipe(
      Effect.andThen(Deferred.await(pong)),
      Effect.ensuring(Effect.sync(() => pongs.delete(pong)))
    )
  })

  return {
    opened: Effect.callback<void, LinkError>((resume) => {
      if (ended !== undefined) return resume(Effect.fail(ended))
      if (isOpen) return resume(Effect.void)
      onOpen = resume
    }),
    pull,
    send: (frame) => whileOpen(() => socket.send(frame)),
    ping: socket.ping === undefined || socket.on === undefined ? Option.none() : Option.some(ping),
    drop: Effect.sync(() => drop({ _tag: "Dropped" }))
  }
})
