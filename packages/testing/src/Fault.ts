/**
 * What goes wrong between a client and a server, and in the server, as values: what it is for (requests, upgrades,
 * frames, nodes, the process), what happens, how often and how long. They compose: of all that match, delays and other
 * additions add up, and the first other action counts.
 *
 * Two kinds are kept apart by name. *Fail before*: the server never saw it ({@link dropRequest}, {@link respond},
 * {@link killBefore}). *Done, then failed*: the server did what was asked, and the caller does not learn of it
 * ({@link dropAnswer}, {@link replaceAnswer}, {@link answerWithin}, {@link killAfter}).
 *
 * Whatever holds no function is data ({@link FaultData}): it goes to a fake in another process as it is.
 */
import type * as Schema from "effect/Schema"
import type {
  Action,
  ActionData,
  BodyEnd,
  FaultData,
  Flapping,
  Frame,
  FrameAction,
  FrameActionData,
  FrameMatch,
  FrameMatchData,
  Joined,
  Match,
  MatchData,
  NodeAction,
  NodeMatch,
  NodeMoment,
  OnFrame,
  OnNode,
  OnRequest,
  Pace,
  Plain,
  RawResponse,
  Schedule,
  UpgradeAction
} from "./FaultData.ts"
import * as faultCodec from "./internal/faultCodec.ts"
import { matchesRequest } from "./internal/matching.ts"

export type * from "./FaultData.ts"

/**
 * Faults as JSON, for a fake in another process; bytes are `{"base64": "…"}`. Decoding refuses what no machine has room or
 * time for: bodies and frames beyond 256 MiB, times beyond 1e12 ms, more than 10,000 copies.
 */
export const json: Schema.Codec<FaultData, unknown> = faultCodec.fault

// ---- Matches

/** Every request. */
export const any: MatchData = { _tag: "Any" }

/** Requests of a method, in upper case. */
export const method = (name: string): MatchData => ({ _tag: "Method", method: name })

/**
 * A path without query, with or without `/api` before it; `*` at the end stands for any rest, `*` alone between
 * slashes for one segment.
 */
export const path = (pattern: string): MatchData => ({ _tag: "Path", pattern })

/** A header of this name, of this value if one is given. */
export const header = (name: string, value?: string): MatchData => ({
  _tag: "Header",
  name: name.toLowerCase(),
  ...(value === undefined ? {} : { value })
})

/** Requests with this text in their body: those of one prompt, by its id. */
export const bodyIncludes = (text: string): MatchData => ({ _tag: "BodyIncludes", text })

/** Requests whose body has more bytes. */
export const bodyOver = (bytes: number): MatchData => ({ _tag: "BodyOver", bytes })

/** Every one of these: for requests, or for frames. */
export const all = <M extends Match | FrameMatch>(...matches: ReadonlyArray<M>): Joined<M> => ({ _tag: "All", matches })

/** Any one of these: for requests, or for frames. */
export const either = <M extends Match | FrameMatch>(...matches: ReadonlyArray<M>): Joined<M> => ({
  _tag: "Either",
  matches
})

/** A method and a path: `Fault.request("POST", "/prompt")`. */
export const request = (name: string, pattern: string): MatchData => all(method(name), path(pattern))

/** Whether a request is one that a match is for. */
export const matches = matchesRequest

// ---- Faults on requests

/** A fault on requests: what happens to those that match. */
export const on = <M extends Match, A extends Action>(
  match: M,
  action: A,
  schedule: Schedule = {}
): OnRequest<M, A> => ({
  _tag: "OnRequest",
  match,
  action,
  schedule
})

