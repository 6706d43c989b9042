import { type ExecutionEvent, isEnding, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { chain, epoch, near, nodeFailed, nodeOf, runId, script } from "./support/events.ts"
import { run } from "./support/recorded.ts"

const jobId = JobId.make("job-1")
const executions = { atLeast: 1, atMost: 1 }

/** A script of one job: times are milliseconds since it was queued. */
const job = () => {
  let sequence = 0
  const next = (ms: number) => ({ jobId, sequence: sequence++, at: epoch + ms })
  return {
    queued: (): JobEvent => ({ _tag: "Queued", ...next(0) }),
    placed: (ms: number, server: string): JobEvent => ({
      _tag: "Placed",
      ...next(ms),
      server: BackendId.make(server),
      why: { policy: "first-idle" }
    }),
    sent: (ms: number, took: number): JobEvent => ({
      _tag: "Transferred",
      ...next(ms),
      file: "a",
      bytes: 10,
      ms: took
    }),
    /** `begun`: 0 of the run on the job's clock. */
    run: (begun: number, number: number, ...events: ReadonlyArray<ExecutionEvent>): ReadonlyArray<JobEvent> =>
      events.map((event) => {
        const at = epoch + begun + event.elapsed
        const common = isTransient(event) ? { jobId, sequence: sequence - 1, at } : { ...next(0), at }
        return { _tag: "Attempt", ...common, number, event }
      }),
    ended: (
      ms: number,
      number: number,
      ending: ExecutionEvent,
      verdict: "done" | "give-up" | "another-server"
    ): JobEvent =>
      isEnding(ending)
        ? { _tag: "AttemptEnded", ...next(ms), number, ending, verdict, executions }
        : assert.fail("no ending"),
    succeeded: (ms: number): JobEvent => ({
      _tag: "JobSucceeded",
      ...next(ms),
      server: BackendId.make("gpu-1"),
      outputs: {},
      receipts: [],
      executions
    }),
    cancelled: (ms: number): JobEvent => ({ _tag: "JobCancelled", ...next(ms), by: "us", executions }),
    timedOut: (ms: number): JobEvent => ({
      _tag: "JobFailed",
      ...next(ms),
      error: new PoolError({ reason: { _tag: "QueueTimeout", limitMs: ms } }),
      executions: { atLeast: 0, atMost: 0 }
    })
  }
}

const fold = (events: ReadonlyArray<JobEvent>) =>
  JobProfile.snapshot(events.reduce((state, event) => JobProfile.step(state, event), JobProfile.init(chain("1", "2"))))

const other = RunId.make("1b2f6c3e-5a8d-4e7b-9a56-1c2d3e4f5a6b")

const twice = () => {
  const j = job()
  const a = script()
  const b = script(undefined, other)
  const failed = a.failed(2_000, nodeFailed("1"))
  const begun = [a.submitted(20), a.started(500), a.start(500, "1")]
  return [
    j.queued(),
    j.placed(1_000, "gpu-1"),
    j.sent(1_300, 250),
    ...j.run(1_400, 1, ...begun, failed),
    j.ended(3_405, 1, failed, "another-server"),
    j.placed(7_405, "gpu-2"),
    ...j.run(7_500, 2, b.submitted(10), b.started(20), b.start(20, "1"), b.finish(40, "1"), b.completed(60)),
    j.ended(7_561, 2, b.completed(60), "done"),
    j.succeeded(7_570)
  ]
}

describe("JobProfile", () => {
  it("keeps every attempt with its waits, transfers and run, and says which decided", () => {
    const told = fold(twice())
    assert.deepStrictEqual(
      [told.state, told.reason, told.queuedAtMs, told.queueMs, told.retryWaitMs, told.transferMs, told.totalMs],
      ["succeeded", null, epoch, 1_000, 7_405 - 3_405, 250, 7_570]
    )
    assert.strictEqual(told.decidedBy, 2)
    const [first, second] = told.attempts
    assert.deepStrictEqual([first?.server, first?.verdict, first?.reason], ["gpu-1", "another-server", "NodeFailed"])
    assert.deepStrictEqual([first?.waitMs, first?.placedMs, first?.startMs, first?.endMs], [1_000, 1_000, 1_400, 3_405])
    assert.deepStrictEqual([first?.transferMs, first?.transferBytes, first?.transfers], [250, 10, 1])
    assert.deepStrictEqual(first?.why, { policy: "first-idle" })
    assert.deepStrictEqual([first?.run.state, first?.run.executionMs], ["failed", 1_500])
    assert.deepStrictEqual([second?.server, second?.verdict, second?.reason], ["gpu-2", "done", null])
    assert.deepStrictEqual([second?.waitMs, second?.run.executionMs], [4_000, 40])
    assert.strictEqual(second === undefined ? "" : nodeOf(second.run, "1").title, "Title 1")
  })

  it("waits until now while it waits, first and between attempts", () => {
    const events = twice()
    const reading = (count: number) => {
      const { attempts, decidedBy, queueMs, retryWaitMs, state } = fold(events.slice(0, count))
      return [state, attempts.length, queueMs, retryWaitMs, decidedBy]
    }
    assert.deepStrictEqual(reading(0), ["queued", 0, 0, 0, null])
    assert.deepStrictEqual(reading(1), ["queued", 0, 0, 0, null])
    assert.deepStrictEqual(reading(2), ["running", 1, 1_000, 0, null])
    assert.deepStrictEqual(reading(8), ["queued", 1, 1_000, 0, null])
    assert.deepStrictEqual(reading(9), ["running", 2, 1_000, 4_000, null])
  })

  it("of a job that was never placed, or cancelled while it waited again, has the wait and no deciding attempt", () => {
    const j = job()
    const never = fold([j.queued(), j.timedOut(60_000)])
    assert.deepStrictEqual(
      [never.state, never.reason, never.queueMs, never.totalMs, never.decidedBy],
      ["failed", "QueueTimeout", 60_000, 60_000, null]
    )
    const k = job()
    const a = script()
    const failed = a.failed(10, nodeFailed("1"))
    const again = fold([
      k.queued(),
      k.placed(5, "gpu-1"),
      ...k.run(5, 1, failed),
      k.ended(15, 1, failed, "another-server"),
      k.cancelled(115)
    ])
    assert.deepStrictEqual([again.state, again.decidedBy, again.retryWaitMs], ["cancelled", null, 100])
  })

  it("ends a run as the pool did, whose patience has no place in the run's sequence", () => {
    const j = job()
    const a = script()
    const begun = [j.queued(), j.placed(10, "gpu-1"), ...j.run(10, 1, a.submitted(1), a.started(2), a.start(3, "1"))]
    const timeout = script().failed(400, { _tag: "NodeTimeout", nodeId: "1", limitMs: 300 }, "client")
    const told = fold([
      ...begun,
      j.ended(410, 1, timeout, "give-up"),
      // The server is heard of again, too late.
      ...j.run(10, 1, a.finish(450, "1"), a.cancelled(451))
    ])
    assert.strictEqual(told.attempts.length, 1)
    const run = told.attempts[0]?.run ?? assert.fail("no attempt")
    assert.deepStrictEqual([run.state, run.reason, nodeOf(run, "1").state], ["failed", "NodeTimeout", "failed"])
    assert.strictEqual(told.attempts[0]?.reason, "NodeTimeout")
    assert.strictEqual(nodeOf(run, "1").durationMs, 397)
  })

  it("goes by the run's clock while one runs: a wall clock that jumps meanwhile changes nothing", () => {
    const jumped = twice().map((event) =>
      event._tag === "Attempt" && event.number === 1 && event.event.elapsed >= 500
        ? { ...event, at: event.at - 3_600_000 }
        : event
    ).map((event, i, all) => {
      // From then on the clock is an hour behind.
      const from = all.findIndex((one) => one._tag === "AttemptEnded")
      return i >= from ? { ...event, at: event.at - 3_600_000 } : event
    })
    assert.deepStrictEqual(fold(jumped), fold(twice()))
  })

  it("does not go back for progress that is told again", () => {
    const j = job()
    const a = script()
    const begun = [j.queued(), j.placed(10, "gpu-1"), ...j.run(10, 1, a.started(1), a.start(2, "1"))]
    const steps = j.run(10, 1, a.progress(10, "1", 1), a.progress(50, "1", 2))
    const rest = [...j.run(10, 1, a.finish(60, "1"), a.completed(60)), j.succeeded(80)]
    const again = steps.slice(0, 1)
    assert.deepStrictEqual(fold([...begun, ...steps, ...again, ...rest]), fold([...begun, ...steps, ...rest]))
  })

  it("keeps the last 64 attempts and counts those before", () => {
    const j = job()
    const events: Array<JobEvent> = [j.queued()]
    for (let number = 1; number <= 70; number++) {
      const failed = script().failed(10, nodeFailed("1"))
      const ms = number * 100
      events.push(
        j.placed(ms, "gpu-1"),
        ...j.run(ms, number, failed),
        j.ended(ms + 10, number, failed, "another-server")
      )
    }
    const told = fold(events)
    assert.strictEqual(told.attempts.length, JobProfile.maxAttempts)
    assert.deepStrictEqual([told.droppedAttempts, told.attempts[0]?.number, told.queueMs], [6, 7, 100])
    near(told.retryWaitMs, 69 * 90)
  })

  it("begins in the middle where the beginning was missed", () => {
    const j = job()
    j.queued()
    j.placed(0, "gpu-1")
    const a = script()
    const told = fold([...j.run(50, 3, a.start(5, "1"), a.finish(9, "1"), a.completed(10)), j.succeeded(70)])
    assert.deepStrictEqual([told.queueMs, told.decidedBy, told.attempts[0]?.server], [null, 3, "gpu-1"])
    const k = job()
    k.queued()
    const placed = fold([k.placed(5, "gpu-1"), k.succeeded(9)])
    assert.deepStrictEqual([placed.queueMs, placed.queuedAtMs, placed.totalMs], [null, epoch + 5, 4])
  })

  it("does not take the run of one attempt for that of another where what lay between was missed", () => {
    const j = job()
    const a = script()
    const b = script(undefined, other)
    const begun = [j.queued(), j.placed(10, "gpu-1"), ...j.run(10, 1, a.started(1), a.start(2, "1"))]
    const told = fold([...begun, ...j.run(500, 2, b.started(10), b.completed(30)), j.succeeded(540)])
    assert.deepStrictEqual(told.attempts.map(({ number, run }) => [number, run.runId, run.state]), [
      [1, runId, "running"],
      [2, other, "completed"]
    ])
    assert.strictEqual(told.decidedBy, 2)
  })

  it("takes a gap of its own subscriber for the run that goes on, whatever number it bears", () => {
    const j = job()
    const a = script()
    const begun = [j.queued(), j.placed(10, "gpu-1"), ...j.run(10, 2, a.started(1), a.start(2, "1"))]
    const lost = j.run(10, 1, a.lost(50, 2))
    const told = fold([...begun, ...lost, ...j.run(10, 2, a.completed(60))])
    assert.deepStrictEqual(told.attempts.map(({ number, run }) => [number, run.gaps.consumer]), [[2, 1]])
  })

  it.effect("is a sink and a stream, of what a real server said too", () =>
    Effect.gen(function*() {
      const { events, workflow } = run("0.33.0/31-async-parallel.jsonl", 0)
      const j = job()
      const all = [j.queued(), j.placed(30, "gpu-1"), ...j.run(30, 1, ...events), j.succeeded(2_000)]
      const told = yield* Stream.run(Stream.fromIterable(all), JobProfile.sink(workflow))
      const live = yield* Stream.runCollect(JobProfile.live(Stream.rechunk(Stream.fromIterable(all), 3), workflow))
      assert.deepStrictEqual(live.at(-1), told)
      const first = told.attempts[0] ?? assert.fail("no attempt")
      near(nodeOf(first.run, "3").durationMs, 439.96 - 18.96)
      assert.deepStrictEqual([told.state, told.decidedBy, first.run.state], ["succeeded", 1, "completed"])
    }))
})
