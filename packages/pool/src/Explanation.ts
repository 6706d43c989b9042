/**
 * Why a job is where it is: its trail, and for one that waits why not now, asked of the fleet at that moment. Plain JSON
 * with a schema, for people and their tools.
 */
import { Executions } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import type { Time } from "@effect-comfyui/execution/Time"
import * as Schema from "effect/Schema"
import type { Active } from "./Active.ts"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import * as Job from "./Job.ts"
import type { JobHead } from "./JobHead.ts"
import * as Jobs from "./Jobs.ts"
import * as Member from "./Member.ts"
import * as Placement from "./Placement.ts"
import * as ReadySet from "./ReadySet.ts"
import type { Policy } from "./Router.ts"
import * as Trail from "./Trail.ts"

/** What the router would do with this job alone; it is asked only where a server is idle. */
export const Decision = Schema.Union([
  Schema.TaggedStruct("Place", { server: BackendId, why: Trail.Evidence }),
  Schema.TaggedStruct("Wait", { untilMs: Schema.NullOr(Schema.Finite), why: Trail.Evidence })
])

/**
 * Why a job that waits is not placed at this moment. `holds`: what stands in its way whatever the servers do. `servers`:
 * each by what speaks against it. `blocked`: breakers that keep it from servers, until epoch milliseconds.
 */
export const Now = Schema.Struct({
  at: Schema.Finite,
  holds: Schema.Array(Schema.String),
  servers: Trail.Others,
  router: Schema.NullOr(Decision),
  blocked: Schema.Array(Schema.Struct({
    server: BackendId,
    scope: Schema.Literals(["server", "workflow"]),
    until: Schema.Finite,
    cause: Schema.String
  }))
})

/**
 * One job. Times are epoch milliseconds. `steps`: the first and the last of them, `dropped` between these are gone; what an
 * earlier process did with the job is not among them, though counted in `attempts` and `executions`. `now`: for a job that
 * waits.
 */
export const Explanation = Schema.Struct({
  jobId: JobId,
  status: Schema.Literals(["Queued", "Running", "Collecting", "Ended"]),
  tenant: Schema.String,
  priority: Schema.Finite,
  affinity: Schema.String,
  submittedAt: Schema.Finite,
  attempts: Schema.Int,
  executions: Executions,
  steps: Schema.Array(Trail.Step),
  dropped: Schema.Int,
  now: Schema.NullOr(Now)
})
export type Explanation = typeof Explanation.Type

const maxServers = Defaults.explain.servers

/** What speaks against all servers but this one, where one is chosen. `idle`: said of those that nothing speaks against. */
const group = (
  { members }: Fleet.Fleet,
  chosen: Member.Member | undefined,
  why: (member: Member.Member) => string
): Trail.Others => {
  const groups = new Map<string, Array<BackendId>>()
  let named = 0
  let more = 0
  for (const member of members.values()) {
    if (member === chosen) continue
    if (named++ >= maxServers) {
      more++
      continue
    }
    const reason = why(member)
    const servers = groups.get(reason)
    if (servers === undefined) groups.set(reason, [member.facts.id])
    else servers.push(member.facts.id)
  }
  return { groups: Array.from(groups, ([why, servers]) => ({ why, servers })), more }
}

/** What spoke against the servers that were not chosen; of one that has something to do that is all that is asked. */
export const others = (fleet: Fleet.Fleet, entry: Job.Entry, chosen: Member.Member, now: number): Trail.Others => {
  const ask = Placement.whyNot(fleet, entry, now)
  return group(fleet, chosen, (member) =>
    Fleet.isIdle(fleet, member, now)
      ? ask(member) ?? "idle, and another one was preferred"
      : member.restsUntil > now
      ? "asked to be left alone for a while"
      : Member.status(member, Defaults.health.misses))
}

/** What is asked; all of it is the pool's. */
export interface Parts {
  readonly fleet: Fleet.Fleet
  readonly ready: ReadySet.State
  readonly jobs: Jobs.Jobs
  readonly router: Policy
  readonly active: ReadonlyMap<JobId, Active>
  readonly isRecovering: (id: JobId) => boolean
  /** The queue said that it does not wait any more, and that was not our doing. */
  readonly isElsewhere: (entry: Job.Entry) => boolean
  /** The pool places nothing more. */
  readonly isClosed: () => boolean
  readonly maxRunningPerTenant: number
}

