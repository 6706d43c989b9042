// Runs and jobs by chance: any order of starts, ends, steps, gaps and bad endings.
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as fc from "fast-check"
import { backend, epoch, nodeFailed, runId, script } from "./events.ts"

const nodeIds = ["1", "2", "3", "3.0.0.1", "3.0.0.1.0.0.1"] as const

const shownOf = (nodeId: string) => {
  const parentId = /^(.*)\.0\.0\.\d$/.exec(nodeId)?.[1]
  return parentId === undefined ? {} : { displayId: "3", parentId }
}

const kinds = [
  ...["start", "start", "start", "finish", "finish", "finish"],
  ...["progress", "progress", "progress", "progress", "output", "cached", "gap", "lost"]
]

const aMove = fc.record({
  after: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e5, noNaN: true })),
  kind: fc.constantFrom(...kinds),
  nodeId: fc.constantFrom(...nodeIds),
  value: fc.nat(20)
})

type Ways = "completed" | "failed" | "cancelled" | "open"

/** How a run goes; the same one may be told under any wall clock. */
export interface Course {
  readonly moves: ReadonlyArray<
    { readonly after: number; readonly kind: string; readonly nodeId: string; readonly value: number }
  >
  readonly way: Ways
}

export const aCourse: fc.Arbitrary<Course> = fc.record({
  moves: fc.array(aMove, { maxLength: 60 }),
  way: fc.constantFrom<Ways>("completed", "failed", "cancelled", "open")
})

export const eventsOf = (
  { moves, way }: Course,
  wall: (elapsed: number) => number = (elapsed) => epoch + elapsed,
  id = runId
): ReadonlyArray<ExecutionEvent> => {
  const s = script(wall, id)
  let now = 1
  const events = [s.submitted(0.25), s.started(now, 5)]
  for (const { after, kind, nodeId, value } of moves) {
    now += after
    switch (kind) {
      case "start":
        events.push(s.start(now, nodeId, shownOf(nodeId)))
        break
      case "finish":
        events.push(s.finish(now, nodeId))
        break
      case "progress":
        events.push(s.progress(now, nodeId, value))
        break
      case "output":
        events.push(s.output(now, nodeId, value % 2 === 0))
        break
      case "cached":
        events.push(s.cached(now, nodeId))
        break
      case "gap":
        events.push(s.gap(now, "socket"))
        break
      default:
        events.push(s.lost(now, value % 3))
    }
  }
  if (way === "completed") events.push(s.completed(now + 1))
  if (way === "failed") events.push(s.failed(now + 1, nodeFailed("3")))
  if (way === "cancelled") events.push(s.cancelled(now + 1))
  return events
}

/** Some of these events again, each somewhere behind itself. */
export const repeated = <E>(events: ReadonlyArray<E>): fc.Arbitrary<ReadonlyArray<E>> =>
  fc.array(fc.tuple(fc.nat(Math.max(0, events.length - 1)), fc.nat(10)), { maxLength: 20 }).map((again) => {
    const slots = events.map((event) => [event])
    for (const [from, later] of again) {
      const event = events[from]
      if (event !== undefined) slots[Math.min(events.length - 1, from + later)]?.push(event)
    }
    return slots.flat()
  })

const number = fc.oneof(fc.constantFrom(Number.NaN, Infinity, -1, 0), fc.double({ noNaN: true }))

/** Events in no order, with times that no clock shows. */
export const hostile: fc.Arbitrary<ReadonlyArray<ExecutionEvent>> = aCourse.chain((course) =>
  fc.array(fc.record({ elapsed: number, at: number, sequence: fc.integer({ min: -1, max: 40 }) }), {
    minLength: 80,
    maxLength: 80
  })
    .chain((times) =>
      fc.shuffledSubarray(eventsOf(course).map((event, i) => ({ ...event, ...times[i] })), { minLength: 0 })
    )
)

const jobId = JobId.make("job-1")

/** A job of these runs, each on its way to a server first. */
export const jobOf = (
  runs: ReadonlyArray<{ readonly course: Course; readonly waitMs: number }>,
  wall: (ms: number) => number = (ms) => epoch + ms
): ReadonlyArray<JobEvent> => {
  let sequence = 0
  let now = 0
  const common = () => ({ jobId, sequence: sequence++, at: wall(now) })
  const events: Array<JobEvent> = [{ _tag: "Queued", ...common() }]
  runs.forEach(({ course, waitMs }, i) => {
    now += waitMs
    const number = i + 1
    events.push({ _tag: "Placed", ...common(), server: backend, why: { policy: "cost-aware", warm: i > 0 } })
    now += 5
    events.push({ _tag: "Transferred", ...common(), file: "a.png", bytes: 1_000, ms: 4 })
    const begun = now
    const run = eventsOf({ ...course, way: course.way === "open" ? "cancelled" : course.way })
    for (const event of run) {
      now = begun + event.elapsed
      const passes = event._tag === "NodeProgress" || (event._tag === "Gap" && event.cause === "consumer")
      const shared = passes ? { jobId, sequence: sequence - 1, at: wall(now) } : common()
      events.push({ _tag: "Attempt", ...shared, number, event })
    }
    const ending = run.at(-1)
    const executions = { atLeast: number, atMost: number }
    if (ending?._tag === "Completed" || ending?._tag === "Failed" || ending?._tag === "Cancelled") {
      const verdict = i === runs.length - 1 ? ending._tag === "Completed" ? "done" : "give-up" : "another-server"
      events.push({ _tag: "AttemptEnded", ...common(), number, ending, verdict, executions })
    }
  })
  const executions = { atLeast: 1, atMost: 1 }
  events.push({ _tag: "JobSucceeded", ...common(), server: backend, outputs: {}, receipts: [], executions })
  return events
}
