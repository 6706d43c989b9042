import { Cassette, type CassetteError, Tape } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { isHttpMethod } from "effect/http/HttpMethod"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const folder = join(import.meta.dirname, "fixtures/recordings")

/** Recordings of real servers. */
const recordings = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".jsonl"))
  .map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }))

const parsed = (text: string): Tape.Tape => Result.getOrThrow(Tape.parse(text))

const reasonOf = (text: string, limits?: Tape.Limits): CassetteError["reason"] | undefined => {
  const tape = Tape.parse(text, limits)
  return Result.isFailure(tape) ? tape.failure.reason : undefined
}

/** A file of ours: it says how long it is. */
const cold = Tape.format(parsed(recordings.find(({ name }) => name.includes("0.33.0/05-"))?.text ?? ""))

describe("Tape", () => {
  it("reads recordings of real servers, and writes what it read", () => {
    assert.isAbove(recordings.length, 50)
    for (const { name, text } of recordings) {
      const tape = Tape.parse(text)
      assert.isTrue(Result.isSuccess(tape), `${name}: ${Result.isFailure(tape) ? tape.failure.message : ""}`)
      if (Result.isFailure(tape)) continue
      assert.deepStrictEqual(parsed(Tape.format(tape.success)).lines, tape.success.lines, name)
    }
  })

  it("a file that was cut anywhere is a typed error", () => {
    fc.assert(fc.property(fc.nat(cold.length - 2), (length) => {
      const reason = reasonOf(cold.slice(0, length))
      assert.include(["Malformed", "Truncated"], reason?._tag)
    }))
    assert.isUndefined(reasonOf(cold))
    assert.isUndefined(reasonOf(cold.trimEnd()))
    assert.deepInclude(reasonOf(""), { _tag: "Malformed", line: 1 })
  })

  it("a line that was moved, lost or doubled is a typed error", () => {
    const lines = cold.trimEnd().split("\n")
    const index = fc.integer({ min: 1, max: lines.length - 1 })
    const join = (some: ReadonlyArray<string>) => some.join("\n")
    fc.assert(fc.property(index, index, (from, to) => {
      const [line = ""] = lines.slice(from, from + 1)
      assert.isDefined(reasonOf(join(lines.toSpliced(from, 1))))
      assert.isDefined(reasonOf(join(lines.toSpliced(to, 0, line))))
      const moved = lines.toSpliced(from, 1).toSpliced(to, 0, line)
      if (timeOf(line) !== timeOf(lines[to] ?? "")) assert.strictEqual(reasonOf(join(moved))?._tag, "OutOfOrder")
    }))
  })

  it("says which line is wrong, and why", () => {
    const file = (...lines: ReadonlyArray<object>) =>
      [{ kind: "case", case: "c", version: "v", title: "", args: [] }, ...lines].map((line) => JSON.stringify(line))
        .join("\n")
    const request = { t: 0, kind: "request", id: 1, method: "GET", path: "/", headers: {}, body: "" }
    const response = { t: 0, kind: "response", id: 1, status: 200, headers: {}, body: "" }
    const dial = { t: 0, kind: "ws-dial", conn: "a", path: "/ws", headers: {} }
    const open = { t: 0, kind: "ws-open", conn: "a" }
    const frame = { t: 0, kind: "ws-text", conn: "a", dir: "in", data: "{}" }
    const close = { t: 0, kind: "ws-close", conn: "a", code: 1006, reason: "" }
    const wrong: ReadonlyArray<readonly [ReadonlyArray<object>, CassetteError["reason"]["_tag"], string]> = [
      [[response], "OutOfOrder", "an answer before request 1"],
      [[request, response, response], "OutOfOrder", "a second answer to request 1"],
      [[request, request], "OutOfOrder", "a second request 1"],
      [[open], "OutOfOrder", "ws-open on a, which is unknown"],
      [[dial, frame], "OutOfOrder", "ws-text on a, which is dialled"],
      [[dial, open, dial], "OutOfOrder", "ws-dial on a, which is open"],
      [[dial, open, close, frame], "OutOfOrder", "ws-text on a, which is closed"],
      [[{ ...request, t: 5 }, { ...response, t: 4 }], "OutOfOrder", "time goes back from 5 to 4"],
      [[{ ...request, t: -1 }], "Malformed", "0"],
      [[{ ...response, status: 1_000 }], "Malformed", "599"],
      [[{ ...request, body: 1 }], "Malformed", "string"],
      [[{ ...dial, headers: { a: 1 } }], "Malformed", "string"],
      [[{ t: 0, kind: "ws-binary", conn: "a", dir: "in", base64: "§" }], "Malformed", "base64"],
      [[{ t: 0, kind: "ws-sideways", conn: "a" }], "Malformed", ""]
    ]
    for (const [lines, tag, words] of wrong) {
      const tape = Tape.parse(file(...lines))
      assert.isTrue(Result.isFailure(tape), JSON.stringify(lines))
      if (Result.isSuccess(tape)) continue
      assert.strictEqual(tape.failure.reason._tag, tag)
      assert.include(tape.failure.message, words)
      assert.isBelow(tape.failure.message.length, 400)
    }
  })

  it("hostile lines do no harm", () => {
    const head = `{"kind":"case","case":"c","version":"v","title":"","args":[]}\n`
    const note = `{"t":0,"kind":"note","text":"n"}\n`
    assert.strictEqual(reasonOf(head + "[".repeat(100_000))?._tag, "Malformed")
    assert.strictEqual(reasonOf(head + note.repeat(11), { ...Tape.limits, maxLines: 10 })?._tag, "TooLarge")
    assert.strictEqual(reasonOf(head + note.repeat(11), { ...Tape.limits, maxLength: 100 })?._tag, "TooLarge")
    const poisoned = parsed(
      `${head}{"t":0,"kind":"request","id":1,"method":"GET","path":"/","headers":{"__proto__":"x"},"__proto__":{"y":1}}`
    )
    assert.notProperty({}, "y")
    assert.strictEqual(poisoned.lines.length, 1)
    fc.assert(fc.property(fc.string(), (text) => {
      assert.isDefined(reasonOf(text))
      assert.isDefined(reasonOf(head + text + "\u0001"))
    }))
  })
})

