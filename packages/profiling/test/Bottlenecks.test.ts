import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import * as Bottlenecks from "@effect-comfyui/profiling/Bottlenecks"
import type { AttemptProfile, JobProfile } from "@effect-comfyui/profiling/JobProfile"
import * as Profile from "@effect-comfyui/profiling/Profile"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { script } from "./support/events.ts"

interface Run {
  readonly server: string
  readonly ms: number
  readonly coldMs?: number
  readonly reason?: string
  readonly transferMs?: number
  readonly classType?: string
}

const attempt = (run: Run): AttemptProfile => {
  const { classType = "KSampler", coldMs, ms, reason = null, server, transferMs = 0 } = run
  const s = script()
  const state = Profile.init()
  const events = [
    s.submitted(0),
    s.started(0),
    s.start(0, "1", { classType }),
    ...classType === "KSampler" ? [s.progress(ms / 2, "1", 10)] : [],
    s.finish(ms, "1"),
    s.completed(ms)
  ]
  for (const event of events) {
    Profile.step(state, event)
  }
  return {
    number: 1,
    server: BackendId.make(server),
    why: {},
    waitMs: 0,
    placedMs: 0,
    startMs: 0,
    endMs: ms,
    transferMs,
    transferBytes: 0,
    transfers: 0,
    verdict: reason === null ? "done" : "another-server",
    reason,
    run: {
      ...Profile.snapshot(state),
      coldSurchargeMs: coldMs === undefined ? null : { value: coldMs, samples: 3 }
    }
  }
}

/** Jobs one after the other, a second each or as long as they are. */
const job = (index: number, key: string, queueMs: number, ...runs: ReadonlyArray<Run>): Bottlenecks.Observation => {
  const ms = runs.reduce((sum, run) => sum + run.ms + (run.transferMs ?? 0), 0)
  const profile: JobProfile = {
    jobId: JobId.make(`job-${index}`),
    state: "succeeded",
    reason: null,
    queuedAtMs: 1_000 * index,
    queueMs,
    retryWaitMs: 0,
    transferMs: 0,
    totalMs: queueMs + ms,
    attempts: runs.map(attempt),
    droppedAttempts: 0,
    decidedBy: 1
  }
  return { profile, key }
}

const many = (each: (index: number) => Bottlenecks.Observation) => Array.from({ length: 20 }, (_, index) => each(index))

const found = (jobs: ReadonlyArray<Bottlenecks.Observation>) => Bottlenecks.report(jobs).findings

describe("Bottlenecks", () => {
  it("says how much of a server's time is cold surcharge, and how many sets of models alternate there", () => {
    const jobs = many((i) =>
      job(i, `a1:${i % 3}`, 0, { server: "b", ms: 1_000, ...i % 5 < 2 ? { coldMs: 950 } : {} }, {
        server: "c",
        ms: 1_000
      })
    )
    const [cold, ...more] = found(jobs)
    assert.deepStrictEqual(more, [])
    assert.deepInclude(cold, { kind: "cold", server: BackendId.make("b"), lostMs: 4_750, ofMs: 20_000, share: 0.2375 })
    assert.deepStrictEqual(cold?.figures, { runs: 20, coldRuns: 5, keys: 3 })
    assert.strictEqual(
      cold?.advice,
      "24 % of the time of server b (4.8 s of 20.0 s) is cold surcharge: jobs of 3 sets of models alternate there, " +
        "5 of 20 runs had to load again. Give it fewer of them (tags, prefer), or more memory."
    )
  })

  it("does not count the first run of each set of models: somebody has to load them", () => {
    assert.deepStrictEqual(found(many((i) => job(i, `a1:${i}`, 0, { server: "b", ms: 1_000, coldMs: 900 }))), [])
  })

  it("never takes more from a run than it took", () => {
    const [cold] = found(many((i) => job(i, "a1:a", 0, { server: "b", ms: 100, coldMs: 5_000 })))
    assert.deepInclude(cold, { kind: "cold", share: 0.95, lostMs: 1_900, ofMs: 2_000 })
    assert.include(cold?.advice ?? "", "19 of 20 runs had to load again, all of one set of models")
  })

  it("says what went into attempts that failed, and of what most", () => {
    const jobs = many((i) =>
      i < 4
        ? job(i, "a1:a", 0, { server: "b", ms: 500, reason: i === 0 ? "Lost" : "OutOfMemory" }, {
          server: "c",
          ms: 1_000
        })
        : job(i, "a1:a", 0, { server: "b", ms: 1_000 })
    )
    const [failures, ...more] = found(jobs)
    assert.deepStrictEqual(more, [])
    assert.deepInclude(failures, { kind: "failures", server: BackendId.make("b"), lostMs: 2_000, ofMs: 18_000 })
    assert.deepStrictEqual(failures?.figures, { runs: 20, failed: 4, reason: "OutOfMemory", ofReason: 3 })
  })

  it("does not call a cancelled run a failure", () => {
    assert.deepStrictEqual(found(many((i) => job(i, "a1:a", 0, { server: "b", ms: 500, reason: "Cancelled" }))), [])
  })

  it("tells files on their way", () => {
    const [transfers] = found(many((i) => job(i, "a1:a", 0, { server: "b", ms: 750, transferMs: 250 })))
    assert.deepInclude(transfers, { kind: "transfers", lostMs: 5_000, ofMs: 20_000, share: 0.25 })
  })

  it("tells a fleet that is too small from one that stands idle while jobs wait", () => {
    const busy = found(many((i) => job(i, "a1:a", 3_000, { server: "b", ms: 1_000 })))
    assert.deepStrictEqual(busy.map(({ kind }) => kind), ["queue"])
    assert.include(busy[0]?.advice ?? "", "more servers would help")
    const idle = found([
      ...many((i) => job(i, "a1:a", 3_000, { server: "b", ms: 1_000 })),
      job(20, "a1:b", 0, { server: "c", ms: 500 })
    ])
    assert.deepStrictEqual(idle.map(({ kind, server }) => [kind, server]).toSorted(), [["idle", "c"], ["queue", null]])
    assert.include(idle.find(({ kind }) => kind === "queue")?.advice ?? "", "ask explain")
  })

  it("names a class that takes time without counting steps", () => {
    const jobs = many((i) =>
      job(i, "a1:a", 0, { server: "b", ms: 700 }, { server: "b", ms: 300, classType: "ImageUpscale" })
    )
    const [upscale, ...more] = found(jobs)
    assert.deepStrictEqual(more, [])
    assert.deepInclude(upscale, { kind: "class", figures: { classType: "ImageUpscale" } })
    assert.closeTo(upscale?.share ?? 0, 0.3, 1e-9)
  })

  it("says nothing of few jobs, and survives JSON", () => {
    const jobs = many((i) => job(i, "a1:a", 0, { server: "b", ms: 100, coldMs: 5_000 }))
    assert.deepStrictEqual(Bottlenecks.report(jobs.slice(0, 9)).findings, [])
    assert.deepStrictEqual(Bottlenecks.report([]), { jobs: 0, windowMs: 0, findings: [] })
    const report = Bottlenecks.report(jobs)
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(Bottlenecks.Report)(report)))
    assert.deepStrictEqual(Schema.decodeUnknownSync(Bottlenecks.Report)(json), report)
  })
})
