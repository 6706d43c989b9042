/**
 * What goes wrong between a client and a server, as values: which requests (or upgrades, or frames), what happens to
 * them, how often and how long. They compose: of all that match a request, delays add up and the first other action
 * counts.
 */

/** A request as a matcher sees it. */
export interface RequestInfo {
  readonly method: string
  /** Without query. */
  readonly path: string
  /** Path and query as sent. */
  readonly target: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** @category models */
export type Match = (request: RequestInfo) => boolean

/** An answer that does not come from the server: a proxy's page, a login, a limit. */
export interface RawResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** What happens to a request. */
export type Action =
  /** Somebody else answers; the server never sees the request. */
  | { readonly _tag: "Respond"; readonly response: RawResponse }
  /** The connection breaks before the server sees the request. */
  | { readonly _tag: "DropRequest" }
  /** The server does what was asked, and the connection breaks before its answer. */
  | { readonly _tag: "DropAnswer" }
  /** The server does what was asked, and somebody else answers: a 504 of a proxy. */
  | { readonly _tag: "ReplaceAnswer"; readonly response: RawResponse }
  /** Nothing ever comes back. The server sees the request, or does not. */
  | { readonly _tag: "Hang"; readonly done: boolean }
  /** The request reaches the server later. */
  | { readonly _tag: "DelayRequest"; readonly ms: number }
  /** The answer comes later; frames do not wait for it. With 0 it comes behind the frames of the same moment. */
  | { readonly _tag: "HoldAnswer"; readonly ms: number }
  /** The body breaks off after so many bytes. */
  | { readonly _tag: "CutBody"; readonly bytes: number }
  /** The server's answer, changed on its way. */
  | { readonly _tag: "EditAnswer"; readonly edit: (response: Required<RawResponse>) => RawResponse }

/** How often and how long a fault is in force. */
export interface Schedule {
  /** Ends after striking so often. Default: never. */
  readonly times?: number
  /** Lets so many matches pass first. Default 0. */
  readonly skip?: number
  /** Ends so many milliseconds after it was injected. Default: never. */
  readonly forMs?: number
  /** Strikes with this probability, by the server's seed. Default 1. */
  readonly probability?: number
}

/** @category models */
export type Fault =
  | { readonly _tag: "OnRequest"; readonly match: Match; readonly action: Action; readonly schedule: Schedule }
  | { readonly _tag: "OnUpgrade"; readonly response: RawResponse | "reset"; readonly schedule: Schedule }
  | {
    readonly _tag: "OnFrame"
    readonly match: (frame: string | Uint8Array) => boolean
    /** Milliseconds later (order within a socket is kept), or not at all. */
    readonly action: { readonly delayMs: number } | "drop"
    readonly schedule: Schedule
  }

/** What happens to requests. @category constructors */
export const on = (match: Match, action: Action, schedule: Schedule = {}): Fault => ({
  _tag: "OnRequest",
  match,
  action,
  schedule
})

/** Upgrades to a WebSocket are answered with a status, 403 by default, or reset. @category constructors */
export const refuseUpgrades = (response: RawResponse | "reset" = { status: 403 }, schedule: Schedule = {}): Fault => ({
  _tag: "OnUpgrade",
  response,
  schedule
})

/** Every frame from the server comes so much later; order is kept, HTTP is not touched. @category constructors */
export const delayFrames = (ms: number, schedule: Schedule = {}): Fault => ({
  _tag: "OnFrame",
  match: () => true,
  action: { delayMs: ms },
  schedule
})

/** Frames that match are lost. @category constructors */
export const dropFrames = (match: (frame: string | Uint8Array) => boolean, schedule: Schedule = {}): Fault => ({
  _tag: "OnFrame",
  match,
  action: "drop",
  schedule
})

/** Every request. @category matchers */
export const any: Match = () => true

/** A method. @category matchers */
export const method = (name: string): Match => (request) => request.method === name

/**
 * A path without query, with or without `/api` before it; `*` at the end stands for any rest, `*` alone between
 * slashes for one segment.
 *
 * @category matchers
 */
export const path = (pattern: string): Match => {
  const parts = pattern.split("/")
  const rest = parts.at(-1) === "*"
  return (request) => {
    const bare = request.path.startsWith("/api/") && !pattern.startsWith("/api/") ? request.path.slice(4) : request.path
    const segments = bare.split("/")
    if (rest ? segments.length < parts.length : segments.length !== parts.length) return false
    return parts.every((part, index) => part === "*" || part === segments[index])
  }
}

/** Every one of these. @category matchers */
export const all = (...matches: ReadonlyArray<Match>): Match => (request) => matches.every((match) => match(request))

/** A method and a path: `Fault.request("POST", "/prompt")`. @category matchers */
export const request = (name: string, pattern: string): Match => all(method(name), path(pattern))

/** The server never sees it. @category actions */
export const respond = (response: RawResponse): Action => ({ _tag: "Respond", response })
/** Fail before. @category actions */
export const dropRequest: Action = { _tag: "DropRequest" }
/** Do it, then fail. @category actions */
export const dropAnswer: Action = { _tag: "DropAnswer" }
/** Do it, then somebody else answers. @category actions */
export const replaceAnswer = (response: RawResponse): Action => ({ _tag: "ReplaceAnswer", response })
/** Nothing comes back; `done` says whether the server saw it. @category actions */
export const hang = (options: { readonly done: boolean }): Action => ({ _tag: "Hang", done: options.done })
/** Arrives late. @category actions */
export const delayRequest = (ms: number): Action => ({ _tag: "DelayRequest", ms })
/** Answers late. @category actions */
export const holdAnswer = (ms: number): Action => ({ _tag: "HoldAnswer", ms })
/** The body breaks off. @category actions */
export const cutBody = (bytes: number): Action => ({ _tag: "CutBody", bytes })
/** The real answer, changed. @category actions */
export const editAnswer = (edit: (response: Required<RawResponse>) => RawResponse): Action => ({
  _tag: "EditAnswer",
  edit
})

const html = (title: string): string =>
  `<html>\r\n<head><title>${title}</title></head>\r\n<body><h1>${title}</h1></body>\r\n</html>\r\n`

const page = (status: number, title: string): RawResponse => ({
  status,
  headers: { "content-type": "text/html", server: "nginx" },
  body: html(`${status} ${title}`)
})

/** What proxies say. @category responses */
export const badGateway: RawResponse = page(502, "Bad Gateway")
/** @category responses */
export const gatewayTimeout: RawResponse = page(504, "Gateway Time-out")
/** @category responses */
export const serviceUnavailable: RawResponse = page(503, "Service Unavailable")
/** A machine that is gone, as a proxy's page. @category responses */
export const notFoundPage: RawResponse = page(404, "Not Found")
/** @category responses */
export const unauthorized: RawResponse = {
  status: 401,
  headers: { "content-type": "text/plain", "www-authenticate": "Basic realm=\"comfy\"" },
  body: "Unauthorized"
}
/** A redirect to a login page. @category responses */
export const loginRedirect = (location: string): RawResponse => ({
  status: 302,
  headers: { location, "content-type": "text/html" },
  body: html("302 Found")
})
/** Too many requests. @category responses */
export const tooManyRequests = (retryAfterSeconds: number): RawResponse => ({
  status: 429,
  headers: { "retry-after": String(retryAfterSeconds), "content-type": "text/plain" },
  body: "Too Many Requests"
})
