/**
 * I8: while a healthy server that may run a job is idle, the job does not wait for more than a turn of the scheduler,
 * except for a server that is about to be warm for it. Pure, over samples a second or more apart.
 */
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { Observation, Sample, SampledServer, SeenJob } from "./Observation.ts"

/** Two looks, a second apart, see a turn that did not come. */
const turnMs = 1_500
/** Only where five cold and five warm runs of a workflow were seen is it waited for. */
const warmSamples = 5
const warmWaitMs = 60_000
/** A server that is well is found again within so long: the longest pause between two dials, and a probe, and jitter. */
const foundMs = 90_000
/** A job that waits on a busy server is taken back when another is idle for a second; the server answers to that. */
const recalledMs = 5_000

type Ended = Extract<JobEvent, { readonly _tag: "AttemptEnded" }>

const endedAttempts = ({ main }: SeenJob): ReadonlyArray<Ended> =>
  main.events.filter((event): event is Ended => event._tag === "AttemptEnded")

interface History {
  /** Where an attempt went wrong, and when. */
  readonly failures: ReadonlyArray<{ readonly at: number; readonly server: string }>
  /** From then on only some servers will do: those with larger cards, or the one whose memory was freed. */
  readonly choosyFrom: number
}

const historyOf = (job: SeenJob): History => {
  const failures: Array<{ at: number; server: string }> = []
  let choosyFrom = Number.POSITIVE_INFINITY
  for (const { at, ending } of endedAttempts(job)) {
    if (ending._tag === "Completed" || ending.backend === null) continue
    failures.push({ at, server: ending.backend })
    if (ending._tag === "Failed" && ending.error.reason._tag === "OutOfMemory") choosyFrom = Math.min(choosyFrom, at)
  }
  return { failures, choosyFrom }
}

const isBlocked = ({ blocked }: Sample, server: string, affinity: string): boolean =>
  blocked.some((circuit) =>
    circuit.server === server && (circuit.key === null || circuit.key === affinity) &&
    (circuit.state === "open" || circuit.probing)
  )

/** How long something has been so, from look to look. */
const lasting = () => {
  const since = new Map<string, number>()
  return (names: ReadonlySet<string>, at: number): ReadonlyArray<readonly [name: string, ms: number]> => {
    for (const name of since.keys()) if (!names.has(name)) since.delete(name)
    return [...names].map((name) => {
      const from = since.get(name) ?? at
      since.set(name, from)
      return [name, at - from] as const
    })
  }
}

interface Rest {
  readonly server: string
  readonly from: number
  readonly until: number
}

/** Servers that asked to be left alone, by whatever they said last, and a pause of ours. */
const restsOf = (jobs: ReadonlyArray<SeenJob>): ReadonlyArray<Rest> =>
  jobs.flatMap((job) =>
    endedAttempts(job).flatMap(({ at, ending }) =>
      ending._tag === "Failed" && ending.error.reason._tag === "RateLimited" && ending.backend !== null
        ? [{ server: ending.backend, from: at, until: at + Math.max(60_000, ending.error.reason.retryAfterMs ?? 0) }]
        : []
    )
  )

const isResting = (rests: ReadonlyArray<Rest>, id: string, at: number): boolean =>
  rests.some(({ from, server, until }) => server === id && from <= at && at < until)

const isIdle = ({ empty, jobs, next, status }: SampledServer): boolean =>
  status === "ready" && empty && jobs.length === 0 && next === null

/** Jobs that wait while a server that may run them is idle. */
const unplaced = (seen: Observation): ReadonlyArray<string> => {
  const histories = seen.jobs.map(historyOf)
  const rests = restsOf(seen.jobs)
  const completions = (affinity: string, at: number): number =>
    seen.jobs.filter((job) =>
      job.affinity === affinity &&
      endedAttempts(job).some((event) => event.ending._tag === "Completed" && event.at <= at)
    ).length
  const last = lasting()
  const found = new Map<string, string>()
  for (const sample of seen.samples) {
    const pairs = new Map<string, number>()
    for (const index of sample.waiting) {
      const history = histories[index]
      const { affinity = "" } = seen.jobs[index] ?? {}
      if (history === undefined || history.choosyFrom <= sample.at) continue
      const limitMs = turnMs + (completions(affinity, sample.at) >= warmSamples ? warmWaitMs : 0)
      for (const server of sample.servers) {
        if (!isIdle(server) || isBlocked(sample, server.id, affinity)) continue
        if (isResting(rests, server.id, sample.at)) continue
        const failedThere = history.failures.some((failure) => failure.server === server.id && failure.at <= sample.at)
        if (!failedThere) pairs.set(`job ${index} waits beside ${server.id}, which is idle`, limitMs)
      }
    }
    for (const [name, ms] of last(new Set(pairs.keys()), sample.at)) {
      if (ms > (pairs.get(name) ?? turnMs)) found.set(name, `${name}, for ${ms} ms until ${sample.at}`)
    }
  }
  return [...found.values()]
}

/** Servers that are well and empty, and are not used while something waits. */
const unused = (seen: Observation): ReadonlyArray<string> => {
  const last = lasting()
  const found = new Map<string, string>()
  for (const sample of seen.samples) {
    const lost = sample.waiting.length === 0 ?
      [] :
      sample.servers.filter(({ empty, status, well }) =>
        well && empty && (status === "connecting" || status === "unreachable")
      )
    for (const [name, ms] of last(new Set(lost.map(({ id, status }) => `${id} is well and ${status}`)), sample.at)) {
      if (ms > foundMs) found.set(name, `${name}, for ${ms} ms until ${sample.at}, while jobs wait`)
    }
  }
  return [...found.values()]
}

/** Whether the server has said that it took the job's present attempt: before, nobody can take it back. */
const isTaken = ({ main }: SeenJob, at: number): boolean => {
  const events = main.events.filter((event) => event.at <= at)
  const placed = events.findLastIndex(({ _tag }) => _tag === "Placed")
  return events.slice(placed).some((event) => event._tag === "Attempt" && event.event._tag === "Submitted")
}

/** Jobs that wait in the queue of a busy server while another is idle. */
const stuckAhead = (seen: Observation): ReadonlyArray<string> => {
  const byId = new Map(
    seen.jobs.flatMap((job) => job.main.events.slice(0, 1).map(({ jobId }) => [jobId, job] as const))
  )
  const rests = restsOf(seen.jobs)
  const last = lasting()
  const found = new Map<string, string>()
  for (const sample of seen.samples) {
    const names = new Set<string>()
    for (const { id, next, well } of sample.servers) {
      const job = next === null || !well ? undefined : byId.get(next)
      if (job === undefined || !isTaken(job, sample.at)) continue
      const { choosyFrom, failures } = historyOf(job)
      if (choosyFrom <= sample.at) continue
      const free = sample.servers.filter((server) =>
        isIdle(server) && !isResting(rests, server.id, sample.at) &&
        !sample.blocked.some((circuit) => circuit.server === server.id) &&
        !failures.some((failure) => failure.server === server.id && failure.at <= sample.at)
      )
      for (const server of free) names.add(`job ${job.index} waits behind another on ${id}, and ${server.id} is idle`)
    }
    for (const [name, ms] of last(names, sample.at)) {
      if (ms > recalledMs) found.set(name, `${name}, for ${ms} ms until ${sample.at}`)
    }
  }
  return [...found.values()]
}

export const idleComplaints = (seen: Observation): ReadonlyArray<string> => [
  ...unplaced(seen),
  ...unused(seen),
  ...stuckAhead(seen)
]
