import { FakeComfy, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { imagesOf, Server, textOf } from "./support/server.ts"

const value = (seed: number, inputs: object = {}) => ({
  "1": { class_type: "FakeValue", inputs: { seed, ...inputs } }
})

const sleep = (seconds: number, watches = true) => ({
  "1": { class_type: "FakeSleep", inputs: { seconds, watches } }
})

const picture = (color: number) => ({
  "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color } },
  "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
})

const server = (options: FakeComfy.Options = {}) => new Server({ nodes: TestNodes.nodes, ...options })

/** One input of any kind, without its time. */
type Untimed<A> = A extends { readonly now: number } ? Omit<A, "now"> : never
type Step = { readonly after: number; readonly input: Untimed<FakeComfy.Input> }

const graphs = [
  picture(1),
  picture(2),
  value(3),
  sleep(0.5),
  sleep(2, false),
  {
    "1": { class_type: "FakeSteps", inputs: { count: 4, milliseconds: 30, preview: true } },
    "2": { class_type: "FakeRaise", inputs: { type: "ValueError", message: "no", value: ["1", 0] } }
  },
  { "1": { class_type: "FakeKillWorker", inputs: {} } },
  { "1": { class_type: "Nobody", inputs: {} } }
]

const ids = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"]

const encode = (body: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(body))

const requests = fc.oneof(
  fc.record({
    method: fc.constant("POST"),
    path: fc.constantFrom("/prompt", "/api/prompt"),
    body: fc.record({
      prompt: fc.constantFrom(...graphs),
      client_id: fc.constantFrom("a", "b"),
      prompt_id: fc.constantFrom(...ids, undefined),
      number: fc.constantFrom(undefined, undefined, -1, 5)
    }).map(encode)
  }),
  fc.record({
    method: fc.constant("GET"),
    path: fc.constantFrom(
      "/queue",
      "/history",
      "/api/jobs",
      `/api/jobs/${ids[0]}`,
      "/prompt",
      "/object_info/FakeValue",
      "/view?filename=ComfyUI_temp_sqisn_00001_.png&type=temp",
      "/userdata/a%2Fb.json",
      "/nope"
    ),
    body: fc.constant(encode(""))
  }),
  fc.record({
    method: fc.constant("POST"),
    path: fc.constantFrom("/interrupt", "/queue", "/history", "/free", "/userdata/a%2Fb.json"),
    body: fc.constantFrom({}, { clear: true }, { delete: [ids[0]] }, { free_memory: true }).map(encode)
  }),
  fc.record({
    method: fc.constantFrom("GET", "POST", "DELETE", "PUT", "HEAD"),
    path: fc.webPath().map((path) => `/${path}`),
    body: fc.uint8Array({ maxLength: 64 })
  })
)

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.record({
    after: fc.constantFrom(0, 0, 1, 20, 700),
    input: fc.oneof(
      {
        weight: 8,
        arbitrary: requests.map((request) => ({ _tag: "HttpRequest" as const, id: 1, headers: {}, ...request }))
      },
      {
        weight: 3,
        arbitrary: fc.record({
          _tag: fc.constant("SocketOpen" as const),
          conn: fc.constantFrom(1, 2, 3),
          path: fc.constantFrom("/ws?clientId=a", "/ws?clientId=b", "/ws"),
          headers: fc.constant({})
        })
      },
      {
        weight: 2,
        arbitrary: fc.record({
          _tag: fc.constant("SocketFrame" as const),
          conn: fc.constantFrom(1, 2),
          frame: fc.constantFrom(
            "{\"type\":\"feature_flags\",\"data\":{\"supports_preview_metadata\":true}}",
            "{",
            "null",
            new Uint8Array(3)
          )
        })
      },
      fc.record({
        _tag: fc.constant("SocketClose" as const),
        conn: fc.constantFrom(1, 2),
        code: fc.constantFrom(1000, 1006)
      }),
      fc.constantFrom({ _tag: "Tick" as const }, { _tag: "Kill" as const }, { _tag: "Restart" as const })
    )
  }),
  { maxLength: 24 }
)

