/**
 * Where a fleet loses time, and what would help: figures summed over the profiles of finished jobs, and for each that is
 * large enough a sentence that says it. Pure; the advice is made of the figures and of nothing else.
 */
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Schema from "effect/Schema"
import type { AttemptProfile, JobProfile } from "./JobProfile.ts"

/** What is wrong. */
export const Kind = Schema.Literals(["cold", "failures", "transfers", "queue", "idle", "class"])
export type Kind = typeof Kind.Type

/**
 * One loss. `server`: null for the whole fleet. `lostMs` of `ofMs` milliseconds, `share` of them from 0 to 1. `figures`:
 * what the advice is made of.
 */
export const Finding = Schema.Struct({
  kind: Kind,
  server: Schema.NullOr(BackendId),
  lostMs: Schema.Finite,
  ofMs: Schema.Finite,
  share: Schema.Finite,
  figures: Schema.Record(Schema.String, Schema.Union([Schema.Finite, Schema.String])),
  advice: Schema.String
})
export type Finding = typeof Finding.Type

/** Findings by what is lost, most first. `windowMs`: from the first submission to the last end. */
export const Report = Schema.Struct({ jobs: Schema.Int, windowMs: Schema.Finite, findings: Schema.Array(Finding) })
export type Report = typeof Report.Type

/** A finished job and the key of its models. */
export interface Observation {
  readonly profile: JobProfile
  readonly key: string
}

/** From which share on a loss is worth a sentence. */
export const shares: Readonly<Record<Kind, number>> = {
  cold: 0.1,
  failures: 0.05,
  transfers: 0.1,
  queue: 0.5,
  idle: 0.5,
  class: 0.2
}

/** Fewer jobs say nothing. */
export const leastJobs = 10

interface Server {
  busyMs: number
  runs: number
  coldMs: number
  coldRuns: number
  readonly coldKeys: Set<string>
  failedMs: number
  failed: number
  readonly reasons: Map<string, number>
  transferMs: number
}

interface Sums {
  readonly servers: Map<BackendId, Server>
  readonly classes: Map<string, { ms: number; steps: boolean }>
  nodeMs: number
  queueMs: number
  totalMs: number
  from: number
  to: number
}

const plus = (counts: Map<string, number>, name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1)

const addAttempt = ({ servers }: Sums, { reason, run, server: id, transferMs }: AttemptProfile, key: string): void => {
  if (id === null) return
  const server = servers.get(id) ?? {
    busyMs: 0,
    runs: 0,
    coldMs: 0,
    coldRuns: 0,
    coldKeys: new Set(),
    failedMs: 0,
    failed: 0,
    reasons: new Map(),
    transferMs: 0
  }
  servers.set(id, server)
  const ms = run.executionMs ?? 0
  server.runs++
  server.busyMs += ms
  server.transferMs += transferMs
  if (run.coldSurchargeMs !== null) {
    // Somebody has to be the first. And it is an average: a run that was shorter did not lose more than it took.
    if (server.coldKeys.has(key)) {
      server.coldMs += Math.min(run.coldSurchargeMs.value, ms)
      server.coldRuns++
    }
    server.coldKeys.add(key)
  }
  if (reason !== null && reason !== "Cancelled") {
    server.failedMs += ms
    server.failed++
    plus(server.reasons, reason)
  }
}

const addNodes = (sums: Sums, { run }: AttemptProfile): void => {
  for (const { classType, exclusiveMs, progress } of run.nodes) {
    if (classType === null) continue
    const known = sums.classes.get(classType) ?? { ms: 0, steps: false }
    sums.classes.set(classType, { ms: known.ms + exclusiveMs, steps: known.steps || progress !== null })
    sums.nodeMs += exclusiveMs
  }
}

const sum = (jobs: ReadonlyArray<Observation>): Sums => {
  const sums: Sums = {
    servers: new Map(),
    classes: new Map(),
    nodeMs: 0,
    queueMs: 0,
    totalMs: 0,
    from: Number.POSITIVE_INFINITY,
    to: Number.NEGATIVE_INFINITY
  }
  for (const { key, profile } of jobs) {
    sums.queueMs += (profile.queueMs ?? 0) + profile.retryWaitMs
    sums.totalMs += profile.totalMs
    if (profile.queuedAtMs !== null) {
      sums.from = Math.min(sums.from, profile.queuedAtMs)
      sums.to = Math.max(sums.to, profile.queuedAtMs + profile.totalMs)
    }
    for (const attempt of profile.attempts) {
      addAttempt(sums, attempt, key)
      addNodes(sums, attempt)
    }
  }
  return sums
}

const percent = (share: number): string => `${Math.round(100 * share)} %`

const time = (ms: number): string =>
  ms < 1_000
    ? `${Math.round(ms)} ms`
    : ms < 120_000
    ? `${(ms / 1_000).toFixed(1)} s`
    : `${(ms / 60_000).toFixed(1)} min`

