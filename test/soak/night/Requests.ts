/**
 * What a fleet's servers are asked, counted at the one door through which clients reach them, before any fault. A run's
 * own are the prompt and the words that end it; all else is looking after it, or after its server.
 */
import * as Effect from "effect/Effect"
import { HttpClient, mapRequest } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import { WebSocketConstructor } from "effect/socket/Socket"

/** Requests so far, by kind: method and path, ids struck out. */
export type Requests = Map<string, number>

const ids = /[0-9a-f]{8}-[0-9a-f-]{27}/g

const count = (requests: Requests, method: string, url: string): void => {
  const path = url.replace(/^[a-z]+:\/\/[^/]+/, "").replace(/\?.*$/, "").replace(ids, "{id}").replace(/^\/api\//, "/")
  const kind = `${method} ${path}`
  requests.set(kind, (requests.get(kind) ?? 0) + 1)
}

/** The network, with a count of what passes it. */
export const layer = (requests: Requests): Layer.Layer<
  HttpClient | WebSocketConstructor,
  never,
  HttpClient | WebSocketConstructor
> =>
  Layer.merge(
    Layer.effect(
      HttpClient,
      Effect.map(HttpClient, (client) =>
        mapRequest(client, (request) => {
          count(requests, request.method, request.url)
          return request
        }))
    ),
    Layer.effect(
      WebSocketConstructor,
      Effect.map(WebSocketConstructor, (make) => (url, options) => {
        count(requests, "GET", url)
        return make(url, options)
      })
    )
  )

const own: ReadonlySet<string> = new Set([
  "POST /prompt",
  "POST /interrupt",
  "POST /queue",
  "POST /jobs/{id}/cancel",
  "POST /jobs/cancel"
])

/** Those that no run needs for itself. */
export const beyond = (requests: Requests): number => {
  let sum = 0
  for (const [kind, times] of requests) if (!own.has(kind)) sum += times
  return sum
}
