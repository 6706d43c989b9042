import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import * as ExportCsv from "@effect-comfyui/profiling/ExportCsv"
import * as ExportJson from "@effect-comfyui/profiling/ExportJson"
import * as ExportTrace from "@effect-comfyui/profiling/ExportTrace"
import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import { aCourse, jobOf } from "./support/arbitrary.ts"
import { chain, epoch, script } from "./support/events.ts"
import { profile, run } from "./support/recorded.ts"
import { opens, read, type TraceEvent } from "./support/trace.ts"

const aJob = fc.array(fc.record({ course: aCourse, waitMs: fc.integer({ min: 0, max: 1e4 }) }), { maxLength: 3 }).map((
  runs
) => JobProfile.snapshot(jobOf(runs).reduce((state, event) => JobProfile.step(state, event), JobProfile.init())))

const textOf = (text: Stream.Stream<string>): string => Effect.runSync(Stream.mkString(text))

/** A job with one attempt, from `placed` to `ended` on its server. */
const job = (
  name: string,
  server: string,
  placed: number,
  ended: number,
  run: JobProfile.AttemptProfile["run"] = profile([])
): JobProfile.JobProfile => ({
  jobId: JobId.make(name),
  state: "succeeded",
  reason: null,
  queuedAtMs: epoch,
  queueMs: placed,
  retryWaitMs: 0,
  transferMs: 0,
  totalMs: ended,
  attempts: [{
    number: 1,
    server: BackendId.make(server),
    why: { policy: "first-idle" },
    waitMs: placed,
    placedMs: placed,
    startMs: placed,
    endMs: ended,
    transferMs: 0,
    transferBytes: 0,
    transfers: 0,
    verdict: "done",
    reason: null,
    run
  }],
  droppedAttempts: 0,
  decidedBy: 1
})

describe("ExportJson", () => {
  it("is read again as it was, whatever batches the jobs come in", () =>
    fc.assert(fc.property(fc.array(aJob, { maxLength: 5 }), fc.integer({ min: 1, max: 5 }), (jobs, size) => {
      const text = textOf(ExportJson.stream(Stream.rechunk(Stream.fromIterable(jobs), size)))
      assert.deepStrictEqual(Result.getOrThrow(ExportJson.fromJson(text)), jobs)
    })))

  it("refuses another version by a typed error", () => {
    const read = ExportJson.fromJson("{\"version\":2,\"jobs\":[]}")
    assert.isTrue(Result.isFailure(read) && read.failure.reason._tag === "UnsupportedVersion")
  })
})

/** RFC 4180, read strictly. */
const parseCsv = (text: string): ReadonlyArray<ReadonlyArray<string>> => {
  const rows: Array<Array<string>> = []
  const field = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/y
  for (let row: Array<string> = []; field.lastIndex < text.length;) {
    const [, cell = "", end] = field.exec(text) ?? assert.fail("not RFC 4180")
    row.push(cell.startsWith("\"") ? cell.slice(1, -1).replaceAll("\"\"", "\"") : cell)
    if (end === ",") continue
    rows.push(row)
    row = []
  }
  return rows
}

