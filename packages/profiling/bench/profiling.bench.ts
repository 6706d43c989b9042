// What a profile costs per event, and a trace of many jobs in time and memory.
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import * as ExportTrace from "@effect-comfyui/profiling/ExportTrace"
import type { JobProfile } from "@effect-comfyui/profiling/JobProfile"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ok } from "node:assert"

const runId = RunId.make("0b2f6c3e-5a8d-4e7b-9a56-1c2d3e4f5a6b")
const backend = BackendId.make("gpu-1")

/** So many nodes, each fed by the two before it. */
const graph = (nodes: number) =>
  Workflow.fromNodes(
    Object.fromEntries(Array.from({ length: nodes }, (_, i) => [
      `${i}`,
      { class_type: `Class${i % 40}`, inputs: i < 2 ? {} : { a: [`${i - 1}`, 0], b: [`${i - 2}`, 0] } }
    ]))
  )

/** Two nodes run at any time; each counts its steps. */
const eventsOf = (nodes: number, steps: number): ReadonlyArray<ExecutionEvent> => {
  let sequence = -1
  let elapsed = 0
  const common = () => ({ runId, backend, sequence, at: 1_700_000_000_000 + elapsed, elapsed })
  const next = () => {
    sequence++
    elapsed += 1.25
    return common()
  }
  const events: Array<ExecutionEvent> = [{ _tag: "Started", ...next(), serverAt: null }]
  for (let i = 0; i <= nodes; i++) {
    const nodeId = `${i}`
    const node = { nodeId, displayId: nodeId }
    if (i < nodes) {
      events.push({ _tag: "NodeStarted", ...next(), ...node, parentId: null, classType: `Class${i % 40}` })
      for (let value = 1; value <= steps; value++) {
        elapsed += 0.5
        events.push({ _tag: "NodeProgress", ...common(), ...node, value, max: steps })
      }
    }
    const before = `${i - 1}`
    if (i > 0) events.push({ _tag: "NodeFinished", ...next(), nodeId: before, displayId: before })
  }
  events.push({ _tag: "Completed", ...next(), via: "socket", outputs: {}, executions: { atLeast: 1, atMost: 1 } })
  return events
}

const workflow = graph(500)
const events = eventsOf(500, 4)

/** Microseconds of CPU per event; the profile's making counts, and one reading of it. */
const step = (): number => {
  const rounds = 30
  const before = process.cpuUsage()
  let nodes = 0
  for (let round = 0; round < rounds; round++) {
    const state = Profile.init(workflow)
    for (const event of events) Profile.step(state, event)
    nodes += Profile.snapshot(state).nodes.length
  }
  const { system, user } = process.cpuUsage(before)
  ok(nodes === rounds * 500)
  return (system + user) / (rounds * events.length)
}

const jobs = 10_000
const run = Profile.snapshot(eventsOf(48, 1).reduce((state, event) => Profile.step(state, event), Profile.init()))

/** On ten servers, four at a time on each of them. */
const jobsOf = function*(): Generator<JobProfile> {
  for (let i = 0; i < jobs; i++) {
    const queueMs = 1_000 + i % 7
    yield {
      jobId: JobId.make(`job-${i}`),
      state: "succeeded",
      reason: null,
      queuedAtMs: 1_700_000_000_000 + 4 * i,
      queueMs,
      retryWaitMs: 0,
      transferMs: 0,
      totalMs: queueMs + run.totalMs,
      attempts: [{
        number: 1,
        server: BackendId.make(`gpu-${i % 10}`),
        why: { policy: "cost-aware" },
        waitMs: queueMs,
        placedMs: queueMs,
        startMs: queueMs,
        endMs: queueMs + run.totalMs,
        transferMs: 0,
        transferBytes: 0,
        transfers: 0,
        verdict: "done",
        reason: null,
        run
      }],
      droppedAttempts: 0,
      decidedBy: 1
    }
  }
}

/** Of this process before it has written anything: a later round would find the heap grown already. */
let before: number | undefined

/** Seconds, and how many MB the process was above its beginning at most. */
const exported = () => {
  globalThis.gc?.()
  before ??= process.memoryUsage.rss()
  const begun = performance.now()
  let slices = 0
  let texts = 0
  let peak = process.memoryUsage.rss()
  Effect.runSync(Stream.runForEachArray(ExportTrace.stream(Stream.fromIterable(jobsOf())), (some) =>
    Effect.sync(() => {
      for (const text of some) slices += text.split("\"ph\":").length - 1
      if (++texts % 50 === 0) peak = Math.max(peak, process.memoryUsage.rss())
    })))
  ok(slices > 500_000)
  return { seconds: (performance.now() - begun) / 1_000, mb: (peak - before) / 1e6 }
}

const figure = { measure: "figure", noise: "wide" }

export const cases = [
  { name: "profile-step", goal: { maxAbsolute: 2 }, unit: "µs/event", ...figure, figure: step },
  { name: "export-trace", goal: { maxAbsolute: 3 }, unit: "s", ...figure, figure: () => exported().seconds },
  { name: "export-trace-rss", goal: { maxAbsolute: 100 }, unit: "MB", ...figure, figure: () => exported().mb }
]