type Loss = Pick<Finding, "kind" | "server" | "lostMs" | "ofMs" | "figures"> & {
  readonly advice: (share: number) => string
}

const finding = ({ advice, ...loss }: Loss): ReadonlyArray<Finding> => {
  const share = loss.ofMs <= 0 ? 0 : Math.min(1, loss.lostMs / loss.ofMs)
  return share < shares[loss.kind] ? [] : [{ ...loss, share, advice: advice(share) }]
}

const times = (n: number, what: string): string => n === 1 ? `one ${what}` : `${n} ${what}s`

const ofServer = (id: BackendId, server: Server): ReadonlyArray<Finding> => {
  const { busyMs, coldKeys, coldMs, coldRuns, failed, failedMs, reasons, runs, transferMs } = server
  const [worst = ["", 0]] = [...reasons].toSorted(([, a], [, b]) => b - a)
  return [
    ...finding({
      kind: "cold",
      server: id,
      lostMs: coldMs,
      ofMs: busyMs,
      figures: { runs, coldRuns, keys: coldKeys.size },
      advice: (share) =>
        `${percent(share)} of the time of server ${id} (${time(coldMs)} of ${time(busyMs)}) is cold surcharge: ` +
        (coldKeys.size > 1
          ? `jobs of ${coldKeys.size} sets of models alternate there, ${coldRuns} of ${runs} runs had to load again. ` +
            "Give it fewer of them (tags, prefer), or more memory."
          : `${coldRuns} of ${runs} runs had to load again, all of one set of models. ` +
            "Something drops the models in between: restarts, freed memory, or others.")
    }),
    ...finding({
      kind: "failures",
      server: id,
      lostMs: failedMs,
      ofMs: busyMs,
      figures: { runs, failed, reason: worst[0], ofReason: worst[1] },
      advice: (share) =>
        `${percent(share)} of the time of server ${id} (${time(failedMs)}) went into ${times(failed, "run")} that ` +
        `failed, ${worst[1]} of ${failed} of ${worst[0]}.`
    }),
    ...finding({
      kind: "transfers",
      server: id,
      lostMs: transferMs,
      ofMs: busyMs + transferMs,
      figures: { runs },
      advice: (share) =>
        `${percent(share)} of the time of server ${id} (${time(transferMs)}) is files on their way to it, ` +
        `${time(transferMs / runs)} per run: bring it nearer, or send less.`
    })
  ]
}

const ofQueue = ({ from, queueMs, servers, to, totalMs }: Sums): ReadonlyArray<Finding> => {
  const windowMs = to - from
  const busy = [...servers].map(([id, { busyMs, transferMs }]) => [id, (busyMs + transferMs) / windowMs] as const)
  const waits = totalMs > 0 && queueMs / totalMs >= shares.queue
  if (!waits || windowMs <= 0 || busy.length === 0) return []
  const mean = busy.reduce((total, [, share]) => total + share, 0) / busy.length
  const queue = finding({
    kind: "queue",
    server: null,
    lostMs: queueMs,
    ofMs: totalMs,
    figures: { servers: busy.length, busy: mean },
    advice: (share) =>
      `Jobs wait ${percent(share)} of their time, while ${times(busy.length, "server")} ${
        busy.length === 1 ? "is" : "are"
      } busy ${percent(mean)} of it: ${
        mean >= 0.8 ? "more servers would help." : "something keeps jobs from servers; ask explain of one that waits."
      }`
  })
  const idle = busy.flatMap(([id, share]) =>
    finding({
      kind: "idle",
      server: id,
      lostMs: windowMs * Math.max(0, 1 - share),
      ofMs: windowMs,
      figures: { busy: share },
      advice: (lost) =>
        `Server ${id} stood idle ${
          percent(lost)
        } of the time while jobs waited: it lacks what they want, was blocked, ` +
        "or was not there."
    })
  )
  return [...queue, ...idle]
}

/** Classes that count steps are what servers are for. */
const ofClasses = ({ classes, nodeMs }: Sums): ReadonlyArray<Finding> =>
  [...classes].filter(([, { steps }]) => !steps).flatMap(([classType, { ms }]) =>
    finding({
      kind: "class",
      server: null,
      lostMs: ms,
      ofMs: nodeMs,
      figures: { classType },
      advice: (share) =>
        `${classType} takes ${percent(share)} of the time of all nodes (${time(ms)}), and counts no steps.`
    })
  )

/** What the jobs say together; with fewer than ten of them nothing. */
export const report = (jobs: ReadonlyArray<Observation>): Report => {
  const sums = sum(jobs)
  const windowMs = Math.max(0, sums.to - sums.from)
  if (jobs.length < leastJobs) return { jobs: jobs.length, windowMs, findings: [] }
  const findings = [
    ...[...sums.servers].flatMap(([id, server]) => ofServer(id, server)),
    ...ofQueue(sums),
    ...ofClasses(sums)
  ]
  return { jobs: jobs.length, windowMs, findings: findings.toSorted((a, b) => b.lostMs - a.lostMs) }
}
