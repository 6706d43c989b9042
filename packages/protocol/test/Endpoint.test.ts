import * as Endpoint from "@effect-comfyui/protocol/Endpoint"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"

const name = (method: string, path: string): string | undefined => Endpoint.match(method, path)?.name

describe("match", () => {
  it("knows which paths have a twin under /api", () => {
    for (
      const [method, path, expected] of [
        ["GET", "/queue", "queue"],
        ["GET", "/api/queue", "queue"],
        ["GET", "/api/api/queue", undefined],
        ["GET", "/jobs", undefined],
        ["GET", "/api/jobs?limit=1", "jobs"],
        ["GET", "/api/api/jobs", "jobs"],
        ["GET", "/assets", undefined],
        ["GET", "/api/assets", "assets"],
        ["GET", "/api/api/assets", undefined],
        ["GET", "/internal/logs", "logs"],
        ["GET", "/api/internal/logs", undefined],
        ["POST", "/api/jobs/cancel", "cancelJobs"],
        ["POST", "/api/jobs/a/cancel", "cancelJob"],
        ["GET", "/api/assets/seed/status", "seedStatus"],
        ["GET", "/prompt/", undefined],
        ["GET", "//prompt", undefined],
        ["PUT", "/prompt", undefined],
        ["GET", "/", "editor"],
        ["GET", "", undefined]
      ] as const
    ) {
      assert.strictEqual(name(method, path), expected, `${method} ${path}`)
    }
  })

  it("decodes the parameters, and takes HEAD for the GET without its body", () => {
    assert.deepStrictEqual(Endpoint.match("GET", "/userdata/workflows%2Fa%20b.json?x=%2F")?.params, {
      file: "workflows/a b.json"
    })
    assert.deepStrictEqual(Endpoint.match("GET", "/api/experiment/models/preview/loras/0/sub/x.png")?.params, {
      folder: "loras",
      path_index: "0",
      file: "sub/x.png"
    })
    assert.deepStrictEqual(Endpoint.match("GET", "/history/%E0%A4%A")?.params, { prompt_id: "%E0%A4%A" })
    const head = Endpoint.match("HEAD", "/prompt")
    assert.strictEqual(head?.name, "load")
    assert.isTrue(
      head !== undefined && Result.isSuccess(Endpoint.decodeAnswer(head.endpoint, 200, {}, ""))
    )
    assert.strictEqual(name("HEAD", "/api/assets/hash/blake3:00"), "hasAsset")
  })

  it("finds every endpoint again by the path that it writes", () => {
    const text = fc.string({ unit: "grapheme", minLength: 1 }).filter((value) => value.isWellFormed())
    fc.assert(
      fc.property(fc.constantFrom(...Object.entries<Endpoint.Endpoint>(Endpoint.endpoints)), text, (entry, value) => {
        const [expected, endpoint] = entry
        const names = [...endpoint.path.matchAll(/\{(\w+)\*?\}/g)].map((match) => match[1] ?? "")
        const params = Object.fromEntries(names.map((param) => [param, value]))
        const path = Endpoint.pathOf(endpoint, params)
        const found = Endpoint.match(endpoint.method, path)
        // A value may be the literal of a sibling, such as /api/assets/seed.
        if (found?.name === expected) assert.deepStrictEqual(found.params, params)
        else assert.isTrue(found !== undefined && endpoint.path.includes("{") && /^\w+$/.test(value))
        if (endpoint.twin) assert.strictEqual(Endpoint.match(endpoint.method, `/api${path}`)?.name, found?.name)
      }),
      { numRuns: 1000 }
    )
  })

  it("never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (path) => {
        Endpoint.match("GET", path)
        Endpoint.match("POST", `/${path}`)
        assert.match(Endpoint.pathOf(Endpoint.endpoints.historyOf, { prompt_id: path }), /^\/history\//)
      })
    )
  })
})

describe("decodeAnswer", () => {
  const { job, load, submit, updateQueue, view } = Endpoint.endpoints
  const text = "text/plain; charset=utf-8"

  it("checks a success, and says why it is none", () => {
    assert.deepStrictEqual(
      Endpoint.decodeAnswer(load, 200, {}, `{"exec_info": {"queue_remaining": 2}, "x": NaN}`),
      Result.succeed({ kind: "json", value: { exec_info: { queue_remaining: 2 }, x: Number.NaN } })
    )
    const login = Endpoint.decodeAnswer(load, 200, { "content-type": "text/html" }, "<html>log in</html>")
    assert.isTrue(Result.isFailure(login) && login.failure.excerpt === "<html>log in</html>")
    assert.isTrue(Result.isFailure(Endpoint.decodeAnswer(load, 200, {}, "")))
    assert.isTrue(Result.isFailure(Endpoint.decodeAnswer(load, 200, {}, `{"exec_info": {}}`)))
  })

  it("takes every error as it comes: coded, text, empty, of a proxy", () => {
    for (
      const [endpoint, status, type, body, kind] of [
        [submit, 400, "application/json", `{"error": "no prompt", "node_errors": []}`, "json"],
        [submit, 500, text, "500 Internal Server Error\n\nServer got itself in trouble", "raw"],
        [submit, 413, "text/html", "<html>", "raw"],
        [submit, 400, "text/html", "<html>nginx</html>", "raw"],
        [job, 404, "application/json", `{"error": "Job not found"}`, "json"],
        [job, 404, "application/octet-stream", "", "empty"],
        [job, 429, "application/json", `{"error": "slow down"}`, "json"],
        [job, 429, "application/json", `{"detail": "slow down"}`, "raw"],
        [updateQueue, 200, "application/octet-stream", "", "empty"],
        [view, 404, "application/octet-stream", "", "empty"]
      ] as const
    ) {
      const answer = Result.getOrThrow(Endpoint.decodeAnswer(endpoint, status, { "content-type": type }, body))
      assert.strictEqual(answer.kind, kind, `${status} ${body}`)
      assert.strictEqual(answer.kind === "raw" ? answer.body : body, body)
    }
  })

  it("gives bytes through", () => {
    const bytes = Uint8Array.of(1, 2, 3)
    assert.deepStrictEqual(Endpoint.decodeAnswer(view, 206, {}, bytes), Result.succeed({ kind: "raw", body: bytes }))
    const answer = Endpoint.decodeAnswer(load, 200, {}, new TextEncoder().encode(`{"exec_info":{"queue_remaining":0}}`))
    assert.isTrue(Result.isSuccess(answer))
  })
})

describe("queryOf", () => {
  it("leaves out what is not set and escapes the rest", () => {
    assert.strictEqual(
      Endpoint.queryOf({ filename: "a b&c.png", type: "temp", limit: 0, split: true, none: undefined }),
      "?filename=a%20b%26c.png&type=temp&limit=0&split=true"
    )
    assert.strictEqual(Endpoint.queryOf({}), "")
    assert.strictEqual(Endpoint.queryOf({ a: "\ud83d" }), "?a=%EF%BF%BD")
  })
})
