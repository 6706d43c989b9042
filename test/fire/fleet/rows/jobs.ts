/** Rows 30, 31, 33, 34, 36 and 40: jobs that are cancelled, fail by themselves or are not listened to, and no server. */
import { Fault, type VersionProfile, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { workflowOf } from "../../Scenario.ts"
import { isOver } from "../Crowd.ts"
import { endingOf, nameOf, recordsOf, triesOf } from "../Judge.ts"
import type { Observation, SeenJob } from "../Observation.ts"
import { type FleetRow, injectAll, long, share, succeeding } from "../Row.ts"
import type { FleetJob } from "../Scenario.ts"
import type { World } from "../World.ts"

/** Cancelling by id came with 0.3.68 or so: those before can only interrupt whatever runs. */
const untargeted: ReadonlyArray<VersionProfile.Version> = ["0.3.64"]

const strangers = ({ servers, stranger }: World, seconds: number) =>
  Effect.forEach(servers, (_, index) =>
    Effect.gen(function*() {
      yield* Effect.sleep(index * 700)
      yield* stranger(index, Workflows.slow({ seconds: seconds + index }))
      yield* Effect.sleep(3_000)
      yield* stranger(index, Workflows.counting({ steps: 10 + index, stepMs: 300 }))
    }), { concurrency: "unbounded", discard: true })

const stepMs = 200

/** Cancels each job some milliseconds before or after the end of its last step. */
const cancelAtEnd = ({ crowd }: World, dial: number) =>
  Effect.gen(function*() {
    const asked = new Set<number>()
    for (let look = 0; look < 6_000; look++) {
      const now = yield* Clock.currentTimeMillis
      for (const running of crowd.running) {
        const { events } = running.main
        const progress = events.filter((event) => event._tag === "Attempt" && event.event._tag === "NodeProgress")
        const last = progress.at(-1)
        const left = running.job.size * 2 + running.index - progress.length
        if (asked.has(running.index) || left > 1 || last === undefined) continue
        asked.add(running.index)
        const offset = (dial + running.index) % 9 - 4
        yield* Effect.forkScoped(Effect.delay(crowd.cancel(running), Math.max(0, last.at + stepMs + offset - now)))
      }
      if (crowd.running.length > 0 && crowd.running.every(isOver)) return
      yield* Effect.sleep(10)
    }
  })

/** Those of tenant `a` are poisoned. */
const isPoisoned = ({ tenant }: FleetJob): boolean => tenant === "a"

/** Of one kind, and each of another content. */
const raisingLate = (index: number): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "FakeSleep", inputs: { seconds: 3 + index / 100, watches: true } },
    "2": { class_type: "FakeRaise", inputs: { type: "ValueError", message: `job ${index}`, value: ["1", 0] } }
  })

const refused = (index: number): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "FakeSteps", inputs: { count: -index - 1, milliseconds: 1, preview: false } }
  })

const poisoned = (poison: (index: number) => Workflow.Workflow) => (job: FleetJob, index: number) =>
  isPoisoned(job) ? poison(index) : workflowOf(job, index)

const isOf = (poison: boolean) => ({ job }: SeenJob): boolean => isPoisoned(job) === poison

/** Poisoned jobs fail for this reason, are tried once on each server at most, and block nobody else. */
const harmless =
  (reason: string, blocks: "pairs" | "half" | "nothing") => (seen: Observation): ReadonlyArray<string> => {
    const out: Array<string> = []
    for (const job of seen.jobs.filter(isOf(true))) {
      const ending = endingOf(job.main)
      if (ending === undefined || ending._tag !== "JobFailed" || ending.error.reason._tag !== reason) {
        out.push(`job ${job.index}: ${ending === undefined ? "open" : nameOf(ending)}, not ${reason}`)
      }
      if (reason === "Rejected" && triesOf(job) !== 1) out.push(`job ${job.index}: refused ${triesOf(job)} times`)
      if (triesOf(job) > 2) out.push(`job ${job.index}: tried ${triesOf(job)} times`)
    }
    for (const job of seen.jobs.filter(isOf(false))) {
      const ending = endingOf(job.main)
      if (ending?._tag !== "JobSucceeded") {
        out.push(`job ${job.index}: ${ending === undefined ? "open" : nameOf(ending)}`)
      }
    }
    for (const event of seen.serverEvents) {
      if (event._tag !== "ServerBlocked" || (blocks === "half" && event.key === null)) continue
      if (blocks === "nothing" || event.key === null) {
        out.push(`${event.server} was blocked for ${event.key ?? "all"}: ${event.cause}`)
      }
    }
    return out
  }