describe("ExportCsv", () => {
  it("has a row per node of every attempt, under a header", () => {
    const { events, workflow } = run("0.33.0/31-async-parallel.jsonl", 0)
    const text = textOf(ExportCsv.nodes(Stream.make(job("j", "gpu-1", 3, 2_000, profile(events, workflow)))))
    const [header, ...rows] = parseCsv(text)
    assert.deepStrictEqual(header, [...ExportCsv.nodeColumns])
    assert.deepStrictEqual(rows.map((row) => row.slice(5, 11)), [
      ["1", "1", "StubImage", "StubImage", "executed", "1"],
      ["3", "3", "TestSleep", "TestSleep", "executed", "1"],
      ["2", "2", "TestSleep", "TestSleep", "executed", "1"],
      ["4", "4", "TestVariadicAverage", "TestVariadicAverage", "executed", "1"],
      ["5", "5", "PreviewImage", "PreviewImage", "executed", "1"]
    ])
  })

  it("keeps every text, and lets none be a formula", () =>
    fc.assert(fc.property(
      fc.array(
        fc.oneof(
          fc.string({ unit: "binary", minLength: 1, maxLength: 20 }),
          fc.tuple(fc.constantFrom("=", "+", "-", "@", "\t", "\r", "\"", ",", "\n"), fc.string()).map((all) =>
            all.join("")
          )
        ),
        { minLength: 1, maxLength: 4 }
      ),
      (names) => {
        const text = textOf(ExportCsv.jobs(Stream.fromIterable(names.map((name) => job(name, name, 1, 2)))))
        const [header, ...rows] = parseCsv(text)
        assert.deepStrictEqual(header, [...ExportCsv.jobColumns])
        assert.deepStrictEqual(rows.map(([first = ""]) => first.replace(/^'(?=[=+\-@\t\r])/, "")), names)
        for (const row of rows) for (const cell of row) assert.notMatch(cell, /^[=+@\t\r]|^-(?!\d)/)
        assert.isFalse(/(?<!\r)\n(?=a1:|job)/.test(text))
      }
    )))
})

const trace = (jobs: ReadonlyArray<JobProfile.JobProfile>): ReadonlyArray<TraceEvent> =>
  read(textOf(ExportTrace.stream(Stream.fromIterable(jobs))))

describe("ExportTrace", () => {
  it("opens, whatever the jobs", () =>
    fc.assert(fc.property(fc.array(aJob, { maxLength: 6 }), (jobs) => assert.isTrue(opens(trace(jobs))))))

  it("lays out a run: nodes in their attempt, parallel ones beside it, expanded ones in the node they come from", () => {
    const { events, workflow } = run("0.33.0/31-async-parallel.jsonl", 1)
    const told = trace([job("j", "gpu-1", 3, 2_000, profile(events, workflow))])
    assert.isTrue(opens(told))
    const nodes = told.filter(({ cat }) => cat === "node")
    assert.strictEqual(nodes.length, 13)
    const tidOf = (nodeId: string) => nodes.find(({ args }) => args["nodeId"] === nodeId)?.tid
    // 2 and 3 at once; what they expanded into three at once each, the first of which stands in its parent.
    assert.strictEqual(tidOf("2"), tidOf("1"))
    assert.notStrictEqual(tidOf("3"), tidOf("2"))
    assert.strictEqual(tidOf("2.0.0.3"), tidOf("2"))
    assert.strictEqual(tidOf("3.0.0.3"), tidOf("3"))
    assert.strictEqual(new Set(["2.0.0.1", "2.0.0.2", "2.0.0.3", "3.0.0.1", "3.0.0.2", "3.0.0.3"].map(tidOf)).size, 6)
    // 1 began 1016.01 - 1012.22 ms after the run, 3 ms after the job, at the epoch of these tests.
    const [first] = nodes
    assert.strictEqual(first?.ts, Math.round((epoch + 3 + (1016.01 - 1012.22)) * 1_000))
  })

  it("lets no node stand upon its parent that outlives it", () => {
    const s = script()
    const events = [
      s.started(0),
      s.start(0, "3"),
      s.start(10, "3.0.0.1", { displayId: "3", parentId: "3" }),
      s.finish(20, "3"),
      s.finish(30, "3.0.0.1"),
      s.completed(40)
    ]
    const told = trace([job("j", "gpu-1", 3, 100, profile(events))])
    assert.isTrue(opens(told))
    const nodes = told.filter(({ cat }) => cat === "node")
    assert.deepStrictEqual(nodes.map(({ dur }) => dur), [20_000, 20_000])
    assert.notStrictEqual(nodes[0]?.tid, nodes[1]?.tid)
  })

  it("has a process per server, and the lowest free slot for each job", () => {
    const told = trace([
      job("a", "gpu-1", 0, 10),
      job("b", "gpu-1", 5, 15),
      job("c", "gpu-2", 5, 20),
      job("d", "gpu-1", 10, 25),
      job("e", "gpu-1", 12, 30)
    ])
    assert.isTrue(opens(told))
    const processes = new Map(
      told.filter(({ name }) => name === "process_name").map(({ args, pid }) => [pid, args["name"]])
    )
    assert.deepStrictEqual([...processes.values()], ["queue", "gpu-1", "gpu-2"])
    const threads = new Map(
      told.filter(({ name }) => name === "thread_name").map(({ args, pid, tid }) => [`${pid}/${tid}`, args["name"]])
    )
    const places = told.filter(({ cat }) => cat === "attempt").map(({ pid, tid }) => [
      processes.get(pid),
      threads.get(`${pid}/${tid}`)
    ])
    assert.deepStrictEqual(places, [
      ["gpu-1", "slot 1"],
      ["gpu-1", "slot 2"],
      ["gpu-2", "slot 1"],
      ["gpu-1", "slot 1"],
      ["gpu-1", "slot 3"]
    ])
  })

  it("counts who waits, and draws an arrow from the submission to the first start", () => {
    const told = trace([job("a", "gpu-1", 0, 10), job("b", "gpu-1", 10, 20), job("c", "gpu-1", 20, 30)])
    const depth = told.filter(({ ph }) => ph === "C").map(({ args, ts }) => [ts / 1_000 - epoch, args["jobs"]])
    assert.deepStrictEqual(depth, [[1, 2], [11, 1], [21, 0]])
    const arrows = told.filter(({ ph }) => ph === "s" || ph === "f").map((
      { id, ph, ts }
    ) => [ph, id, ts / 1_000 - epoch])
    assert.deepStrictEqual(arrows, [["s", 1, 0], ["f", 1, 0], ["s", 2, 0], ["f", 2, 10], ["s", 3, 0], ["f", 3, 20]])
  })

  it("keeps 4,096 points of the queue at most, each of them exact", () => {
    const jobs = Array.from(
      { length: 5_000 },
      (_, i) => ({ ...job(`j${i}`, "gpu-1", 3, 4), queuedAtMs: epoch + 7 * i })
    )
    const told = trace(jobs)
    const depth = told.filter(({ ph }) => ph === "C")
    assert.isAtMost(depth.length, 4_096)
    for (const { args, ts } of depth) {
      // A job waits from 7 i to 7 i + 3, and one of them at most.
      const waits = jobs.filter(({ queuedAtMs }) =>
        (queuedAtMs ?? 0) < ts / 1_000 && ts / 1_000 <= (queuedAtMs ?? 0) + 3
      )
      assert.strictEqual(args["jobs"], waits.length)
    }
  })

  it("starts anew for every subscriber", () => {
    const told = ExportTrace.stream(Stream.make(job("a", "gpu-1", 0, 10, profile([script().started(0)], chain("1")))))
    assert.strictEqual(textOf(told), textOf(told))
  })
})
