import { Cassette, CassetteError, ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { connected, events, recorded, replayed, url } from "./support/cassette.ts"

const post = (body: unknown, path = "/prompt") =>
  HttpClientRequest.post(`${url}${path}`).pipe(HttpClientRequest.bodyJsonUnsafe(body), HttpClient.execute)

const tape = (...lines: ReadonlyArray<object>) =>
  [{ kind: "case", case: "c", version: "0.33.0", title: "", args: [] }, ...lines].map((line) => JSON.stringify(line))
    .join("\n")

const exchange = (t: number, id: number, method: string, path: string, sent: unknown, answer: unknown) => [
  { t, kind: "request", id, method, path, headers: {}, body: sent === undefined ? "" : JSON.stringify(sent) },
  {
    t: t + 10,
    kind: "response",
    id,
    status: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(answer)
  }
]

const cassetteOf = (error: HttpClientError.HttpClientError): CassetteError => {
  const { reason } = error
  const cause = "cause" in reason ? reason.cause : undefined
  assert.instanceOf(cause, CassetteError)
  return cause
}

const withPlayer = <A, E>(
  text: string,
  program: Effect.Effect<A, E, HttpClient.HttpClient>,
  options?: Cassette.ReplayOptions
) =>
  Effect.gen(function*() {
    const result = yield* ComfyTest.advanceWhile(program, { step: "10 millis" })
    const seen = yield* Effect.result(Effect.flatMap(Cassette.Player, (player) => player.verify))
    return { result, seen }
  }).pipe(Effect.provide(Cassette.replay(text, options)))

const bodyOf = (path: string) => Effect.flatMap(HttpClient.get(`${url}${path}`), (answer) => answer.text)

describe("Cassette.replay is strict", () => {
  it.effect("about the body: the nearest recorded request, and where it differs", () =>
    Effect.gen(function*() {
      const text = tape(
        ...exchange(0, 1, "GET", "/queue", undefined, []),
        ...exchange(20, 2, "POST", "/prompt", { prompt: { "3": { inputs: { seed: 1, text: "a" } } } }, {})
      )
      const { result, seen } = yield* withPlayer(
        text,
        Effect.andThen(
          bodyOf("/queue"),
          Effect.flip(post({ prompt: { "3": { inputs: { seed: 2, text: "a" } } } }))
        )
      )
      const error = cassetteOf(result)
      assert.strictEqual(
        error.message,
        "POST /prompt was not recorded here; nearest is POST /prompt (line 4): $.prompt.3.inputs.seed was 1, is 2"
      )
      assert.deepStrictEqual(seen._tag === "Failure" ? seen.failure.reason : undefined, error.reason)
    }))

  it.effect("unless a member may differ", () =>
    Effect.gen(function*() {
      const text = tape(...exchange(0, 1, "POST", "/prompt", { seed: 1, text: "a" }, { ok: 1 }))
      const { result } = yield* withPlayer(text, post({ seed: 2, text: "a" }), { ignore: ["seed"] })
      assert.strictEqual(result.status, 200)
    }))

  it.effect("about path, method and number", () =>
    Effect.gen(function*() {
      const text = tape(...exchange(0, 1, "GET", "/history/one", undefined, {}))
      const failure = (program: Effect.Effect<{}, HttpClientError.HttpClientError, HttpClient.HttpClient>) =>
        Effect.map(withPlayer(text, Effect.flip(program)), ({ result }) => cassetteOf(result).message)
      assert.strictEqual(
        yield* failure(bodyOf("/history/two")),
        "GET /history/two was not recorded here; nearest is GET /history/one (line 2): the path was /history/one, is /history/two"
      )
      assert.include(yield* failure(post({}, "/history/one")), "the method was GET, is POST")
      assert.include(
        yield* failure(Effect.andThen(bodyOf("/history/one"), bodyOf("/history/one"))),
        "asked once more than it was recorded"
      )
      const again = yield* withPlayer(
        text,
        Effect.andThen(bodyOf("/history/one"), bodyOf("/history/one")),
        { onRepeat: "repeat" }
      )
      assert.strictEqual(again.result, "{}")
    }))

  it.effect("about order: no answer before what it came after", () =>
    Effect.gen(function*() {
      const text = tape(
        ...exchange(0, 1, "GET", "/queue", undefined, "before"),
        ...exchange(20, 2, "POST", "/prompt", {}, {}),
        ...exchange(40, 3, "GET", "/queue", undefined, "after")
      )
      const early = yield* withPlayer(text, Effect.andThen(bodyOf("/queue"), Effect.flip(bodyOf("/queue"))))
      assert.include(cassetteOf(early.result).message, "it came after POST /prompt (line 4), which was not asked yet")
      const right = Effect.gen(function*() {
        return [yield* bodyOf("/queue"), (yield* post({})).status, yield* bodyOf("/queue")]
      })
      const { result, seen } = yield* withPlayer(text, right)
      assert.deepStrictEqual(result, ["\"before\"", 200, "\"after\""])
      assert.strictEqual(seen._tag, "Success")
    }))

  it.effect("requests that were under way together come in any order", () =>
    Effect.gen(function*() {
      const [a1, a2] = exchange(0, 1, "POST", "/prompt", { a: 1 }, "a")
      const [b1, b2] = exchange(5, 2, "POST", "/prompt", { b: 1 }, "b")
      assert.isTrue(a1 !== undefined && a2 !== undefined && b1 !== undefined && b2 !== undefined)
      if (a1 === undefined || a2 === undefined || b1 === undefined || b2 === undefined) return
      const { result } = yield* withPlayer(
        tape(a1, b1, a2, b2),
        Effect.all([post({ b: 1 }), post({ a: 1 })], { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(yield* Effect.forEach(result, (one) => one.text), ["\"b\"", "\"a\""])
    }))

  it.effect("ids of now stand for those of then, one to one", () =>
    Effect.gen(function*() {
      const then = "00000000-0000-4000-8000-000000000001"
      const now = "00000000-0000-4000-8000-00000000000a"
      const other = "00000000-0000-4000-8000-00000000000b"
      const text = tape(
        ...exchange(0, 1, "POST", "/prompt", { prompt_id: then }, { prompt_id: then }),
        ...exchange(20, 2, "GET", `/history/${then}`, undefined, { [then]: 1 })
      )
      const { result } = yield* withPlayer(
        text,
        Effect.gen(function*() {
          const receipt = yield* Effect.flatMap(post({ prompt_id: now }), (answer) => answer.text)
          const wrong = yield* Effect.flip(bodyOf(`/history/${other}`))
          return [receipt, cassetteOf(wrong).reason._tag, yield* bodyOf(`/history/${now}`)]
        })
      )
      assert.deepStrictEqual(result, [`{"prompt_id":"${now}"}`, "UnexpectedRequest", `{"${now}":1}`])
    }))

  it.effect("a client that swallows the failure is found out at the end", () =>
    Effect.gen(function*() {
      const swallowed = Effect.ignore(bodyOf("/queue")).pipe(
        Effect.provide(Cassette.replay(tape(...exchange(0, 1, "GET", "/prompt", undefined, {})))),
        Effect.sandbox,
        Effect.flip
      )
      const cause = yield* swallowed
      assert.match(String(cause), /GET \/queue was not recorded here/)
    }))

  it.effect("through the client too, which shows the code", () =>
    Effect.gen(function*() {
      const first = yield* recorded(Effect.andThen(connected, events(Workflows.picture({ color: 1 }))))
      const error = yield* Effect.flip(
        replayed(Effect.andThen(connected, events(Workflows.picture({ color: 2 }))), first.text)
      )
      assert.instanceOf(error, CassetteError)
      assert.match(
        String(error.message),
        /^POST \/prompt was not recorded here; .*\$\.prompt\.1\.inputs\.color was 1, is 2$/
      )
    }))
})
