/** Somebody else on the same servers: prompts posted straight to them, of which some are interrupted, by their own id. */
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Random from "effect/Random"

/** What they did; the ledgers say what came of it. */
export interface Foreign {
  /** Prompts by id, with whether they were interrupted by those who sent them. */
  readonly prompts: Map<string, { interrupted: boolean }>
}

export const make = (): Foreign => ({ prompts: new Map() })

const post = (http: HttpClient, url: string, body: unknown) =>
  Effect.scoped(http.execute(HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), body))).pipe(
    Effect.timeoutOption("1 minute"),
    Effect.ignore
  )

/** One prompt of half a minute or so on the server at this address; done when it was sent, or interrupted. */
export const come = Effect.fnUntraced(function*(foreign: Foreign, http: HttpClient, url: string) {
  const n = foreign.prompts.size
  const seconds = yield* Random.nextIntBetween(5, 60)
  const id = `ffffffff-0000-4000-8000-${String(n).padStart(12, "0")}`
  const told = { interrupted: false }
  foreign.prompts.set(id, told)
  const prompt = { "1": { class_type: "FakeSleep", inputs: { seconds: seconds + n / 1e6, watches: true } } }
  yield* post(http, `${url}/prompt`, { client_id: "somebody else", prompt_id: id, prompt })
  if ((yield* Random.next) < 0.8) return
  yield* Effect.sleep(1_000 * Math.ceil(seconds / 2))
  told.interrupted = true
  yield* post(http, `${url}/interrupt`, { prompt_id: id })
})