/** Runs the steps, with what `touch` does to each output and input once the server has given and taken it. */
const run = (
  all: ReadonlyArray<Step>,
  touch: (output: FakeComfy.Output) => void = () => {},
  after: (state: FakeComfy.State) => void = () => {}
) => {
  let state = FakeComfy.init({ nodes: TestNodes.nodes })
  const seen: Array<FakeComfy.Output> = []
  let now = 0
  const step = (input: FakeComfy.Input) => {
    const [next, outputs] = FakeComfy.step(state, input)
    state = next
    seen.push(...structuredClone(outputs))
    for (const output of outputs) touch(output)
    after(state)
  }
  let id = 0
  for (const one of all) {
    now += one.after
    const { input } = one
    step(input._tag === "HttpRequest" ? { ...input, id: ++id, now } : { ...input, now })
  }
  for (let i = 0; i < 200; i++) {
    const wake = FakeComfy.nextWake(state)
    if (wake === undefined) break
    now = Math.max(now, wake)
    step({ _tag: "Tick", now })
  }
  return { seen, ledger: FakeComfy.ledger(state), snapshot: FakeComfy.snapshot(state) }
}

/** Changes everything in an output that can be changed. */
const spoil = (output: unknown): void => {
  if (output instanceof Uint8Array) output.fill(0xee)
  else if (typeof output === "object" && output !== null) {
    for (const value of Object.values(output)) spoil(value)
    if (!Object.isFrozen(output)) { for (const key of Object.keys(output)) Reflect.deleteProperty(output, key) }
  }
}

describe("step", () => {
  it("is a function: the same inputs give the same outputs, ledger and snapshot", () => {
    fc.assert(
      fc.property(steps, (all) => {
        assert.deepStrictEqual(run(all), run(all))
      }),
      { numRuns: 200 }
    )
  })

  it("gives outputs that nothing in the server hangs on", () => {
    fc.assert(
      fc.property(steps, (all) => {
        const spoilt = run(all, spoil, (state) => {
          spoil(FakeComfy.ledger(state))
          spoil(FakeComfy.snapshot(state))
        })
        assert.deepStrictEqual(spoilt, run(all))
      }),
      { numRuns: 200 }
    )
  })

  it("keeps nothing of its inputs", () => {
    const one = server()
    const body = encode({ prompt: value(1) })
    one.input({ _tag: "HttpRequest", id: 0, method: "POST", path: "/userdata/a.json", headers: {}, body })
    spoil(body)
    assert.strictEqual(textOf(one.get("/userdata/a.json").body), textOf(encode({ prompt: value(1) })))
  })

  it("answers every request with a status, whatever it holds", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"),
        fc.constantFrom(
          "/prompt",
          "/queue",
          "/interrupt",
          "/history",
          "/history/%ff%00",
          "/upload/image",
          "/upload/mask",
          "/view?filename=%2e%2e%2f",
          "/settings",
          "/users",
          "/api/jobs?limit=x",
          "/api/jobs/cancel",
          "/userdata/%2e%2e%2fa",
          "/internal/logs/subscribe",
          "/%"
        ),
        fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map((text) => new TextEncoder().encode(text))),
        fc.constantFrom({}, { "content-type": "multipart/form-data; boundary=b" }, { range: "bytes=9-2" }),
        (method, path, body, headers) => {
          const one = server()
          const { status } = one.http(method, path, body, headers)
          assert.isTrue(status >= 200 && status < 600)
          assert.strictEqual(one.http("POST", "/prompt", { prompt: value(1) }).status, 200)
        }
      ),
      { numRuns: 500 }
    )
  })
})

describe("the queue", () => {
  it("runs prompts in the order of their numbers, then of their ids", () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 12 }), (numbers) => {
      const one = server()
      one.prompt(sleep(1), { number: -100 })
      one.pass(1)
      const sent = numbers.map((number, index) => ({
        number,
        id: `00000000-0000-4000-8000-${String(index * 7 % 13).padStart(12, "0")}`
      }))
      sent.forEach(({ id, number }, index) => one.prompt(value(index), { number, prompt_id: id }))
      one.settle()
      const wanted = sent.toSorted((a, b) => a.number - b.number || (a.id < b.id ? -1 : 1))
      assert.deepStrictEqual(one.snapshot().history.slice(1), wanted.map(({ id }) => id))
    }))
  })

  it("lets a later prompt overtake with front, and shows its heap as it lies", () => {
    const one = server()
    const running = one.prompt(sleep(1))
    one.pass(1)
    const a = one.prompt(value(1))
    const b = one.prompt(value(2), { front: true })
    const c = one.prompt(value(3), { front: true })
    assert.deepStrictEqual(one.snapshot().pending, [c, a, b])
    assert.deepStrictEqual(one.snapshot().running, [running])
    one.settle()
    assert.deepStrictEqual(one.snapshot().history, [running, c, b, a])
  })

  it("drops what is deleted or cleared, and leaves no trace of it", () => {
    const one = server()
    one.prompt(sleep(1))
    one.pass(1)
    const [a, b] = [one.prompt(value(1)), one.prompt(value(2))]
    one.http("POST", "/queue", { delete: [a, "unknown"] })
    assert.deepStrictEqual(one.snapshot().pending, [b])
    one.http("POST", "/queue", { clear: true })
    one.settle()
    assert.strictEqual(one.get(`/api/jobs/${a}`).status, 404)
    assert.deepStrictEqual(one.json(`/history/${b}`), {})
    assert.deepStrictEqual(one.ledger().prompts.map((prompt) => prompt.outcome), ["success", "removed", "removed"])
  })
})

