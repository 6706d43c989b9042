/** Where a server is: scheme, host and path prefix, without any secret. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** The text is no base URL of a server; `problem` says why. */
export class BaseUrlError extends Schema.TaggedError<BaseUrlError>()("BaseUrlError", {
  problem: Schema.Literals(["no-scheme", "unsupported-scheme", "malformed", "has-query", "has-fragment"])
}) {
  override get message(): string {
    switch (this.problem) {
      case "no-scheme":
        return "the base URL has no scheme: write http://host:8188"
      case "unsupported-scheme":
        return "the base URL must begin with http:, https:, ws: or wss:"
      case "malformed":
        return "the base URL is malformed"
      case "has-query":
        return "the base URL has a query: give tokens as credentials"
      case "has-fragment":
        return "the base URL has a fragment"
    }
  }
}

/** A parsed base URL. Building a request can only append to `prefix`. */
export interface BaseUrl {
  /** `http://host:port`, what cookies and credentials belong to. */
  readonly origin: string
  /** `ws://host:port`. */
  readonly socketOrigin: string
  /** Path prefix without a trailing slash: empty, or `/comfy`. */
  readonly prefix: string
  /** What stood before the `@`: basic authentication. */
  readonly userinfo: { readonly username: string; readonly password: Redacted.Redacted<string> } | undefined
}

const schemes: ReadonlyMap<string, readonly [string, string]> = new Map([
  ["http:", ["http:", "ws:"]],
  ["ws:", ["http:", "ws:"]],
  ["https:", ["https:", "wss:"]],
  ["wss:", ["https:", "wss:"]]
])

/** Reads a base URL: `http(s)` or `ws(s)`, IPv6, a path prefix, a trailing slash and userinfo are fine. */
export const parse = (text: string): Result.Result<BaseUrl, BaseUrlError> => {
  const fail = (problem: BaseUrlError["problem"]) => Result.fail(new BaseUrlError({ problem }))
  const trimmed = text.trim()
  // `localhost:8188` would parse as the scheme `localhost:`.
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed)) return fail("no-scheme")
  const url = URL.parse(trimmed)
  if (url === null || url.hostname === "") return fail("malformed")
  const scheme = schemes.get(url.protocol)
  if (scheme === undefined) return fail("unsupported-scheme")
  if (url.search !== "" || trimmed.includes("?")) return fail("has-query")
  if (url.hash !== "" || trimmed.includes("#")) return fail("has-fragment")
  const userinfo = Result.try(() => [decodeURIComponent(url.username), decodeURIComponent(url.password)] as const)
  if (Result.isFailure(userinfo)) return fail("malformed")
  const [username, password] = userinfo.success
  return Result.succeed({
    origin: `${scheme[0]}//${url.host}`,
    socketOrigin: `${scheme[1]}//${url.host}`,
    prefix: url.pathname.replace(/\/+$/, ""),
    userinfo: username === "" && password === "" ? undefined : { username, password: Redacted.make(password) }
  })
}

/** The URL of an endpoint; `path` begins with a slash and is encoded already. */
export const httpUrl = (base: BaseUrl, path: string): string => `${base.origin}${base.prefix}${path}`

/** The URL of the socket for a client id. */
export const socketUrl = (base: BaseUrl, clientId: string): URL =>
  new URL(`${base.socketOrigin}${base.prefix}/ws?clientId=${encodeURIComponent(clientId)}`)

/** For people and logs: origin and prefix, no userinfo. */
export const format = (base: BaseUrl): string => `${base.origin}${base.prefix}`
