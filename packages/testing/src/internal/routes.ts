// Which handler answers which path, as aiohttp finds it: every route twice, static files behind them all.
import * as Assets from "./assetRoutes.ts"
import { store } from "./deflate.ts"
import { bytes, empty, parseQuery, type Request, type Response, text, unescape } from "./http.ts"
import * as Introspect from "./introspect.ts"
import * as Logs from "./logs.ts"
import * as Prompts from "./prompts.ts"
import { type State, wallMs } from "./state.ts"
import { httpDate } from "./time.ts"
import { uploadImage, uploadMask } from "./upload.ts"
import * as Users from "./users.ts"
import { view } from "./view.ts"

type Handler = (state: State, request: Request) => Response

interface Route {
  readonly method: string
  /** Segments; `*` matches one and is a parameter. */
  readonly path: ReadonlyArray<string>
  /** Reachable without `/api`, and with it. */
  readonly plain: boolean
  readonly api: boolean
  readonly when: (state: State) => boolean
  readonly handle: Handler
}

const always = (): boolean => true

const route = (method: string, path: string, handle: Handler, options?: {
  readonly plain?: boolean
  readonly api?: boolean
  readonly when?: (state: State) => boolean
}): Route => ({
  method,
  path: path.split("/").slice(1),
  plain: options?.plain ?? true,
  api: options?.api ?? true,
  when: options?.when ?? always,
  handle
})

const hasJobs = (state: State): boolean => state.profile.jobs
const hasCancel = (state: State): boolean => state.profile.jobsCancel
const internal = { api: false }

const routes: ReadonlyArray<Route> = [
  route("POST", "/prompt", Prompts.postPrompt),
  route("GET", "/prompt", Prompts.getPrompt),
  route("GET", "/queue", Prompts.getQueue),
  route("POST", "/queue", Prompts.postQueue),
  route("POST", "/interrupt", Prompts.postInterrupt),
  route("POST", "/free", Prompts.postFree),
  route("GET", "/history", Prompts.getHistory),
  route("POST", "/history", Prompts.postHistory),
  route("GET", "/history/*", Prompts.getHistoryOf),
  route("GET", "/api/jobs", Prompts.getJobs, { when: hasJobs }),
  route("GET", "/api/jobs/*", Prompts.getJob, { when: hasJobs }),
  route("POST", "/api/jobs/cancel", Prompts.cancelJobs, { when: hasCancel }),
  route("POST", "/api/jobs/*/cancel", Prompts.cancelJob, { when: hasCancel }),
  route("GET", "/ws", () => text(400, "No WebSocket UPGRADE hdr: None\n Can \"Upgrade\" only to \"WebSocket\".")),
  route("GET", "/view", view),
  route("GET", "/view_metadata/*", Introspect.getModelMetadata),
  route("POST", "/upload/image", uploadImage),
  route("POST", "/upload/mask", uploadMask),
  route("GET", "/object_info", Introspect.getObjectInfo),
  route("GET", "/object_info/*", Introspect.getObjectInfoOf),
  route("GET", "/system_stats", Introspect.getSystemStats),
  route("GET", "/features", Introspect.getFeatures),
  route("GET", "/embeddings", Introspect.getEmbeddings),
  route("GET", "/models", Introspect.getModels),
  route("GET", "/models/*", Introspect.getModelsIn),
  route("GET", "/experiment/models", Introspect.getExperimentModels),
  route("GET", "/experiment/models/*", Introspect.getExperimentModelsIn),
  route("GET", "/experiment/models/preview/*/*/*", Introspect.getModelPreview),
  route("GET", "/extensions", Introspect.nothing("[]")),
  route("GET", "/workflow_templates", Introspect.nothing("{}")),
  route("GET", "/i18n", Introspect.nothing("{}")),
  route("GET", "/global_subgraphs", Introspect.nothing("{}")),
  route("GET", "/global_subgraphs/*", Introspect.nothing("null")),
  route("GET", "/node_replacements", Introspect.nothing("{}"), { when: (state) => state.profile.nodeReplacements }),
  route("GET", "/users", Users.getUsers),
  route("POST", "/users", Users.postUsers),
  route("GET", "/settings", Users.getSettings),
  route("GET", "/settings/*", Users.getSetting),
  route("POST", "/settings", Users.postSettings),
  route("POST", "/settings/*", Users.postSetting),
  route("GET", "/userdata", Users.listUserdata),
  route("GET", "/v2/userdata", Users.listUserdata2),
  route("GET", "/userdata/*", Users.getUserdata),
  route("POST", "/userdata/*", Users.postUserdata),
  route("DELETE", "/userdata/*", Users.deleteUserdata),
  route("POST", "/userdata/*/move/*", Users.moveUserdata),
  route("GET", "/internal/logs", Logs.getLogs, internal),
  route("GET", "/internal/logs/raw", Logs.getRawLogs, internal),
  route("PATCH", "/internal/logs/subscribe", Logs.subscribeLogs, internal),
  route("GET", "/internal/folder_paths", Introspect.getFolderPaths, internal),
  route("GET", "/internal/files/*", Introspect.getInternalFiles, internal),
  ...([
    ["GET", "/api/assets", Assets.listAssets],
    ["POST", "/api/assets", Assets.postAsset],
    ["POST", "/api/assets/from-hash", Assets.postFromHash],
    ["HEAD", "/api/assets/hash/*", Assets.headHash],
    ["POST", "/api/assets/seed", Assets.postSeed],
    ["GET", "/api/assets/seed/status", Assets.getSeedStatus],
    ["GET", "/api/assets/*", Assets.getAsset],
    ["PUT", "/api/assets/*", Assets.putAsset],
    ["DELETE", "/api/assets/*", Assets.deleteAsset],
    ["GET", "/api/assets/*/content", Assets.getContent],
    ["POST", "/api/assets/*/tags", Assets.postTags],
    ["DELETE", "/api/assets/*/tags", Assets.postTags],
    ["GET", "/api/tags", Assets.getTags]
  ] as const).map(([method, path, handle]) =>
    route(method, path, handle, { api: false, when: (state) => state.profile.features.assets })
  )
]