const poisonShape = { kinds: ["picture", "counting", "slow"], minJobs: 12, maxJobs: 20, maxSize: 6 } as const

/** So deep that each depth is a workflow of its own. */
const deep = (depth: number): Workflow.Workflow =>
  Workflow.fromNodes({
    "0": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 1 } },
    ...Object.fromEntries(Array.from({ length: depth }, (_, index) => [
      `${index + 1}`,
      { class_type: "ImageInvert", inputs: { image: [`${index}`, 0] } }
    ])),
    "raise": { class_type: "FakeRaise", inputs: { type: "ValueError", message: "deep", value: [`${depth}`, 0] } }
  })

const hasGap = ({ others }: SeenJob): boolean =>
  others.some(({ events }) => events.some((event) => event._tag === "Attempt" && event.event._tag === "Gap"))

/** It fits into the buffer of whoever listens slowly. */
const isShort = ({ main }: SeenJob): boolean => main.events.length < 20

/**
 * The most servers that counting had out as a whole at one time. Not looked at is the sum of those that are out as a whole
 * and those that are out for one workflow: each is bound by half, and together they may be all.
 */
const mostEjected = (seen: Observation): number => {
  const out = new Set<string>()
  let most = 0
  for (const event of seen.serverEvents) {
    if (event._tag === "ServerBlocked" && event.key === null) out.add(event.server)
    if (event._tag === "ServerUnblocked" && event.key === null) out.delete(event.server)
    most = Math.max(most, out.size)
  }
  return most
}

const halfAtMost = (seen: Observation): ReadonlyArray<string> => {
  const most = mostEjected(seen)
  return most <= Math.floor(seen.servers.length / 2)
    ? []
    : [`${most} of ${seen.servers.length} servers are out by counting`]
}