/** Somebody else answers, and the server never sees the request. */
export const respond = (response: RawResponse): ActionData => ({ _tag: "Respond", response })
/** The connection breaks before the server sees the request. */
export const dropRequest: ActionData = { _tag: "DropRequest" }
/** The server does what was asked, and the connection breaks before its answer. */
export const dropAnswer: ActionData = { _tag: "DropAnswer" }
/** The server does what was asked, and somebody else answers. */
export const replaceAnswer = (response: RawResponse): ActionData => ({ _tag: "ReplaceAnswer", response })
/** Nothing ever comes back; `done` says whether the server saw the request. */
export const hang = (options: { readonly done: boolean }): ActionData => ({ _tag: "Hang", done: options.done })
/** The process dies of the request, before it did anything. */
export const killBefore: ActionData = { _tag: "Kill", done: false }
/** The process does what was asked, and dies before its answer. */
export const killAfter: ActionData = { _tag: "Kill", done: true }
/** The request reaches the server so many milliseconds later. */
export const delayRequest = (ms: number): ActionData => ({ _tag: "DelayRequest", ms })
/** The answer comes so many milliseconds later; 0: behind the frames of the same moment. */
export const holdAnswer = (ms: number): ActionData => ({ _tag: "HoldAnswer", ms })
/** The answer's body breaks off after so many bytes. */
export const cutBody = (bytes: number, how: BodyEnd = "reset"): ActionData => ({ _tag: "CutBody", bytes, how })
/** The answer's body stops after so many bytes, and the connection stays open. */
export const stallBody = (bytes: number): ActionData => ({ _tag: "StallBody", bytes })
/** Status line and headers come byte by byte, the last after so many milliseconds. */
export const slowHeaders = (overMs: number): ActionData => ({ _tag: "SlowHeaders", overMs })
/** The body comes bit by bit. */
export const slowBody = (pace: Pace): ActionData => ({ _tag: "SlowBody", pace })
/** A shorter body is filled up with white space to so many bytes. */
export const padBody = (bytes: number): ActionData => ({ _tag: "PadBody", bytes })
/** A proxy answers, by default with its 504, if the server has not after so long; the server goes on with the request. */
export const answerWithin = (ms: number, response: RawResponse = gatewayTimeout): ActionData => ({
  _tag: "AnswerWithin",
  ms,
  response
})
/** The server's answer, changed on its way; its length is set anew. Holds a function: not for another process. */
export const editAnswer = (edit: (response: Required<RawResponse>) => RawResponse): Action => ({
  _tag: "EditAnswer",
  edit
})

/** `object_info` as of a server with thousands of nodes: 20 MB that come over 19 s, unless said otherwise. */
export const slowObjectInfo = (
  options: { readonly bytes?: number; readonly ms?: number; readonly schedule?: Schedule } = {}
): ReadonlyArray<FaultData> => [
  on(path("/object_info"), padBody(options.bytes ?? 20_000_000), options.schedule),
  on(path("/object_info"), slowBody({ overMs: options.ms ?? 19_000 }), options.schedule)
]

// ---- Faults on upgrades

const onUpgrade = (action: UpgradeAction, schedule: Schedule): Plain => ({ _tag: "OnUpgrade", action, schedule })

/** Upgrades to a WebSocket are answered with a status, 403 by default, or reset. */
export const refuseUpgrades = (
  response: RawResponse | "reset" = { status: 403 },
  schedule: Schedule = {}
): FaultData => onUpgrade(response === "reset" ? { _tag: "Reset" } : { _tag: "Refuse", response }, schedule)

/** Upgrades are never answered. */
export const hangUpgrades = (schedule: Schedule = {}): FaultData => onUpgrade({ _tag: "Hang" }, schedule)

/** Sockets open and answer pings, and no event ever reaches them. */
export const deafUpgrades = (schedule: Schedule = {}): FaultData => onUpgrade({ _tag: "Deaf" }, schedule)

// ---- Faults on frames

/** Every frame. */
export const anyFrame: FrameMatchData = { _tag: "AnyFrame" }
/** JSON frames of one of these types. */
export const event = (...types: ReadonlyArray<string>): FrameMatchData => ({ _tag: "Event", types })
/** Binary frames, of this event number if one is given: 1 preview, 3 text, 4 preview with metadata. */
export const binary = (number?: number): FrameMatchData => ({
  _tag: "Binary",
  ...(number === undefined ? {} : { event: number })
})
/** Text frames with this text in them: those of a prompt, by its id. */
export const frameIncludes = (text: string): FrameMatchData => ({ _tag: "TextIncludes", text })

/** A fault on frames from the server: what happens to those that match. */
export const onFrame = <M extends FrameMatch, A extends FrameAction>(
  match: M,
  action: A,
  schedule: Schedule = {}
): OnFrame<M, A> => ({
  _tag: "OnFrame",
  match,
  action,
  schedule
})

/** Every frame from the server comes so much later; order is kept, HTTP is not touched. */
export const delayFrames = (ms: number, schedule?: Schedule): FaultData =>
  onFrame<FrameMatchData, FrameActionData>(anyFrame, { _tag: "Delay", ms }, schedule)

/** Frames that match are lost. */
export const dropFrames = <M extends FrameMatch>(match: M, schedule?: Schedule): OnFrame<M, FrameActionData> =>
  onFrame<M, FrameActionData>(match, { _tag: "Drop" }, schedule)