/** A server is taken for it while the queue is asked for its claim. */
const isBeingClaimed = ({ members }: Fleet.Fleet, id: JobId): boolean => {
  for (const { runs } of members.values()) {
    for (const { fenced, jobId } of runs.values()) if (jobId === id && !fenced) return true
  }
  return false
}

const holdsOf = (parts: Parts, entry: Job.Entry, head: JobHead | undefined, now: number): ReadonlyArray<string> => {
  const { active, fleet, isClosed, isElsewhere, isRecovering, maxRunningPerTenant, ready } = parts
  const holds: Array<string> = []
  if (isClosed()) holds.push("the pool places nothing more")
  const claimed = active.get(entry.id)
  if (isRecovering(entry.id)) holds.push("a run of it was left by an earlier process and is being asked for")
  else if (claimed !== undefined) {
    const hasBegun = entry.attempts.at(-1)?.runId === claimed.run.runId
    holds.push(hasBegun ? "what follows its last attempt is being written" : "it is claimed, and about to begin")
  } else if (isBeingClaimed(fleet, entry.id)) holds.push("it is being claimed for a server")
  else if (isElsewhere(entry)) holds.push("another pool has claimed or ended it")
  else if (head === undefined) holds.push("the queue has not announced it yet")
  const due = ready.delayed.get(entry.id)?.due ?? now
  if (due > now) holds.push(`not before ${Math.ceil(due - now)} ms from now`)
  let running = 0
  for (const one of active.values()) if (one.entry.options.tenant === entry.options.tenant) running++
  if (running >= maxRunningPerTenant) holds.push(`its tenant may run ${maxRunningPerTenant} jobs at once, and does`)
  return holds
}

const headOf = ({ jobs, taken }: ReadySet.State, id: JobId): JobHead | undefined =>
  taken.has(id) ? undefined : jobs.get(id)

const decide = (parts: Parts, head: JobHead, now: number): typeof Decision.Type | null => {
  const { fleet, jobs, ready, router } = parts
  const reading = Placement.read(
    fleet,
    {
      needOf: (affinity, placement) => Jobs.kindOf(jobs, affinity, placement)?.need,
      entryOf: ({ id }) => jobs.open.get(id),
      demand: (key) => ReadySet.demandOf(ready, key)
    },
    now
  )
  if (reading.idle.length === 0) return null
  const decision = router.decide(reading.view([head], false))
  const { why } = decision
  if (decision._tag === "Place") return { _tag: "Place", server: decision.server, why }
  return { _tag: "Wait", untilMs: Trail.waitMs(decision, now), why }
}

const whyNotNow = (parts: Parts, entry: Job.Entry, { at, now }: Time): typeof Now.Type => {
  const { fleet, ready } = parts
  const head = headOf(ready, entry.id)
  const ask = Placement.whyNot(fleet, entry, now)
  return {
    at,
    holds: holdsOf(parts, entry, head, now),
    servers: group(fleet, undefined, (member) =>
      ask(member) ??
        (Fleet.isIdle(fleet, member, now)
          ? "idle: it may run there when it is its turn"
          : `${Member.status(member, Defaults.health.misses)}: it may run there later`)),
    router: head === undefined ? null : decide(parts, head, now),
    blocked: Breakers.snapshot(fleet.breakers)
      .filter(({ key }) => key === null || key === entry.kind.affinity)
      .slice(0, maxServers)
      .map(({ cause, key, openUntil, server }) => ({
        server,
        scope: key === null ? "server" : "workflow",
        until: at + openUntil - now,
        cause
      }))
  }
}

/** Explains a job as it stands. */
export const of = (parts: Parts, entry: Job.Entry, time: Time): Explanation => {
  const { attemptCount, executions, id, kind: { affinity }, options: { priority, tenant }, submittedAt, trail } = entry
  const { _tag: status } = Job.status(entry)
  return {
    jobId: id,
    status,
    tenant,
    priority,
    affinity,
    submittedAt,
    attempts: attemptCount,
    executions,
    steps: [...trail?.steps ?? []],
    dropped: trail?.dropped ?? 0,
    now: status === "Queued" ? whyNotNow(parts, entry, time) : null
  }
}