const byLength = new Map<number, Array<Route>>()
for (const one of routes) {
  const known = byLength.get(one.path.length)
  if (known === undefined) byLength.set(one.path.length, [one])
  else known.push(one)
}

const matches = (path: ReadonlyArray<string>, segments: ReadonlyArray<string>, from: number): boolean => {
  for (let i = 0; i < path.length; i++) {
    const part = path[i]
    if (part === "*" ? segments[i + from] === "" : part !== segments[i + from]) return false
  }
  return true
}

const forbidden = empty(403)
const loopbackHosts = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[?::1\]?)$/i

const splitHost = (host: string): readonly [name: string, port: string] => {
  const match = /^(\[[^\]]*\]|[^:]*)(?::([0-9]+))?$/.exec(host)
  return [match?.[1] ?? host, match?.[2] ?? ""]
}

/** Whether the origin rules of a server without CORS let a request pass; sockets too. */
export const originAllowed = (state: State, headers: Readonly<Record<string, string>>): boolean => {
  if (state.settings.cors !== undefined) return true
  if (state.profile.crossSiteCheck && headers["sec-fetch-site"] === "cross-site") return false
  const { host, origin } = headers
  if (host === undefined || origin === undefined) return true
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(origin)?.[1] ?? ""
  const [name, port] = splitHost(host.toLowerCase())
  const [originName, originPort] = splitHost(authority.toLowerCase())
  if (!loopbackHosts.test(name) || originName === "") return true
  return port === "" || originPort === "" ? name === originName : name === originName && port === originPort
}

const corsHeaders = (state: State): Readonly<Record<string, string>> =>
  state.settings.cors === undefined ? {} : {
    "access-control-allow-origin": state.settings.cors,
    "access-control-allow-methods": `POST, GET, DELETE, PUT, OPTIONS${state.profile.corsPatch ? ", PATCH" : ""}`,
    "access-control-allow-headers": "Content-Type, Authorization",
    "access-control-allow-credentials": "true"
  }

