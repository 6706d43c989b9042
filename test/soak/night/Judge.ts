/** Compares what was told of the night's jobs with the ledgers of the servers. Pure: observations in, figures out. */
import type { FakeComfy } from "@effect-comfyui/testing"
import type { Leases } from "./Leases.ts"
import { isWithin, type Stroke } from "./Trouble.ts"
import type { SeenAttempt, SeenJob } from "./Watch.ts"

type PromptRecord = FakeComfy.Ledger["prompts"][number]

/** All that is known in the end. Times are milliseconds since the night began. */
export interface Observed {
  readonly jobs: ReadonlyArray<SeenJob>
  readonly ledgers: ReadonlyArray<FakeComfy.Ledger>
  /** Prompts of somebody else, with whether they interrupted them themselves. */
  readonly foreign: ReadonlyMap<string, { readonly interrupted: boolean }>
  readonly leases: Leases
  /** What befell the servers, for whoever reads of a wrong. */
  readonly strokes: ReadonlyArray<Stroke>
  /** Until then jobs came. */
  readonly arrivalsMs: number
}

/** What came of it. Those that a night must not have are in `wrongs`. */
export interface Figures {
  readonly endings: ReadonlyMap<string, number>
  /** Attempts by how they ended, without those that completed. */
  readonly attempts: ReadonlyMap<string, number>
  /** Prompts of the pool that servers began, and the most that their jobs said. */
  readonly executions: number
  readonly declared: number
  /** Attempts given up as `Unreachable` or `SubmitAmbiguous` whose prompt ran to its end: permitted, and to be few. */
  readonly ranOn: number
  readonly foreign: number
  /** Leases that ended while jobs came. */
  readonly leases: number
  /** Runs that were open when a lease ended: permitted to the slowest tenth of those that came close, and to be few. */
  readonly cut: number
  readonly paid: number
  /** Share of the time of all servers in which they ran something, while jobs came. */
  readonly busy: number
  /** Share of placements on a server that was warm for the job. */
  readonly warm: number
  /** Milliseconds from submission to the first placement. */
  readonly waits: {
    readonly pictures: ReadonlyArray<number>
    readonly videos: ReadonlyArray<number>
  }
  readonly wrongs: Readonly<Record<Wrong, ReadonlyArray<string>>>
}

/** What must not happen. */
export const wrongs = {
  lost: "jobs without exactly one ending",
  falselyLost: "lost, though the server lived and ran it",
  healthy: "healthy runs ended by our limits",
  doubled: "doubled, undeclared",
  untrue: "endings that contradict the ledger",
  interrupted: "prompts of others that we ended",
  paidTwice: "paid jobs that ran more than once"
} as const
export type Wrong = keyof typeof wrongs

const limits: ReadonlySet<string> = new Set(["NodeTimeout", "StartTimeout", "WorkerStuck"])
const givenUp: ReadonlySet<string> = new Set(["Unreachable", "SubmitAmbiguous"])
/** Their run is over on its server, and did not succeed. */
const failures: ReadonlySet<string> = new Set(["NodeFailed", "OutOfMemory", "GpuPoisoned", "DiskFull", "StorageFailed"])

const count = (counts: Map<string, number>, name: string): void => {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

const endingName = ({ endings: [ending] }: SeenJob): string => {
  if (ending === undefined) return "none"
  switch (ending._tag) {
    case "JobSucceeded":
      return "JobSucceeded"
    case "JobCancelled":
      return `JobCancelled by ${ending.by}`
    default:
      return `${ending._tag}(${ending.error.reason._tag})`
  }
}

const seconds = (ms: number | undefined): string => ms === undefined ? "never" : `${(ms / 1_000).toFixed(1)} s`

const total = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0)

