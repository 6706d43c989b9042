/**
 * Every endpoint of a server as data: what it takes, and what each status answers. {@link match}
 * finds the endpoint of a request, {@link decodeAnswer} reads its answer, {@link pathOf} writes its path.
 */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as ErrorAnswer from "./ErrorAnswer.ts"
import * as Frame from "./Frame.ts"
import { table } from "./internal/endpoints.ts"
import type * as Wire from "./Wire.ts"

/** The methods that the server's routes have; HEAD works wherever GET does. */
export type Method = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE"

/** A body: JSON of that shape, anything else as it is, or nothing. */
export type Body =
  | { readonly kind: "json"; readonly codec: Wire.Decoder<Json.Json> }
  | { readonly kind: "raw" }
  | { readonly kind: "empty" }

/**
 * One route. In `path`, `{name}` is one percent-encoded segment and `{name*}` the rest. With `twin` it also exists
 * behind one more `/api`. `since` is the release that brought it; before, GET answers 404 and any other method 405.
 */
export interface Endpoint {
  readonly method: Method
  readonly path: string
  readonly twin: boolean
  readonly since: string | null
  readonly query: ReadonlyArray<string>
  readonly request: Body
  readonly answers: Readonly<Record<number, Body>>
}

/** The endpoints by name; the answers of unlisted statuses are errors of any shape. */
export const endpoints = table
/** Such as `submit`, `historyOf` or `cancelJob`. */
export type EndpointName = keyof typeof endpoints

/** The endpoint of a request, and the decoded `{…}` of its path. */
export interface Match {
  readonly name: EndpointName
  readonly endpoint: Endpoint
  readonly params: Readonly<Record<string, string>>
}

interface Route {
  readonly name: EndpointName
  readonly endpoint: Endpoint
  readonly segments: ReadonlyArray<string>
}

const isName = (name: string): name is EndpointName => Object.hasOwn(endpoints, name)

const routes: ReadonlyArray<Route> = Object.entries<Endpoint>(endpoints).flatMap(([name, endpoint]) =>
  isName(name) ? [{ name, endpoint, segments: endpoint.path.split("/") }] : []
)

const decodeSegment = (segment: string): string =>
  Result.getOrElse(Result.try(() => decodeURIComponent(segment)), () => segment)

const paramsOf = (
  pattern: ReadonlyArray<string>,
  segments: ReadonlyArray<string>
): Record<string, string> | undefined => {
  const params: Record<string, string> = {}
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index]
    if (segment === undefined) return undefined
    if (part.endsWith("*}")) {
      params[part.slice(1, -2)] = segments.slice(index).map(decodeSegment).join("/")
      return params
    }
    if (part.startsWith("{")) {
      if (segment === "") return undefined
      params[part.slice(1, -1)] = decodeSegment(segment)
    } else if (part !== segment) return undefined
  }
  return pattern.length === segments.length ? params : undefined
}

const find = (method: string, segments: ReadonlyArray<string>, twin: boolean): Match | undefined => {
  for (const { endpoint, name, segments: pattern } of routes) {
    if (endpoint.method !== method || (twin && !endpoint.twin)) continue
    const params = paramsOf(pattern, segments)
    if (params !== undefined) return { name, endpoint, params }
  }
  return undefined
}

/**
 * The endpoint of a request to the server itself (without a proxy's base path), or undefined. A HEAD is the GET of its
 * path with an empty body.
 */
export const match = (method: string, pathWithQuery: string): Match | undefined => {
  const segments = (pathWithQuery.split(/[?#]/, 1)[0] ?? "").split("/")
  const behindApi = segments[1] === "api" ? segments.toSpliced(1, 1) : undefined
  const found = find(method, segments, false) ?? (behindApi === undefined ? undefined : find(method, behindApi, true))
  if (found !== undefined || method !== "HEAD") return found
  const get = match("GET", pathWithQuery)
  return get === undefined ? undefined : { ...get, endpoint: { ...get.endpoint, method: "HEAD", answers: {} } }
}

/** What an answer holds. */
export type Answer =
  | { readonly kind: "json"; readonly value: Json.Json }
  | { readonly kind: "raw"; readonly body: string | Uint8Array }
  | { readonly kind: "empty" }

const json = (
  decoder: Wire.Decoder<Json.Json>,
  body: string | Uint8Array
): Result.Result<Answer, Wire.DecodeProblem> =>
  Result.map(
    decoder.decodeText(typeof body === "string" ? body : Frame.text(body)),
    (value): Answer => ({ kind: "json", value })
  )

/** A status without a body of its own in the table: an error object if it is one, else whatever a proxy wrote. */
const other = (contentType: string, body: string | Uint8Array): Answer => {
  if (body.length === 0) return { kind: "empty" }
  const decoded = contentType.startsWith("application/json") ? json(ErrorAnswer.Body, body) : undefined
  return decoded !== undefined && Result.isSuccess(decoded) ? decoded.success : { kind: "raw", body }
}

/**
 * Reads an answer, its body already decompressed; header names in lower case. It fails only where the table has JSON of
 * a shape for a success and the body is another: error answers may come from old servers and proxies, and are then raw
 * or empty. Nothing of the value is lost.
 */
export const decodeAnswer = (
  endpoint: Endpoint,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array
): Result.Result<Answer, Wire.DecodeProblem> => {
  const expected = endpoint.answers[status]
  if (expected?.kind === "json") {
    const answer = json(expected.codec, body)
    if (Result.isSuccess(answer) || status < 400) return answer
  }
  return Result.succeed(
    expected?.kind === "raw" ? { kind: "raw", body } : other(headers["content-type"] ?? "", body)
  )
}

/** The body that reads as this answer. */
export const encodeAnswer = (answer: Answer): string | Uint8Array => {
  switch (answer.kind) {
    case "json":
      return Json.stringify(answer.value)
    case "raw":
      return answer.body
    case "empty":
      return ""
  }
}

const encodeSegment = (text: string): string => encodeURIComponent(text.toWellFormed())

/** The path of an endpoint with its parameters percent-encoded; one that is missing is empty. */
export const pathOf = (endpoint: Endpoint, params: Readonly<Record<string, string>> = {}): string =>
  endpoint.path.split("/").map((part) => {
    if (!part.startsWith("{")) return part
    const rest = part.endsWith("*}")
    const value = params[part.slice(1, rest ? -2 : -1)] ?? ""
    return rest ? value.split("/").map(encodeSegment).join("/") : encodeSegment(value)
  }).join("/")

/** A query string with its `?`, or "" if nothing is set; members that are undefined are left out. */
export const queryOf = (query: object): string => {
  const pairs = Object.entries(query).flatMap(([key, value]: [string, unknown]) =>
    typeof value === "string" || typeof value === "number" || typeof value === "boolean"
      ? [`${encodeSegment(key)}=${encodeSegment(String(value))}`]
      : []
  )
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`
}
