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

/** Which requests a fault is for; called for each, it must answer the same each time. */
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

/** A fault: what it is for, what it does, and when. */
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

/** A fault on requests: what happens to those that match. */
export const on = (match: Match, action: Action, schedule: Schedule = {}): Fault => ({
  _tag: "OnRequest",
  match,
  action,
  schedule
})

/** Upgrades to a WebSocket are answered with a status, 403 by default, or reset. */
export const refuseUpgrades = (response: RawResponse | "reset" = { status: 403 }, schedule: Schedule = {}): Fault => ({
  _tag: "OnUpgrade",
  response,
  schedule
})

/** Every frame from the server comes so much later; order is kept, HTTP is not touched. */
export const delayFrames = (ms: number, schedule: Schedule = {}): Fault => ({
  _tag: "OnFrame",
  match: () => true,
  action: { delayMs: ms },
  schedule
})

/** Frames that match are lost. */
export const dropFrames = (match: (frame: string | Uint8Array) => boolean, schedule: Schedule = {}): Fault => ({
  _tag: "OnFrame",
  match,
  action: "drop",
  schedule
})

/** Every request. */
export const any: Match = () => true

/** Requests of a method, in upper case. */
export const method = (name: string): Match => (request) => request.method === name

/**
 * A path without query, with or without `/api` before it; `*` at the end stands for any rest, `*` alone between
 * slashes for one segment.
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

/** Every one of these. */
export const all = (...matches: ReadonlyArray<Match>): Match => (request) => matches.every((match) => match(request))

/** A method and a path: `Fault.request("POST", "/prompt")`. */
export const request = (name: string, pattern: string): Match => all(method(name), path(pattern))

/** Somebody else answers, and the server never sees the request. */
export const respond = (response: RawResponse): Action => ({ _tag: "Respond", response })
/** The connection breaks before the server sees the request. */
export const dropRequest: Action = { _tag: "DropRequest" }
/** The server does what was asked, and the connection breaks before its answer. */
export const dropAnswer: Action = { _tag: "DropAnswer" }
/** The server does what was asked, and somebody else answers. */
export const replaceAnswer = (response: RawResponse): Action => ({ _tag: "ReplaceAnswer", response })
/** Nothing ever comes back; `done` says whether the server saw the request. */
export const hang = (options: { readonly done: boolean }): Action => ({ _tag: "Hang", done: options.done })
/** The request reaches the server so many milliseconds later. */
export const delayRequest = (ms: number): Action => ({ _tag: "DelayRequest", ms })
/** The answer comes so many milliseconds later; 0: behind the frames of the same moment. */
export const holdAnswer = (ms: number): Action => ({ _tag: "HoldAnswer", ms })
/** The answer's body breaks off after so many bytes. */
export const cutBody = (bytes: number): Action => ({ _tag: "CutBody", bytes })
/** The server's answer, changed on its way; its length is set anew. */
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

/** 502, a proxy's page: nobody listens behind it. */
export const badGateway: RawResponse = page(502, "Bad Gateway")
/** 504, a proxy's page: the server took too long. */
export const gatewayTimeout: RawResponse = page(504, "Gateway Time-out")
/** 503, a proxy's page: no server is free. */
export const serviceUnavailable: RawResponse = page(503, "Service Unavailable")
/** 404, a proxy's page: the machine is gone. */
export const notFoundPage: RawResponse = page(404, "Not Found")
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
/** 429, with the seconds to wait. */
export const tooManyRequests = (retryAfterSeconds: number): RawResponse => ({
  status: 429,
  headers: { "retry-after": String(retryAfterSeconds), "content-type": "text/plain" },
  body: "Too Many Requests"
})