/** Frames that match come `copies` times more, one right after the other. Default: once more. */
export const duplicateFrames = <M extends FrameMatch>(
  match: M,
  copies = 1,
  schedule?: Schedule
): OnFrame<M, FrameActionData> => onFrame<M, FrameActionData>(match, { _tag: "Duplicate", copies }, schedule)

/** After a frame that matches, all that its socket was sent comes once more: with `executing` of null, a whole run. */
export const replayFrames = <M extends FrameMatch>(match: M, schedule?: Schedule): OnFrame<M, FrameActionData> =>
  onFrame<M, FrameActionData>(match, { _tag: "Replay" }, schedule)

/**
 * Frames that match are shuffled, by the seed, among at most `window` that follow each other within `withinMs`: none
 * moves further. Defaults: 4, 100 ms.
 */
export const reorderFrames = <M extends FrameMatch>(
  match: M,
  options: { readonly window?: number; readonly withinMs?: number } = {},
  schedule?: Schedule
): OnFrame<M, FrameActionData> =>
  onFrame<M, FrameActionData>(match, {
    _tag: "Reorder",
    window: options.window ?? 4,
    withinMs: options.withinMs ?? 100
  }, schedule)

/** Other frames come after each that matches, before it or in its place; `BadFrames` has some. */
export const insertFrames = <M extends FrameMatch>(
  match: M,
  frames: ReadonlyArray<Frame>,
  where: "before" | "after" | "instead" = "after",
  schedule?: Schedule
): OnFrame<M, FrameActionData> => onFrame<M, FrameActionData>(match, { _tag: "Insert", frames, where }, schedule)

/** Of frames that match only the first bytes (of text: characters) come. */
export const truncateFrames = <M extends FrameMatch>(
  match: M,
  length: number,
  schedule?: Schedule
): OnFrame<M, FrameActionData> => onFrame<M, FrameActionData>(match, { _tag: "Truncate", length }, schedule)

/** A member of JSON frames is set to another value: `setField(event("progress"), ["data", "value"], "seven")`. */
export const setField = <M extends FrameMatch>(
  match: M,
  path: ReadonlyArray<string>,
  value: unknown,
  schedule?: Schedule
): OnFrame<M, FrameActionData> =>
  onFrame<M, FrameActionData>(match, { _tag: "SetField", path, json: JSON.stringify(value) ?? "null" }, schedule)

/** A member of JSON frames is missing. */
export const omitField = <M extends FrameMatch>(
  match: M,
  path: ReadonlyArray<string>,
  schedule?: Schedule
): OnFrame<M, FrameActionData> => onFrame<M, FrameActionData>(match, { _tag: "OmitField", path }, schedule)

/** The socket breaks in the place of a frame that matches: close 1006. */
export const cutSocketAt = <M extends FrameMatch>(match: M, schedule?: Schedule): OnFrame<M, FrameActionData> =>
  onFrame<M, FrameActionData>(match, { _tag: "CutSocket" }, schedule)

/** The process dies in the place of a frame that matches: what was done is done, and nobody was told. */
export const killServerAt = <M extends FrameMatch>(match: M, schedule?: Schedule): OnFrame<M, FrameActionData> =>
  onFrame<M, FrameActionData>(match, { _tag: "KillServer" }, schedule)

// ---- Faults on nodes

/** A fault on nodes: what happens to those that match when they are about to run. */
export const onNode = <M extends NodeMatch>(match: M, action: NodeAction, schedule: Schedule = {}): OnNode<M> => ({
  _tag: "OnNode",
  match,
  action,
  schedule
})

/** Nothing is heard for so many milliseconds before the node's first progress, and no interrupt is seen: a load. */
export const silent = (ms: number): NodeAction => ({ _tag: "Silent", ms })
/** The node's own times are multiplied. */
export const slower = (factor: number): NodeAction => ({ _tag: "Slower", factor })
/** The node never looks at the interrupt flag. */
export const uninterruptible: NodeAction = { _tag: "Uninterruptible" }
/** The node holds the event loop for so many milliseconds: HTTP, frames and pongs are frozen. */
export const stallServer = (ms: number): NodeAction => ({ _tag: "StallServer", ms })
/** The node raises a Python exception. */
export const raise = (type: string, message: string, when: NodeMoment = "before"): NodeAction => ({
  _tag: "Raise",
  type,
  message,
  when
})
/** The node runs out of memory, as torch says it. */
export const outOfMemory = (when: NodeMoment = "before"): NodeAction =>
  raise("torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory. (out of memory)", when)
