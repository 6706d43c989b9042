import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as ClassEstimates from "@effect-comfyui/profiling/ClassEstimates"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as SlowNodes from "@effect-comfyui/profiling/SlowNodes"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { backend, epoch, script } from "./support/events.ts"

const jobId = JobId.make("job-1")

const told = (event: ExecutionEvent, id = jobId): JobEvent => ({
  _tag: "Attempt",
  jobId: id,
  sequence: event.sequence + 2,
  at: event.at,
  number: 1,
  event
})

/** What `ms` of a KSampler say, so often. */
const classes = (ms: number, times: number) => {
  const state = ClassEstimates.init()
  for (let i = 0; i < times; i++) {
    const s = script()
    const run = Profile.init()
    const events = [s.submitted(0), s.started(1), s.start(1, "1"), s.finish(1 + ms, "1"), s.completed(1 + ms)]
    for (const event of events) Profile.step(run, event)
    ClassEstimates.step(state, { server: backend, cold: false, nodes: Profile.snapshot(run).nodes })
  }
  return state
}

describe("SlowNodes", () => {
  it("tells of a node while it runs, once, when it is over so many times its estimate", () => {
    const [state, known, s] = [SlowNodes.init(), classes(2_000, 5), script()]
    SlowNodes.step(state, known, told(s.start(100, "1")), 5_000)
    assert.deepStrictEqual(SlowNodes.due(state, 11_000), [])
    const [slow, ...more] = SlowNodes.due(state, 11_001)
    assert.deepStrictEqual(more, [])
    assert.deepInclude(slow, { jobId, server: backend, nodeId: "1", classType: "KSampler", by: "estimate", samples: 5 })
    assert.deepInclude(slow, { at: epoch + 100, ranMs: 6_001, limitMs: 6_000, expectedMs: 2_000 })
    assert.deepStrictEqual(SlowNodes.due(state, 99_000), [])
    assert.deepStrictEqual(SlowNodes.step(state, known, told(s.finish(60_000, "1")), 99_000), [])
  })

  it("tells of one that has ended before anybody looked", () => {
    const [state, known, s] = [SlowNodes.init({ overMs: 1_500 }), ClassEstimates.init(), script()]
    SlowNodes.step(state, known, told(s.start(0, "1")), 0)
    const [slow] = SlowNodes.step(state, known, told(s.finish(1_600, "1")), 1_600)
    assert.deepInclude(slow, { by: "threshold", limitMs: 1_500, ranMs: 1_600, expectedMs: null, samples: 0 })
  })

  it("says nothing of what it knows too little of, and of what takes no time", () => {
    const s = script()
    const few = SlowNodes.init()
    SlowNodes.step(few, classes(2_000, 4), told(s.start(0, "1")), 0)
    assert.deepStrictEqual(SlowNodes.due(few, 1e9), [])
    const quick = SlowNodes.init()
    SlowNodes.step(quick, classes(5, 9), told(s.start(0, "1")), 0)
    assert.deepStrictEqual(SlowNodes.due(quick, 999), [])
    assert.strictEqual(SlowNodes.due(quick, 1_001)[0]?.limitMs, 1_000)
  })

  it("forgets the nodes of an attempt that is over", () => {
    const [state, s] = [SlowNodes.init({ overMs: 10 }), script()]
    SlowNodes.step(state, ClassEstimates.init(), told(s.start(0, "1")), 0)
    SlowNodes.step(state, ClassEstimates.init(), { _tag: "Queued", jobId, sequence: 9, at: 0 }, 1)
    assert.deepStrictEqual(SlowNodes.due(state, 1e9), [])
  })

  it("is bounded, and tells of each execution at most once, whatever comes", () => {
    const aMove = fc.record({
      job: fc.integer({ min: 0, max: 3 }),
      node: fc.integer({ min: 0, max: 200 }),
      kind: fc.constantFrom("start", "finish", "due"),
      after: fc.nat(50)
    })
    fc.assert(fc.property(fc.array(aMove, { maxLength: 400 }), (moves) => {
      const [state, s] = [SlowNodes.init({ overMs: 20 }), script()]
      let [now, starts, slow] = [0, 0, 0]
      for (const { after, job, kind, node } of moves) {
        now += after
        if (kind === "due") {
          slow += SlowNodes.due(state, now).length
          continue
        }
        if (kind === "start") starts++
        const event = kind === "start" ? s.start(now, `${node}`) : s.finish(now, `${node}`)
        slow += SlowNodes.step(state, ClassEstimates.init(), told(event, JobId.make(`job-${job}`)), now).length
      }
      assert.isAtMost(slow, starts)
      for (const nodes of state.open.values()) assert.isAtMost(nodes.size, 64)
    }))
  })
})