describe("a run", () => {
  it("is served from the cache when it comes again, under other ids too, and writes no new file", () => {
    const one = server()
    const conn = one.open("a")
    const first = one.prompt(picture(5), { client_id: "a" })
    one.settle()
    const files = one.snapshot().files
    const frames = one.types(conn).length
    const again = one.prompt({
      "7": picture(5)["1"],
      "8": { class_type: "PreviewImage", inputs: { images: ["7", 0] } }
    }, { client_id: "a" })
    one.settle()
    assert.deepStrictEqual(one.types(conn).slice(frames), [
      "status",
      "status",
      "execution_start",
      "execution_cached",
      "executed",
      "progress_state",
      "execution_success",
      "status",
      "executing null"
    ])
    assert.strictEqual(one.snapshot().files, files)
    assert.deepStrictEqual(imagesOf(one, again), imagesOf(one, first))
    assert.deepStrictEqual(one.ledger().nodes.map((node) => node.promptId), [first, first])
    // What the cache holds, another prompt pushes out.
    one.prompt(picture(6))
    one.settle()
    one.prompt(picture(5))
    one.settle()
    assert.strictEqual(one.ledger().nodes.length, 6)
  })

  it("is interrupted at once where a node looks, else before the next one", () => {
    const one = server()
    const first = one.prompt(sleep(60))
    one.pass(1_000)
    one.http("POST", "/interrupt")
    one.pass(0)
    assert.deepStrictEqual(one.ledger().prompts.map(({ endedAt, outcome }) => [endedAt, outcome]), [
      [1_000, "interrupted"]
    ])
    const job = one.json(`/api/jobs/${first}`)
    assert.propertyVal(job, "status", "cancelled")
    const two = {
      ...sleep(60, false),
      "2": { class_type: "FakeSleep", inputs: { seconds: 1, value: ["1", 0], watches: true } }
    }
    const second = one.prompt(two)
    one.pass(1_000)
    // Another id is not meant; this one is.
    one.http("POST", "/interrupt", { prompt_id: first })
    one.http("POST", "/interrupt", { prompt_id: second })
    one.settle()
    const [, ended] = one.ledger().prompts
    assert.deepStrictEqual([ended?.outcome, (ended?.endedAt ?? 0) - (ended?.startedAt ?? 0)], ["interrupted", 60_000])
    assert.deepStrictEqual(one.ledger().nodes.map((node) => node.outcome), ["interrupted", "success", "interrupted"])
    // The last node does not look, and a flag from before a run does not count.
    one.prompt(sleep(61, false))
    one.pass(1_000)
    one.http("POST", "/interrupt")
    one.settle()
    one.http("POST", "/interrupt")
    one.prompt(sleep(1))
    one.settle()
    assert.deepStrictEqual(one.ledger().prompts.slice(2).map((prompt) => prompt.outcome), ["success", "success"])
  })

  it("is refused for what is wrong with it, in the server's words", () => {
    const one = server()
    const refused = (graph: object) => {
      const answer = one.http("POST", "/prompt", { prompt: graph })
      assert.strictEqual(answer.status, 400)
      const { error, node_errors } = JSON.parse(textOf(answer.body))
      const reasons = Object.entries<{ errors: Array<{ type: string }> }>(node_errors).map(
        ([id, node]) => [id, ...node.errors.map((reason) => reason.type)]
      )
      return [error.type, ...reasons]
    }
    const scale = { upscale_method: "bilinear", width: 8, height: 8, crop: "disabled", image: ["1", 0] }
    const scaled = (inputs: object) => ({
      ...picture(1),
      "3": { class_type: "ImageScale", inputs: { ...scale, ...inputs } },
      "2": { class_type: "PreviewImage", inputs: { images: ["3", 0] } }
    })
    assert.deepStrictEqual(refused({}), ["prompt_no_outputs"])
    assert.deepStrictEqual(refused({ "1": { class_type: "Nobody", inputs: {} } }), ["missing_node_type"])
    const failed = "prompt_outputs_failed_validation"
    assert.deepStrictEqual(refused(scaled({ width: undefined })), [failed, ["3", "required_input_missing"]])
    assert.deepStrictEqual(refused(scaled({ width: -1 })), [failed, ["3", "value_smaller_than_min"]])
    assert.deepStrictEqual(refused(scaled({ width: 99_999 })), [failed, ["3", "value_bigger_than_max"]])
    assert.deepStrictEqual(refused(scaled({ width: "wide" })), [failed, ["3", "invalid_input_type"]])
    assert.deepStrictEqual(refused(scaled({ crop: "left" })), [failed, ["3", "value_not_in_list"]])
    assert.deepStrictEqual(refused(scaled({ image: ["1", 0, 0] })), [failed, ["3", "bad_linked_input"]])
    assert.deepStrictEqual(refused(scaled({ image: ["1", 5] })), [failed, ["3", "exception_during_inner_validation"]])
    assert.deepStrictEqual(refused(scaled({ image: ["3", 0] })), [failed, ["3", "dependency_cycle"]])
    const text = { class_type: "StringConcatenate", inputs: { string_a: "a", string_b: "b", delimiter: "" } }
    const shown = { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
    assert.deepStrictEqual(refused({ "1": text, "2": shown }), [failed, ["2", "return_type_mismatch"]])
    // One good output is enough: the others are dropped and told.
    const answer = one.http("POST", "/prompt", { prompt: { ...value(1), "2": shown } })
    assert.strictEqual(answer.status, 200)
    assert.hasAllKeys(JSON.parse(textOf(answer.body)).node_errors, ["2"])
    one.settle()
    assert.deepStrictEqual(one.ledger().nodes.map((node) => node.nodeId), ["1"])
  })

  it("ends its worker where Python would die, and HTTP goes on", () => {
    const one = server()
    const conn = one.open("a")
    const dead = one.prompt({ "1": { class_type: "FakeKillWorker", inputs: {} } }, { client_id: "a" })
    one.settle()
    assert.strictEqual(one.types(conn).at(-1), "executing 1")
    const next = one.prompt(value(1))
    one.settle()
    assert.isFalse(one.snapshot().workerAlive)
    assert.deepStrictEqual([one.snapshot().running, one.snapshot().pending], [[dead], [next]])
    assert.deepStrictEqual(one.ledger().prompts.map((prompt) => prompt.outcome), ["lost", undefined])
    assert.strictEqual(one.get("/prompt").status, 200)
  })

  it("shows NaN and big integers as Python writes them", () => {
    const one = server()
    const id = one.prompt({ "1": { class_type: "FakeNaN", inputs: {} } })
    one.settle()
    assert.include(textOf(one.get(`/history/${id}`).body), "[NaN, Infinity, -Infinity, 18446744073709551615]")
  })

  it("sends previews with metadata to whom they were promised, plain ones to others", () => {
    const one = server()
    const [plain, told] = [one.open("plain"), one.open("told")]
    one.input({
      _tag: "SocketFrame",
      conn: told,
      frame: "{\"type\":\"feature_flags\",\"data\":{\"supports_preview_metadata\":true}}"
    })
    const graph = { "1": { class_type: "FakeSteps", inputs: { count: 2, milliseconds: 200, preview: true } } }
    for (const client_id of ["plain", "told"]) {
      one.prompt(graph, { client_id })
      one.settle()
      one.http("POST", "/free", { free_memory: true })
    }
    const order = (conn: number) => one.types(conn).filter((type) => type.startsWith("binary") || type === "progress")
    assert.deepStrictEqual(order(plain), ["progress", "binary 1", "progress", "binary 1"])
    assert.deepStrictEqual(order(told), ["binary 4", "progress", "binary 4", "progress"])
  })
})

describe("the process", () => {
  it("forgets everything but its files when it is started again", () => {
    const one = server()
    const conn = one.open("a")
    const id = one.prompt({
      "1": picture(1)["1"],
      "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "kept" } }
    })
    one.settle()
    one.prompt(sleep(10))
    one.pass(1_000)
    const closed = one.input({ _tag: "Kill" })
    assert.deepStrictEqual(closed.map((output) => output._tag), ["SocketClosed", "Crash"])
    assert.strictEqual(one.answer(one.send("GET", "/prompt")), "aborted")
    one.input({ _tag: "Restart" })
    assert.deepStrictEqual(one.json(`/history/${id}`), {})
    assert.strictEqual(one.get("/view?filename=kept_00001_.png").status, 200)
    assert.propertyVal(JSON.parse(textOf(one.http("POST", "/prompt", { prompt: value(1) }).body)), "number", 0)
    assert.deepStrictEqual(one.ledger().prompts.map((prompt) => prompt.outcome), ["success", "lost", undefined])
    assert.strictEqual(one.snapshot().boots, 2)
    assert.deepStrictEqual(one.frames(conn).length > 0, true)
  })

  it("dies of data that JSON cannot hold if somebody was to get it, else history answers 500", () => {
    const one = server()
    one.open("a")
    const bytes = { "1": { class_type: "FakeBytes", inputs: {} } }
    one.prompt(bytes, { client_id: "a" })
    one.settle()
    assert.isFalse(one.snapshot().up)
    one.input({ _tag: "Restart" })
    const id = one.prompt(bytes, { client_id: "nobody" })
    one.settle()
    assert.isTrue(one.snapshot().up)
    assert.strictEqual(one.get(`/history/${id}`).status, 500)
    assert.strictEqual(one.get(`/api/jobs/${id}`).status, 500)
    one.http("POST", "/history", { delete: [id] })
    assert.strictEqual(one.get("/history").status, 200)
  })

  it("has the jobs, the cancelling and the ids of its release", () => {
    const look = (version: "0.3.64" | "0.12.3" | "0.20.1" | "0.27.0" | "0.33.0") => {
      const one = server({ version })
      const id = "00000000-0000-4000-8000-000000000001"
      one.prompt(value(1), { prompt_id: id })
      one.settle()
      const job = one.get(`/api/jobs/${id}`)
      return {
        jobs: one.get("/api/jobs").status,
        cancel: one.http("POST", `/api/jobs/${id}/cancel`).status,
        oddId: one.http("POST", "/prompt", { prompt: value(2), prompt_id: "odd" }).status,
        counts: job.status === 200 ? JSON.parse(textOf(job.body)).outputs_count : undefined
      }
    }
    assert.deepStrictEqual(look("0.3.64"), { jobs: 404, cancel: 405, oddId: 200, counts: undefined })
    assert.deepStrictEqual(look("0.12.3"), { jobs: 200, cancel: 405, oddId: 200, counts: 1 })
    assert.deepStrictEqual(look("0.20.1"), { jobs: 200, cancel: 405, oddId: 200, counts: 1 })
    assert.deepStrictEqual(look("0.27.0"), { jobs: 200, cancel: 200, oddId: 400, counts: 1 })
    assert.deepStrictEqual(look("0.33.0"), { jobs: 200, cancel: 200, oddId: 400, counts: 0 })
  })

  it("keeps no more than it was told to", () => {
    const one = server({ maxHistory: 3, maxLedger: 10, maxFiles: 2, dequeueMs: 0, speed: 0 })
    for (let i = 0; i < 30; i++) {
      one.prompt(picture(i))
      one.settle()
    }
    const { files, history } = one.snapshot()
    assert.isAtMost(history.length, 4)
    assert.isAtMost(files, 2)
    const { dropped, nodes, prompts } = one.ledger()
    assert.isAtMost(prompts.length, 10)
    assert.strictEqual(prompts.length + nodes.length + dropped, 90)
  })

  it("tells its log to those who subscribed", () => {
    const one = server()
    const conn = one.open("a")
    one.http("PATCH", "/internal/logs/subscribe", { clientId: "a", enabled: true })
    one.prompt(value(1))
    one.settle()
    one.http("PATCH", "/internal/logs/subscribe", { clientId: "a", enabled: false })
    one.prompt(value(2))
    one.settle()
    assert.strictEqual(one.types(conn).filter((type) => type === "logs").length, 2)
    assert.strictEqual(one.http("PATCH", "/internal/logs/subscribe", {}).status, 500)
    assert.include(textOf(one.get("/internal/logs").body), "got prompt")
  })
})