/** A CUDA error, and from then on at once in whatever runs, until the process is started again; HTTP is well. */
export const poisonGpu = (when: NodeMoment = "before"): NodeAction => ({ _tag: "PoisonGpu", when })
/** The process ends: before the node, after it, or when it sent its n-th progress. */
export const killProcess = (when: NodeMoment = "before"): NodeAction => ({ _tag: "KillProcess", when })
/** The worker thread ends: prompts are taken and never run. */
export const killWorker = (when: NodeMoment = "before"): NodeAction => ({ _tag: "KillWorker", when })

// ---- Faults of the whole server

/** Interrupts and cancels are answered as ever, and the running prompt does not learn of them. */
export const loseInterrupts = (schedule: Schedule = {}): FaultData => ({ _tag: "LoseInterrupts", schedule })

/** Nothing can be written: saving nodes raise `OSError: [Errno 28]`, uploads are answered with 500. Each write is a strike. */
export const diskFull = (schedule: Schedule = {}): FaultData => ({ _tag: "DiskFull", schedule })

/** The output folder is emptied when a prompt ends, before anybody is told. */
export const deleteOutputs = (schedule: Schedule = {}): FaultData => ({ _tag: "DeleteOutputs", schedule })

/**
 * By turns well for `upMs` and away for `downMs`, from its injection on. `network` (default): connections are refused
 * and sockets cut, and the server goes on; `process`: it is killed, and a new one started (a fake that is a process of its
 * own ends for good); `stall`: its event loop stands. Of the schedule `skip` and `probability` mean nothing here.
 */
export const flapping = (
  options: { readonly upMs: number; readonly downMs: number; readonly what?: Flapping; readonly schedule?: Schedule }
): FaultData => ({
  _tag: "Flap",
  what: options.what ?? "network",
  upMs: options.upMs,
  downMs: options.downMs,
  schedule: options.schedule ?? {}
})

/** The server's wall clock is so many milliseconds ahead (or behind): timestamps and `Date`. */
export const skewClock = (ms: number, schedule: Schedule = {}): FaultData => ({ _tag: "SkewClock", ms, schedule })

/**
 * A proxy cuts sockets (1006) over which nothing passed for so many milliseconds, pings included, and ends idle
 * keep-alive connections (real ones only; in memory there are none).
 */
export const idleCut = (
  options: { readonly socketsMs?: number; readonly keepAliveMs?: number; readonly schedule?: Schedule }
): FaultData => {
  const { schedule, ...times } = options
  return { _tag: "IdleCut", ...times, schedule: schedule ?? {} }
}

// ---- Answers of others

const html = (title: string): string =>
  `<html>\r\n<head><title>${title}</title></head>\r\n<body><h1>${title}</h1></body>\r\n</html>\r\n`

const page = (status: number, title: string): RawResponse => ({
  status,
  headers: { "content-type": "text/html", server: "nginx" },
  body: html(`${status} ${title}`)
})

/** 502, a proxy's page: nobody listens behind it. */
export const badGateway: RawResponse = page(502, "Bad Gateway")
/** 504, a proxy's page: the server took too long. */
export const gatewayTimeout: RawResponse = page(504, "Gateway Time-out")
/** 503, a proxy's page: no server is free. */
export const serviceUnavailable: RawResponse = page(503, "Service Unavailable")
/** 413, a proxy's page: the body is too large for it. */
export const tooLarge: RawResponse = page(413, "Request Entity Too Large")
/** 404, a proxy's page: the machine is gone. */
export const notFoundPage: RawResponse = page(404, "Not Found")
/** 500 of ComfyUI itself: an uncaught exception. */
export const serverError: RawResponse = {
  status: 500,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: "500 Internal Server Error\n\nServer got itself in trouble"
}
/** 401 of a proxy that wants a password. */
export const unauthorized: RawResponse = {
  status: 401,
  headers: { "content-type": "text/plain", "www-authenticate": "Basic realm=\"comfy\"" },
  body: "Unauthorized"
}
/** 302 to a login page. */
export const loginRedirect = (location: string): RawResponse => ({
  status: 302,
  headers: { location, "content-type": "text/html" },
  body: html("302 Found")
})
/** 429, with `Retry-After` as it is given: seconds, an HTTP date, or nonsense. */
export const tooManyRequests = (retryAfter: number | string): RawResponse => ({
  status: 429,
  headers: { "retry-after": String(retryAfter), "content-type": "text/plain" },
  body: "Too Many Requests"
})
