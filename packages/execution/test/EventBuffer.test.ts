import * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import { type ExecutionEvent, isEnding, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { completed, preview, progress, started } from "./support.ts"

const tags = (events: ReadonlyArray<ExecutionEvent>) => events.map((event) => event._tag)

/** A run of any shape: lifecycle events numbered without holes, transient ones between them, then the ending. */
const anyRun = fc.array(
  fc.oneof(
    fc.constant("lifecycle" as const),
    fc.record({ node: fc.integer({ min: 1, max: 3 }), value: fc.integer({ min: 0, max: 50 }) }),
    fc.record({ bytes: fc.integer({ min: 0, max: 2_000 }) })
  ),
  { maxLength: 200 }
).map((shape) => {
  let sequence = -1
  const events = shape.map((part): ExecutionEvent => {
    if (part === "lifecycle") return started(++sequence, "1")
    return "bytes" in part ? preview(sequence, part.bytes) : progress(sequence, String(part.node), part.value)
  })
  return [...events, completed(++sequence)]
})

describe("EventBuffer", () => {
  it("keeps order, the newest progress of each node and the newest previews", () => {
    const state = EventBuffer.init(EventBuffer.ofRun)
    EventBuffer.offer(state, [started(0, "1"), progress(0, "1", 1), progress(0, "2", 5), progress(0, "1", 2)])
    EventBuffer.offer(state, Array.from({ length: 10 }, (_, i) => preview(0, i)))
    const taken = EventBuffer.take(state)
    assert.deepStrictEqual(tags(taken), [
      "NodeStarted",
      "NodeProgress",
      "NodeProgress",
      "Preview",
      "Preview",
      "Preview",
      "Preview"
    ])
    assert.deepStrictEqual(taken.flatMap((event) => event._tag === "NodeProgress" ? [event.value] : []), [5, 2])
    assert.deepStrictEqual(taken.flatMap((event) => event._tag === "Preview" ? [event.image.byteLength] : []), [
      6,
      7,
      8,
      9
    ])
    assert.isTrue(EventBuffer.isEmpty(state))
  })

  it("hands over everything where a subscriber asks for everything", () => {
    const state = EventBuffer.init(EventBuffer.ofRun, { previews: "all", progress: "all" })
    const events = Array.from({ length: 1_000 }, (_, i) => i % 3 === 0 ? preview(0, 100) : progress(0, "1", i))
    EventBuffer.offer(state, events)
    assert.deepStrictEqual(EventBuffer.take(state), events)
  })

  it("announces what a bound in bytes cost, once, and never drops lifecycle for pictures", () => {
    const state = EventBuffer.init(EventBuffer.ofRun, { previews: "all", maxBytes: 10_000 })
    EventBuffer.offer(state, [started(0, "1")])
    for (let i = 0; i < 50; i++) EventBuffer.offer(state, [preview(0, 1_000)])
    assert.isAtMost(EventBuffer.snapshot(state).bytes, 10_000)
    const [gap, first, ...rest] = EventBuffer.take(state)
    assert.strictEqual(gap?._tag, "Gap")
    if (gap?._tag === "Gap") {
      assert.strictEqual(gap.cause, "consumer")
      assert.strictEqual(gap.previews, 50 - rest.length)
      assert.strictEqual(gap.lifecycle, 0)
    }
    assert.strictEqual(first?._tag, "NodeStarted")
    EventBuffer.offer(state, [completed(1)])
    assert.deepStrictEqual(tags(EventBuffer.take(state)), ["Completed"])
  })

  it("gives previews to nobody who does not want them", () => {
    const state = EventBuffer.init(EventBuffer.ofRun, { previews: "none" })
    EventBuffer.offer(state, [preview(0, 10), preview(0, 10)])
    assert.isTrue(EventBuffer.isEmpty(state))
  })

  it("bounds its slots under an endless stream of one node's progress", () => {
    const state = EventBuffer.init(EventBuffer.ofRun)
    for (let i = 0; i < 100_000; i++) EventBuffer.offer(state, [progress(0, "1", i)])
    assert.isAtMost(state.slots.length, 66)
    assert.strictEqual(EventBuffer.take(state).length, 1)
  })

  it("holds for every run, cap and rhythm of reading", () => {
    fc.assert(fc.property(
      anyRun,
      fc.integer({ min: 1, max: 8 }),
      fc.constantFrom("latest" as const, "all" as const),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (run, capacity, mode, rhythm) => {
        const state = EventBuffer.init(EventBuffer.ofRun, { capacity, progress: mode, previews: mode, maxBytes: 4_000 })
        const read: Array<ExecutionEvent> = []
        let offered = 0
        for (let turn = 0; offered < run.length; turn++) {
          const size = rhythm[turn % rhythm.length] ?? 1
          EventBuffer.offer(state, run.slice(offered, offered + size))
          offered += size
          const { bytes, lifecycle } = EventBuffer.snapshot(state)
          assert.isAtMost(lifecycle, capacity)
          assert.isAtMost(bytes - lifecycle * 128, 4_000)
          if (turn % 2 === 1) read.push(...EventBuffer.take(state))
        }
        read.push(...EventBuffer.take(state))

        // The ending is last and there once, and nothing was invented or reordered.
        assert.isTrue(isEnding(read.at(-1) ?? started(0, "1")))
        assert.strictEqual(read.filter(isEnding).length, 1)
        const lifecycle: ReadonlyArray<ExecutionEvent> = read.filter((event) =>
          !isTransient(event) && event._tag !== "Gap"
        )
        assert.deepStrictEqual(lifecycle, run.filter((event) => lifecycle.includes(event)))
        // What is missing is what the gaps say.
        const announced = read.reduce((sum, event) => sum + (event._tag === "Gap" ? event.lifecycle : 0), 0)
        assert.strictEqual(run.filter((event) => !isTransient(event)).length - lifecycle.length, announced)
      }
    ))
  })
})