const timeOf = (line: string): unknown => line === "" ? undefined : JSON.parse(line).t

/** Sends what the client sent, when it did, and gives what came back. */
const drive = Effect.fnUntraced(function*(tape: Tape.Tape) {
  const construct = yield* Socket.WebSocketConstructor
  const heard = new Map<string, Array<string>>()
  const sockets = new Map<string, Socket.WebSocketLike>()
  const answers = new Map<number, Fiber.Fiber<string>>()
  let now = 0
  for (const line of tape.lines) {
    if (line.t > now) yield* TestClock.adjust(line.t - now)
    now = Math.max(now, line.t)
    if (line.kind === "ws-dial") {
      const seen = heard.get(line.conn) ?? []
      heard.set(line.conn, seen)
      const socket = construct(`ws://server${line.path}`)
      sockets.set(line.conn, socket)
      socket.addEventListener(
        "message",
        ({ data }) =>
          seen.push(
            typeof data === "string" ? data : data instanceof ArrayBuffer ? Buffer.from(data).toString("base64") : "?"
          )
      )
      yield* TestClock.adjust(0)
    } else if ((line.kind === "ws-text" || line.kind === "ws-binary") && line.dir === "out") {
      const socket = sockets.get(line.conn)
      if (socket?.readyState === 0) yield* TestClock.adjust(1)
      socket?.send(line.kind === "ws-text" ? line.data : Tape.bytesOf(line))
    } else if (line.kind === "request" && isHttpMethod(line.method)) {
      const request = HttpClientRequest.make(line.method)(`http://server${line.path}`).pipe(
        HttpClientRequest.bodyUint8Array(Tape.bytesOf(line))
      )
      const answer = HttpClient.execute(request).pipe(
        Effect.flatMap((response) =>
          Effect.map(
            Effect.orElseSucceed(response.arrayBuffer, () => new ArrayBuffer(0)),
            (body) => `${response.status} ${Buffer.from(body).toString("base64")}`
          )
        ),
        Effect.orElseSucceed(() => "no answer")
      )
      answers.set(line.id, yield* Effect.forkChild(answer, { startImmediately: true }))
    }
  }
  yield* TestClock.adjust("1 minute")
  return { heard, answers }
})

describe("Cassette.replay of recordings of real servers", () => {
  it.effect("gives every answer and every frame that was recorded, in order", () =>
    Effect.gen(function*() {
      let frames = 0
      let exchanges = 0
      for (const { name, text } of recordings) {
        const tape = parsed(text)
        yield* Effect.gen(function*() {
          const { answers, heard } = yield* drive(tape)
          yield* Effect.flatMap(Cassette.Player, (player) => player.verify)
          for (const line of tape.lines) {
            if (line.kind !== "response" || line.aborted === true) continue
            const fiber = answers.get(line.id)
            if (fiber === undefined) continue
            exchanges++
            const expected = `${line.status} ${Buffer.from(Tape.bytesOf(line)).toString("base64")}`
            assert.strictEqual(yield* Fiber.join(fiber), expected, `${name}: request ${line.id}`)
          }
          for (const [conn, seen] of heard) {
            const expected = tape.lines.flatMap((line) =>
              "conn" in line && line.conn === conn && "dir" in line && line.dir === "in"
                ? [line.kind === "ws-text" ? line.data : line.base64]
                : []
            )
            frames += expected.length
            assert.deepStrictEqual(seen, expected, `${name}: ${conn}`)
          }
        }).pipe(Effect.provide(Cassette.replay(text)), Effect.scoped)
      }
      assert.isAbove(frames, 1_000)
      assert.isAbove(exchanges, 500)
    }))
})
