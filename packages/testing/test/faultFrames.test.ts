import { BadFrames, Fault, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Server } from "./support/server.ts"

const server = (seed = 1) => new Server({ nodes: TestNodes.nodes, seed })

const graph = { "1": { class_type: "FakeSteps", inputs: { count: 5, milliseconds: 100, preview: false } } }

let faults = 0
const inject = (one: Server, ...given: ReadonlyArray<Fault.Fault>): number => {
  for (const fault of given) one.input({ _tag: "Inject", id: ++faults, fault })
  return faults
}

/** The frames of one run under these faults, without the first status. */
const framesUnder = (given: ReadonlyArray<Fault.Fault>, seed = 1) => {
  const one = server(seed)
  const conn = one.open("a")
  inject(one, ...given)
  one.prompt(graph, { client_id: "a", prompt_id: "9d7d7a5c-2f64-4b3e-8a3f-5b1f9c1f2a11" })
  one.pass(10_000)
  return {
    one,
    conn,
    frames: one.frames(conn).slice(1),
    get types() {
      return one.types(conn).slice(1)
    }
  }
}

const plain = framesUnder([]).frames
const plainTypes = framesUnder([]).types

const progress = Fault.event("progress")

describe("faults on frames", () => {
  it("duplicate them, each right after itself", () => {
    const { frames } = framesUnder([Fault.duplicateFrames(Fault.anyFrame, 2)])
    assert.deepStrictEqual(frames, plain.flatMap((frame) => [frame, frame, frame]))
  })

  it("replay a whole run, once", () => {
    const { frames } = framesUnder([
      Fault.replayFrames(Fault.all(Fault.event("executing"), Fault.frameIncludes("\"node\": null")))
    ])
    assert.deepStrictEqual(frames, [...plain, ...plain])
  })

  it("replay at most 2,000 frames: the last ones", () => {
    const one = server()
    const conn = one.open("a")
    // It remembers as long as it may still strike.
    inject(one, Fault.replayFrames(Fault.event("nothing")))
    for (let seed = 0; seed < 300; seed++) {
      one.prompt({ "1": { class_type: "FakeValue", inputs: { seed } } }, { client_id: "a" })
      one.pass(10)
    }
    inject(one, Fault.replayFrames(Fault.event("execution_success"), { times: 1 }))
    one.prompt({ "1": { class_type: "FakeValue", inputs: { seed: 300 } } }, { client_id: "a" })
    one.pass(10)
    const types = one.types(conn)
    const success = types.length - 1 - 2 - 2_000
    assert.strictEqual(types[success], "execution_success")
    assert.isAbove(success, 2_000)
    assert.deepStrictEqual(types.slice(success + 1, success + 2_001), types.slice(success - 1_999, success + 1))
  })

  it("shuffle them by the seed; none is lost, and none moves further than the window", () => {
    const moved = new Set<string>()
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 6 }), (seed, window) => {
        const { frames } = framesUnder([Fault.reorderFrames(Fault.anyFrame, { window, withinMs: 50 })], seed)
        const again = framesUnder([Fault.reorderFrames(Fault.anyFrame, { window, withinMs: 50 })], seed)
        assert.deepStrictEqual(frames, again.frames)
        assert.strictEqual(frames.length, plain.length)
        const typesOf = (all: ReadonlyArray<string | Uint8Array>) =>
          all.map((frame) => String(frame).replace(/[0-9]{13}/g, ""))
        const wanted = typesOf(plain)
        for (const [at, frame] of typesOf(frames).entries()) {
          // Equal frames may stand for each other: the nearest counts.
          const distance = Math.min(...wanted.flatMap((other, from) => other === frame ? [Math.abs(from - at)] : []))
          assert.isBelow(distance, Math.max(1, window))
          if (distance > 0) moved.add(frame)
        }
      }),
      { numRuns: 60 }
    )
    assert.isAbove(moved.size, 3)
  })

  it("shuffle only among those that match: another frame sends on what was gathered", () => {
    const { types } = framesUnder([Fault.reorderFrames(progress, { window: 100, withinMs: 1e6 })])
    assert.deepStrictEqual(types, plainTypes)
  })

  it("send on what was gathered in time, though the window is not full", () => {
    const one = server()
    const conn = one.open("a")
    inject(one, Fault.reorderFrames(Fault.anyFrame, { window: 1_000, withinMs: 2_000 }))
    one.prompt(graph, { client_id: "a" })
    one.pass(1_999)
    assert.strictEqual(one.types(conn).length, 1)
    one.pass(5)
    assert.strictEqual(one.types(conn).length, 1 + plain.length)
    assert.notDeepEqual(one.types(conn).slice(1), plainTypes)
    assert.sameMembers([...one.types(conn).slice(1)], [...plainTypes])
  })

  it("insert others before, after, or instead", () => {
    const start = Fault.event("execution_start")
    const typesWith = (where: "before" | "after" | "instead") =>
      framesUnder([Fault.insertFrames(start, [BadFrames.unknownEvent, BadFrames.unknownBinary], where)]).types
    const at = plainTypes.indexOf("execution_start")
    const odd = ["comfy.nobody_knows", "binary 77"]
    const around = (
      middle: ReadonlyArray<string>
    ) => [...plainTypes.slice(0, at), ...middle, ...plainTypes.slice(at + 1)]
    assert.deepStrictEqual(typesWith("before"), around([...odd, "execution_start"]))
    assert.deepStrictEqual(typesWith("after"), around(["execution_start", ...odd]))
    assert.deepStrictEqual(typesWith("instead"), around(odd))
  })

  it("truncate, and edit members of JSON that keep all their other digits", () => {
    const of = (fault: Fault.Fault) =>
      framesUnder([fault]).frames.filter((_, index) => plainTypes[index] === "progress")
    const before = plain.filter((_, index) => plainTypes[index] === "progress")
    assert.deepStrictEqual(of(Fault.truncateFrames(progress, 9)), before.map((frame) => frame.slice(0, 9)))
    assert.deepStrictEqual(
      of(Fault.setField(progress, ["data", "value"], "seven")),
      before.map((frame) => String(frame).replace(/"value": \d/, "\"value\": \"seven\""))
    )
    assert.deepStrictEqual(
      of(Fault.omitField(progress, ["data", "max"])),
      before.map((frame) => String(frame).replace("\"max\": 5, ", ""))
    )
    // What is not there cannot be changed; nothing is made up on the way.
    assert.deepStrictEqual(of(Fault.setField(progress, ["data", "no", "such"], 1)), before)
    assert.deepStrictEqual(
      of(Fault.onFrame(progress, { _tag: "EditFrame", edit: () => undefined }, { times: 5 })).length,
      5
    )
  })

  it("work one after the other, in the order of their injection", () => {
    const { types } = framesUnder([
      Fault.insertFrames(Fault.event("execution_start"), [BadFrames.unknownEvent], "instead"),
      Fault.duplicateFrames(Fault.event("comfy.nobody_knows")),
      Fault.insertFrames(
        Fault.event("comfy.nobody_knows"),
        [BadFrames.notAnObject.replace("[", "{\"type\": \"x\", \"data\": [").replace("]", "]}")],
        "instead",
        { times: 1 }
      )
    ])
    const at = plainTypes.indexOf("execution_start")
    assert.deepStrictEqual(types.slice(at, at + 2), ["x", "comfy.nobody_knows"])
  })

  it("cut the socket at a frame, and the run goes on", () => {
    const { conn, one, types } = framesUnder([Fault.cutSocketAt(progress, { skip: 2 })])
    assert.deepStrictEqual(types.filter((type) => type === "progress").length, 2)
    assert.isTrue(
      one.outputs.some((output) => output._tag === "SocketClosed" && output.conn === conn && output.code === 1006)
    )
    assert.deepStrictEqual(one.snapshot().sockets, [])
    assert.strictEqual(one.ledger().prompts[0]?.outcome, "success")
  })

  it("kill the process at a frame: done, and nobody was told", () => {
    const { conn, one, types } = framesUnder([Fault.killServerAt(Fault.event("execution_success"))])
    assert.notInclude(types, "execution_success")
    assert.strictEqual(one.ledger().nodes[0]?.outcome, "success")
    assert.deepInclude(one.snapshot(), { up: false, faults: 1 })
    const last = one.outputs.findLast((output) => "conn" in output && output.conn === conn)
    assert.deepInclude(last, { _tag: "SocketClosed", code: 1006 })
    // A new process has none of it, and its first frames come.
    one.input({ _tag: "Heal" })
    one.input({ _tag: "Restart" })
    assert.strictEqual(one.types(one.open("a"))[0], "status")
  })

  it("match by event, number and text, all or either", () => {
    const dropped = (match: Fault.FrameMatch) => {
      const { types } = framesUnder([Fault.dropFrames(match)])
      const rest = [...types]
      return [
        ...new Set(plainTypes.filter((type) => {
          const at = rest.indexOf(type)
          if (at >= 0) rest.splice(at, 1)
          return at < 0
        }))
      ]
    }
    assert.deepStrictEqual(dropped(Fault.event("progress", "executed")), ["progress", "executed"])
    assert.deepStrictEqual(dropped(Fault.either(progress, Fault.event("executed"))), ["progress", "executed"])
    assert.deepStrictEqual(dropped(Fault.all(progress, Fault.frameIncludes("\"value\": 9"))), [])
    assert.deepStrictEqual(dropped(Fault.binary()), [])
    assert.deepStrictEqual(dropped((frame) => String(frame).startsWith("{\"type\": \"progress_")), ["progress_state"])
  })

  it("do nothing to a socket that is half open", () => {
    const one = server()
    const conn = one.open("a")
    inject(one, Fault.duplicateFrames(Fault.anyFrame))
    one.input({ _tag: "HalfOpenSockets", which: {} })
    one.prompt(graph, { client_id: "a" })
    one.pass(1_000)
    one.input({ _tag: "SendFrames", which: {}, frames: [BadFrames.noType] })
    assert.strictEqual(one.frames(conn).length, 1)
  })
})

describe("frames of one's own", () => {
  it("go out at once, past all faults, to those that are meant", () => {
    const one = server()
    const [a, b] = [one.open("a"), one.open("b")]
    inject(one, Fault.dropFrames(Fault.anyFrame))
    const foreign = BadFrames.foreignRun("other")
    one.input({ _tag: "SendFrames", which: { clientId: "a" }, frames: [...foreign, ...BadFrames.malformed] })
    assert.deepStrictEqual(one.frames(a).slice(1), [...foreign, ...BadFrames.malformed])
    assert.strictEqual(one.frames(b).length, 1)
  })

  it("are bytes on the wire where they break WebSocket's own rules", () => {
    const one = server()
    const conn = one.open("a")
    one.input({ _tag: "SendFrames", which: {}, frames: BadFrames.brokenFraming })
    const raw = one.outputs.flatMap((output) =>
      output._tag === "SocketRaw" && output.conn === conn ? [output.bytes] : []
    )
    assert.deepStrictEqual(raw.map((bytes) => bytes[0]), [0x81, 0xc1, 0x83, 0x81, 0x81, 0x80])
  })
})