/** Upper-case names of the methods that a path would answer, and the route for this one. */
const lookup = (
  state: State,
  method: string,
  segments: ReadonlyArray<string>
): { readonly route: Route | undefined; readonly from: number; readonly allowed: ReadonlySet<string> } => {
  const allowed = new Set<string>()
  const search = (from: number, api: boolean): Route | undefined => {
    for (const one of byLength.get(segments.length - from) ?? []) {
      if (!(api ? one.api : one.plain) || !matches(one.path, segments, from) || !one.when(state)) continue
      if (one.method === method || (one.method === "GET" && method === "HEAD")) return one
      allowed.add(one.method)
    }
    return undefined
  }
  const plain = search(0, false)
  if (plain !== undefined) return { route: plain, from: 0, allowed }
  if (segments[0] === "api") {
    const api = search(1, true)
    if (api !== undefined) return { route: api, from: 1, allowed }
  }
  return { route: undefined, from: 0, allowed }
}

const staticAnswer = (method: string, segments: ReadonlyArray<string>, allowed: ReadonlySet<string>): Response => {
  if (method !== "GET" && method !== "HEAD") {
    const methods = [...new Set([...allowed, "GET", "HEAD"])].toSorted()
    return text(405, "405: Method Not Allowed", { allow: methods.join(",") })
  }
  if (segments.length === 1 && segments[0] === "") return bytes(200, "text/html", new TextEncoder().encode(page))
  if (segments[0] === "" && segments.length > 1) return text(404, "404: Not Found")
  return { status: 404, headers: { "content-type": "application/octet-stream" }, body: new Uint8Array(0) }
}

const page = "<!doctype html><title>ComfyUI</title><p>A fake ComfyUI server: there is no editor here.</p>\n"

/** Splits a target into its path segments, decoded, and its query. */
export const splitTarget = (target: string): { readonly segments: ReadonlyArray<string>; readonly search: string } => {
  const cut = target.indexOf("?")
  const path = cut < 0 ? target : target.slice(0, cut)
  const hash = path.indexOf("#")
  return {
    segments: (hash < 0 ? path : path.slice(0, hash)).split("/").slice(1).map(unescape),
    search: cut < 0 ? "" : target.slice(cut + 1)
  }
}

/** The answer to a request, without the headers that every answer has. */
const answer = (
  state: State,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array
): Response => {
  if (!originAllowed(state, headers)) return forbidden
  if (method === "OPTIONS") return empty(200, corsHeaders(state))
  const { search, segments } = splitTarget(target)
  const found = lookup(state, method, segments)
  if (found.route === undefined) return staticAnswer(method, segments, found.allowed)
  if (body.length > state.settings.maxUploadBytes) {
    return text(413, `Maximum request body size ${Math.ceil(state.settings.maxUploadBytes)} exceeded.`)
  }
  const params: Array<string> = []
  found.route.path.forEach((part, index) => {
    if (part === "*") params.push(segments[index + found.from] ?? "")
  })
  return found.route.handle(state, {
    method,
    path: `/${segments.join("/")}`,
    query: parseQuery(search),
    params,
    headers,
    body
  })
}

/** Parts of the editor, which browsers are not to keep. */
const uncached = /(?:\.js|\.css|index\.json)$/

const serverName = "Python/3.11 aiohttp/3.14.5"

/** With `--enable-compress-response-body` JSON of any size goes out deflated to whoever takes it; gzip comes second. */
const encoded = (state: State, headers: Readonly<Record<string, string>>, given: Response): Response => {
  if (!state.settings.compress || given.headers["content-type"]?.startsWith("application/json") !== true) return given
  return /\bdeflate\b/i.test(headers["accept-encoding"] ?? "")
    ? { ...given, headers: { ...given.headers, "content-encoding": "deflate" }, body: store(given.body) }
    : given
}

/** A whole answer as it goes out: HEAD without its body, every one with length, date and server. */
export const respond = (
  state: State,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array
): Response => {
  const given = encoded(state, headers, answer(state, method, target, headers, body))
  const page = uncached.test(target.split("?", 1)[0] ?? "")
  const noBody = given.status === 204 || given.status === 304
  return {
    status: given.status,
    headers: {
      ...given.headers,
      ...(noBody ? {} : { "content-length": String(given.body.length) }),
      ...(method === "OPTIONS" ? {} : corsHeaders(state)),
      ...(page ? { "cache-control": state.profile.pageCache } : {}),
      date: httpDate(wallMs(state)),
      server: serverName
    },
    body: method === "HEAD" ? new Uint8Array(0) : given.body
  }
}
