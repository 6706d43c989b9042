import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { BackendError } from "@effect-comfyui/execution/Backend"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import type { FilesError } from "@effect-comfyui/execution/Files"
import {
  Cassette,
  CassetteError,
  ComfyTest,
  FakeServers,
  Fault,
  ImageFile,
  Picture,
  Workflows
} from "@effect-comfyui/testing"
import { trace } from "@effect-comfyui/testing/Expect"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { connected, events, recorded, replayed, url } from "./support/cassette.ts"

/** Without chance: the pauses of a replay are those of the recording. */
const pause = Schedule.spaced("1 second")

/** Events as they are, but for ids that were chosen anew; in whole milliseconds. */
const levelled = (all: ReadonlyArray<ExecutionEvent>) => {
  const ids = new Set(all.flatMap((event) => [event.runId, ...(event._tag === "Submitted" ? [event.promptId] : [])]))
  return all.map((event) =>
    JSON.parse(
      JSON.stringify({ ...event, at: 0, elapsed: Math.round(event.elapsed) }, (_, value) =>
        typeof value === "bigint" ? `${value}` : typeof value === "string" && ids.has(value) ? "id" : value)
    )
  )
}

const picture = {
  content: ImageFile.encodePng(Picture.imagine(32, 32, 1, "ours"), 0),
  filename: "ours.png",
  input: { nodeId: "1", inputName: "image" }
}

const programs: Readonly<
  Record<
    string,
    Effect.Effect<
      ReadonlyArray<ExecutionEvent>,
      FilesError | BackendError | ComfyTest.StillWaiting,
      ComfyClient.ComfyClient
    >
  >
> = {
  "a picture": Effect.andThen(connected, events(Workflows.picture())),
  "a sampler with previews": Effect.andThen(
    connected,
    events(Workflows.textToImage({ steps: 4 }), { events: { previews: "all", progress: "all" } })
  ),
  "an upload": Effect.andThen(connected, events(Workflows.imageEdit(), { attachments: [picture] })),
  "a failing node": Effect.andThen(connected, events(Workflows.failing)),
  "a refusal": Effect.andThen(connected, events(Workflows.rejected)),
  "ten minutes": Effect.andThen(connected, events(Workflows.slow())),
  "two runs at once": Effect.andThen(
    connected,
    Effect.map(
      Effect.all([events(Workflows.counting()), events(Workflows.picture())], { concurrency: "unbounded" }),
      (both) => both.flat()
    )
  ),
  "an early end": Effect.andThen(
    connected,
    Effect.flatMap(
      ComfyClient.ComfyClient,
      (client) => ComfyTest.advanceWhile(Stream.runCollect(Stream.take(client.run(Workflows.slow()), 4)))
    )
  ),
  "files and capabilities": Effect.gen(function*() {
    yield* connected
    const client = yield* ComfyClient.ComfyClient
    const all = yield* events(Workflows.picture())
    const { bytes } = yield* client.files.download({ filename: "picture_00001_.png", subfolder: "", type: "output" })
    yield* Stream.runDrain(bytes)
    yield* client.files.stat({ filename: "picture_00001_.png", subfolder: "", type: "output" })
    yield* client.capabilities
    return all
  })
}

describe("Cassette", () => {
  for (const [name, program] of Object.entries(programs)) {
    for (const version of ["0.33.0", "0.3.64"] as const) {
      it.effect(`replays ${name} with the same events, ${version}`, () =>
        Effect.gen(function*() {
          const first = yield* recorded(program, { server: { version, previewMethod: "auto" } })
          const again = yield* replayed(program, first.text)
          assert.deepStrictEqual(levelled(again.result), levelled(first.result))
          assert.deepStrictEqual(trace(again.result), trace(first.result))
          assert.deepStrictEqual(again.unused, [])
        }))
    }
  }

  it.effect("replays a cut socket, a refused upgrade, a broken answer and a dead server", () =>
    Effect.gen(function*() {
      const run = events(Workflows.slow({ seconds: 60 }))
      const first = yield* recorded(
        Effect.gen(function*() {
          yield* connected
          const server = (yield* FakeServers.FakeServers).get(url)
          yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.dropAnswer, { times: 1 }))
          yield* Effect.forkChild(Effect.delay(server.cutSockets(), "20 seconds"))
          yield* Effect.forkChild(
            Effect.delay(server.inject(Fault.refuseUpgrades({ status: 503 }, { times: 1 })), "19 seconds")
          )
          return yield* run
        }),
        { client: { reconnect: pause } }
      )
      const again = yield* replayed(Effect.andThen(connected, run), first.text, { reconnect: pause })
      assert.deepStrictEqual(trace(again.result), trace(first.result))
      assert.include(first.text, "\"kind\":\"request-error\"")
      assert.include(first.text, "\"kind\":\"ws-refused\"")
      assert.include(first.text, "\"kind\":\"ws-close\"")
    }))

  it.effect("says what the server was, and what was not replayed", () =>
    Effect.gen(function*() {
      const program = Effect.andThen(connected, events(Workflows.picture()))
      const { text } = yield* recorded(program, { record: { case: "one", title: "a picture" } })
      assert.match(
        text,
        /^\{"kind":"case","case":"one","version":"unknown","title":"a picture","args":\[\],"lines":\d+\}\n/
      )
      const capable = Effect.flatMap(ComfyClient.ComfyClient, (client) => client.capabilities)
      assert.match((yield* recorded(capable)).text, /"version":"0\.33\.0"/)
      const { unused } = yield* replayed(connected, text)
      assert.deepStrictEqual(unused.map((line) => line.replace(/\d+\)/, "n)")), ["POST /prompt (line n)"])
    }))

  it.effect("records one server, and lets traffic with others pass", () =>
    Effect.gen(function*() {
      const other = "http://gpu-2:8188"
      const text = yield* Effect.gen(function*() {
        const recorder = yield* Cassette.Recorder
        yield* HttpClient.get(`${other}/queue`)
        yield* HttpClient.get(`${url}/prompt`)
        return yield* recorder.text
      }).pipe(Effect.provide(
        Cassette.record({ origin: url }).pipe(Layer.provide(FakeServers.layer({ [url]: {}, [other]: {} })))
      ))
      assert.notInclude(text, "/queue")
      assert.include(text, "/prompt")
    }))

  it.effect("holds so much and no more", () =>
    Effect.gen(function*() {
      const program = Effect.andThen(connected, events(Workflows.picture()))
      const error = yield* Effect.flip(recorded(program, { record: { maxBytes: 2_000 } }))
      assert.instanceOf(error, CassetteError)
      assert.deepInclude(error, { reason: { _tag: "TooLarge", what: "bytes", limit: 2_000 } })
    }))
})
