import * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import * as EventLog from "@effect-comfyui/execution/EventLog"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"

const common = (sequence: number) => ({
  runId: RunId.make("0b5c5f1e-6f0a-4d0e-9c39-0d4f5d9c1f11"),
  backend: BackendId.make("gpu-1"),
  sequence,
  at: 0,
  elapsed: 0
})

const warning = (sequence: number): ExecutionEvent => ({
  _tag: "Warning",
  ...common(sequence),
  code: "a",
  message: "b",
  nodeIds: []
})

const progress = (sequence: number, value: number): ExecutionEvent => ({
  _tag: "NodeProgress",
  ...common(sequence),
  nodeId: "1",
  displayId: "1",
  value,
  max: 9
})

const cancelled = (sequence: number): ExecutionEvent => ({
  _tag: "Cancelled",
  ...common(sequence),
  via: "http",
  by: "us"
})

const jobId = JobId.make("job-1")

/** Events of a job carry those of its attempts. */
const ofJob: EventBuffer.Kind<JobEvent> = {
  ofRun: (event) => event._tag === "Attempt" ? event.event : undefined,
  gap: (event, next) => ({ _tag: "Attempt", jobId, sequence: next.sequence, at: next.at, number: 1, event }),
  isEnding: isJobEnding
}

const attempt = (sequence: number, event: ExecutionEvent): JobEvent => ({
  _tag: "Attempt",
  jobId,
  sequence,
  at: 0,
  number: 1,
  event
})

describe("a log of events", () => {
  it.effect("tells everybody everything from the beginning, whenever they come", () =>
    Effect.gen(function*() {
      const log = EventLog.make(EventBuffer.ofRun, 100)
      const early = yield* Effect.forkChild(Stream.runCollect(EventLog.events(log)), { startImmediately: true })
      EventLog.publish(log, [warning(0), progress(0, 1), progress(0, 2)])
      yield* Effect.yieldNow
      EventLog.publish(log, [warning(1), cancelled(2)])
      const late = yield* Stream.runCollect(EventLog.events(log))
      assert.deepStrictEqual(late, [warning(0), warning(1), cancelled(2)])
      assert.deepStrictEqual(yield* Fiber.join(early), [warning(0), progress(0, 2), warning(1), cancelled(2)])
      assert.strictEqual(log.subscribers?.size, 0)
    }))

  it.effect("keeps so many, and says how many a late subscriber missed", () =>
    Effect.gen(function*() {
      const log = EventLog.make(EventBuffer.ofRun, 3)
      EventLog.publish(log, Array.from({ length: 10 }, (_, i) => warning(i)))
      EventLog.publish(log, [cancelled(10)])
      assert.strictEqual(log.kept.length, 3)
      const [gap, ...rest] = yield* Stream.runCollect(EventLog.events(log))
      assert.deepInclude(gap, { _tag: "Gap", cause: "consumer", lifecycle: 8, sequence: 7 })
      assert.deepStrictEqual(rest, [warning(8), warning(9), cancelled(10)])
    }))

  it.effect("holds the events of a job: those of its runs are conflated, its own are not", () =>
    Effect.gen(function*() {
      const log = EventLog.make(ofJob, 100)
      const seen = yield* Effect.forkChild(Stream.runCollect(EventLog.events(log)), { startImmediately: true })
      EventLog.publish(log, [
        { _tag: "Queued", jobId, sequence: 0, at: 0 },
        attempt(1, warning(0)),
        ...Array.from({ length: 50 }, (_, i) => attempt(1, progress(0, i))),
        { _tag: "JobCancelled", jobId, sequence: 2, at: 0, by: "us", executions: { atLeast: 0, atMost: 1 } }
      ])
      assert.deepStrictEqual(
        (yield* Fiber.join(seen)).map((event) => event._tag === "Attempt" ? event.event._tag : event._tag),
        ["Queued", "Warning", "NodeProgress", "JobCancelled"]
      )
    }))

  it.effect("announces what a slow subscriber of a job lost before an event that carries none of a run", () =>
    Effect.gen(function*() {
      const buffer = EventBuffer.init(ofJob, { capacity: 1 })
      EventBuffer.offer(buffer, [
        attempt(0, warning(0)),
        attempt(1, warning(1)),
        { _tag: "JobCancelled", jobId, sequence: 2, at: 0, by: "us", executions: { atLeast: 0, atMost: 1 } }
      ])
      const taken = EventBuffer.take(buffer)
      assert.deepStrictEqual(taken.map(({ _tag }) => _tag), ["Attempt", "JobCancelled"])
      assert.isTrue(taken[0]?._tag === "Attempt" && taken[0].event._tag === "Gap" && taken[0].event.lifecycle === 2)
    }))
})