export const jobs: ReadonlyArray<FleetRow> = [
  {
    row: 30,
    name: "cancelled at any moment",
    shape: { ...succeeding, cancels: true },
    strike: () => Effect.void
  },
  {
    row: 30,
    name: "cancelled in the milliseconds of its end",
    shape: { kinds: ["counting"], maxSize: 8, minJobs: 2 },
    strike: (world, { dial }) => cancelAtEnd(world, dial)
  },
  {
    row: 30,
    name: "cancelled while a server dies",
    shape: { ...long, cancels: true },
    strike: ({ victim }, now) =>
      victim.kill.pipe(Effect.andThen(Effect.sleep(share(now, 0, 10_000))), Effect.andThen(victim.restart)),
    permits: { reasons: ["Lost", "Unreachable", "SubmitAmbiguous"], doubt: true }
  },
  {
    row: 31,
    name: "cancelled beside others, on servers that can only interrupt what runs",
    shape: { ...long, cancels: true, versions: untargeted },
    strike: (world, now) => strangers(world, share(now, 1, 20))
  },
  {
    row: 31,
    name: "cancelled beside others behind which jobs queue, on servers that can only interrupt what runs",
    shape: { ...long, cancels: true, versions: untargeted },
    pool: { sharing: "greedy" },
    strike: (world, now) => strangers(world, share(now, 1, 20))
  },
  {
    row: 31,
    name: "cancelled beside others, on servers of all releases",
    shape: { ...long, cancels: true },
    pool: { sharing: "greedy" },
    strike: (world, now) => strangers(world, share(now, 1, 20))
  },
  {
    row: 33,
    name: "one tenant's workflow is refused by every server",
    shape: poisonShape,
    workflow: poisoned(refused),
    strike: () => Effect.void,
    permits: { reasons: ["Rejected"], otherWorkflows: true },
    also: harmless("Rejected", "nothing")
  },
  {
    row: 33,
    name: "one tenant's workflow runs out of memory everywhere",
    shape: poisonShape,
    workflow: poisoned((index) => Workflows.outOfMemory({ seconds: 1 + index / 100 })),
    strike: () => Effect.void,
    permits: { reasons: ["OutOfMemory"], otherWorkflows: true },
    also: harmless("OutOfMemory", "nothing")
  },
  {
    row: 33,
    name: "one tenant's workflow always raises, after some seconds",
    shape: poisonShape,
    workflow: poisoned(raisingLate),
    strike: () => Effect.void,
    permits: { reasons: ["NodeFailed"], otherWorkflows: true, withinMs: 2 * 3_600_000 },
    also: harmless("NodeFailed", "pairs")
  },
  {
    row: 33,
    name: "one tenant's workflow always raises, at once",
    shape: poisonShape,
    workflow: poisoned((index) => Workflows.raising({ message: `job ${index}` })),
    strike: () => Effect.void,
    // Five of them in a row look like a broken server: half of the fleet at most is taken for one, for five minutes.
    permits: { reasons: ["NodeFailed"], otherWorkflows: true },
    also: (seen) => [...harmless("NodeFailed", "half")(seen), ...halfAtMost(seen)]
  },
  {
    row: 34,
    name: "whoever listens takes ten seconds for each event",
    shape: { kinds: ["counting", "drawing", "picture"], minJobs: 2, maxSize: 12 },
    slowConsumerMs: 10_000,
    patienceMs: 6 * 3_600_000,
    strike: ({ pool }) =>
      Effect.asVoid(Effect.forkScoped(Stream.runForEach(pool.events, () => Effect.sleep("1 minute")))),
    permits: { withinMs: 5 * 60_000 },
    also: (seen) => seen.jobs.some(hasGap) || seen.jobs.every(isShort) ? [] : ["nobody was told of a gap"]
  },
  {
    row: 36,
    name: "more workflows fail than there is room for circuits",
    shape: { kinds: ["picture"], minJobs: 30, maxJobs: 40, servers: [2, 3] },
    pool: { breakers: { keyFailures: 1, keyContents: 1, ejectShare: 1, cap: 6, fastFailures: 1_000 } },
    workflow: (_, index) => deep(index),
    strike: () => Effect.void,
    permits: { reasons: ["NodeFailed"], otherWorkflows: true, maxBlocked: 6, withinMs: 3 * 3_600_000 },
    also: (seen) => {
      const blocked = seen.serverEvents.filter(({ _tag }) => _tag === "ServerBlocked").length
      return blocked > 6 ? [] : [`only ${blocked} circuits ever opened`]
    }
  },
  {
    row: 40,
    name: "every server is away, and comes back",
    shape: succeeding,
    strike: ({ servers }, now) =>
      Effect.gen(function*() {
        for (const { kill } of servers) yield* kill
        yield* Effect.sleep(share(now, 1_000, 100_000))
        for (const { restart } of servers) yield* restart
      }),
    permits: { reasons: ["Lost", "Unreachable", "SubmitAmbiguous"], doubt: true }
  },
  {
    row: 40,
    name: "every server is away for good, and jobs have a deadline",
    shape: { ...long, minJobs: 4 },
    options: () => ({ deadline: "10 minutes" }),
    strike: ({ servers }) => Effect.forEach(servers, ({ kill }) => kill, { discard: true }),
    permits: {
      reasons: ["NoEligibleServer", "DeadlineExceeded", "Unreachable", "Lost", "SubmitAmbiguous"],
      doubt: true,
      withinMs: 10 * 60_000 + 5_000
    },
    also: (seen) =>
      seen.jobs.flatMap((job) => {
        const ending = endingOf(job.main)
        if (ending?._tag !== "JobFailed") return []
        const { _tag } = ending.error.reason
        const early = ending.at - job.submittedAt < 600_000
        const never = recordsOf(job, seen).length === 0
        if (never && _tag !== "NoEligibleServer") return [`job ${job.index}, which nobody took: ${_tag}`]
        return _tag === "NoEligibleServer" && early ? [`job ${job.index}: no server, before its deadline`] : []
      })
  },
  {
    row: 40,
    name: "every server fails at once in everything",
    shape: { kinds: ["picture"], minJobs: 20, maxJobs: 30, servers: [2, 6], arrivalsMs: 60_000 },
    pool: { breakers: { open: 5_000, openCap: 20_000 } },
    strike: injectAll(() => [Fault.onNode({}, Fault.raise("RuntimeError", "a broken installation"))]),
    permits: { reasons: ["NodeFailed"] },
    also: halfAtMost
  }
]