/** The `q`-th part of the values is no larger; of none 0. */
export const quantile = (values: ReadonlyArray<number>, q: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? 0

export const judge = ({ arrivalsMs, foreign, jobs, leases, ledgers, strokes }: Observed): Figures => {
  const records = Map.groupBy(ledgers.flatMap(({ prompts }) => prompts), ({ promptId }) => promptId)
  const found: Record<Wrong, Array<string>> = {
    lost: [],
    falselyLost: [],
    healthy: [],
    doubled: [],
    untrue: [],
    interrupted: [],
    paidTwice: []
  }
  const endings = new Map<string, number>()
  const attempts = new Map<string, number>()
  let executions = 0
  let declared = 0
  let ranOn = 0
  const recordsOf = ({ runId }: SeenAttempt): ReadonlyArray<PromptRecord> =>
    runId === undefined ? [] : records.get(runId) ?? []

  /** What befell the server of an attempt while it was open. */
  const befell = ({ endedAt = Number.POSITIVE_INFINITY, placedAt, server }: SeenAttempt): string =>
    strokes
      .filter((stroke) => stroke.server === server && isWithin(stroke, placedAt, endedAt))
      .map(({ at, endedAt, name }) => `${name} (${seconds(at)} to ${seconds(endedAt)})`)
      .join(", ")

  const judgeAttempt = (where: string, attempt: SeenAttempt): void => {
    const ending = attempt.ending ?? "open"
    if (ending !== "Completed") count(attempts, ending)
    for (const { acceptedAt, endedAt, outcome = "open", startedAt } of recordsOf(attempt)) {
      const told =
        `${where} on ${attempt.server}, placed ${seconds(attempt.placedAt)}, ${ending} at ${
          seconds(attempt.endedAt)
        }; ` +
        `the server: accepted ${seconds(acceptedAt)}, began ${seconds(startedAt)}, ${outcome} at ${
          seconds(endedAt)
        }; ` +
        `meanwhile: ${befell(attempt)}`
      if (ending === "Lost" && attempt.serverLived && outcome !== "lost") found.falselyLost.push(told)
      if (limits.has(ending) && attempt.serverLived && startedAt !== undefined) found.healthy.push(told)
      if (givenUp.has(ending) && (outcome === "success" || outcome === "error")) ranOn++
      if (ending === "Completed" && outcome !== "success") found.untrue.push(told)
      if (failures.has(ending) && outcome === "success") found.untrue.push(told)
    }
    if (ending === "Completed" && recordsOf(attempt).length === 0) {
      found.untrue.push(`${where}: completed on ${attempt.server}, which knows nothing of it`)
    }
  }

  for (const [index, seen] of jobs.entries()) {
    const where = `job ${index} (${seen.name})`
    count(endings, endingName(seen))
    const [ending] = seen.endings
    if (seen.endings.length !== 1 || !seen.isOver) {
      found.lost.push(`${where}: ${seen.endings.length} endings, attempts ${seen.attempts.map((one) => one.ending)}`)
    }
    if (seen.holes > 0) found.lost.push(`${where}: ${seen.holes} holes in its events`)
    for (const attempt of seen.attempts) judgeAttempt(where, attempt)
    const started = seen.attempts.flatMap(recordsOf).filter(({ startedAt }) => startedAt !== undefined).length
    executions += started
    declared += ending?.executions.atMost ?? 0
    if (seen.isPaid && started > 1) found.paidTwice.push(`${where}: began ${started} times`)
    if (ending !== undefined && started > ending.executions.atMost) {
      found.doubled.push(
        `${where}: began ${started} times, said at most ${ending.executions.atMost}: ` +
          seen.attempts.map((one) => `${one.server} ${one.ending} ${recordsOf(one).map(({ outcome }) => outcome)}`)
      )
    }
  }
  for (const [id, { interrupted }] of foreign) {
    for (const { outcome } of records.get(id) ?? []) {
      if (!interrupted && (outcome === "interrupted" || outcome === "removed")) {
        found.interrupted.push(`${id}: ${outcome}`)
      }
    }
  }
  const busyMs = total(
    [...records.values()].flat().map(({ endedAt = arrivalsMs, startedAt }) =>
      startedAt === undefined ? 0 : Math.max(0, Math.min(arrivalsMs, endedAt) - Math.min(arrivalsMs, startedAt))
    )
  )
  const placed = jobs.flatMap((seen) => seen.attempts)
  const waitsOf = (isVideo: boolean) =>
    jobs.flatMap((seen) => {
      const [first] = seen.attempts
      return seen.isVideo === isVideo && first !== undefined ? [first.placedAt - seen.queuedAt] : []
    })
  return {
    endings,
    attempts,
    executions,
    declared,
    ranOn,
    foreign: foreign.size,
    leases: leases.ended,
    cut: leases.cut.filter((promptId) => !foreign.has(promptId)).length,
    paid: jobs.filter(({ isPaid }) => isPaid).length,
    busy: busyMs / (ledgers.length * arrivalsMs),
    warm: placed.length === 0 ? 0 : placed.filter(({ warm }) => warm).length / placed.length,
    waits: { pictures: waitsOf(false), videos: waitsOf(true) },
    wrongs: found
  }
}
