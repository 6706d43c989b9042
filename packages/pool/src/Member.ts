/**
 * One server of a pool as the pool sees it: whether it may get a job now, and why not. Pure: what its backend reports and
 * what the pool does with it goes in, events for whoever listens come out.
 */
import type { Backend, BackendEvent, Capabilities } from "@effect-comfyui/execution/Backend"
import type { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { makePermits, type Permits } from "./Collect.ts"
import type { Offered } from "./Need.ts"
import type { ServerEvent } from "./PoolEvent.ts"
import type { ServerControl } from "./ServerControl.ts"

/** What somebody says of a server who adds it. */
export interface Facts {
  readonly id: BackendId
  /** The machine or site that it stands and falls with. */
  readonly host: string
  /** Until when it is rented, epoch milliseconds; undefined: for good. */
  readonly availableUntil: number | undefined
  /** In whatever currency; undefined: nobody says. */
  readonly costPerHour: number | undefined
  readonly tags: ReadonlySet<string>
  /**
   * What policies divide costs on it, and what it was given, by: of weight 2 it counts as twice as fast, and its share is
   * twice as large. Default 1.
   */
  readonly weight: number
  /** VRAM of its card, bytes, where somebody says it; else what the server says counts. */
  readonly vramBytes: number | undefined
  /** Its lane: only jobs that are expected to run for less, milliseconds; infinity for all. */
  readonly underMs: number
}

/** A run of this pool on the server. `fenced`: it was given up here, and until it ends the server stays taken. */
export interface Held {
  readonly jobId: JobId
  readonly key: AffinityKey
  readonly content: string
  since: number
  /** What it is expected to take, so that others know when the server is free. */
  readonly expectedMs: number
  /** The server took it, or it began. */
  accepted: boolean
  /** It waits in the server's queue behind another run of ours. */
  isNext: boolean
  fenced: boolean
}

/** Owned and updated in place by the pool. Times are monotonic milliseconds. */
export interface Member {
  facts: Facts
  readonly addedAt: number
  backend: Backend | undefined
  paused: boolean
  /** Somebody asked for it, or its lease ends. */
  draining: "asked" | "lease" | undefined
  /** It is restarted by its hook, or that failed. */
  held: "restarting" | "ejected" | undefined
  /** What its owner lets us do with it. */
  readonly control: ServerControl
  /** {@link Facts.availableUntil} on the monotonic clock, reckoned when it was said; infinity without one. */
  leaseEndsAt: number
  /** It gave a sign of life at least once. */
  reached: boolean
  /** Since when nothing of ours runs there; means nothing while something does. */
  freeSince: number
  /** It gave a sign of life since its socket was lost, or ever: before that nothing is placed there. */
  heard: boolean
  /** Its socket is up, or it works by asking and answered last. */
  connected: boolean
  /** Probes missed in a row. */
  misses: number
  /** The last sign of life: a frame, an answer, an event of a run. */
  aliveAt: number
  epoch: number
  load: { readonly running: number; readonly waiting: number; readonly foreign: number }
  capabilities: Capabilities | undefined
  /** Classes and files that a refusal said are missing, and until when that is believed. At most {@link maxMissing}. */
  readonly missing: Map<string, number>
  /** It asked to be left alone until then. */
  restsUntil: number
  /** Asks for the capabilities again. */
  refresh: () => void
  readonly runs: Map<RunId, Held>
  /** Files of ended runs on their way from it: jobs, and how many files at once. */
  collecting: number
  readonly permits: Permits
}

export const make = (
  facts: Facts,
  now: number,
  { control = {}, leaseEndsAt = Number.POSITIVE_INFINITY }: Partial<Pick<Member, "control" | "leaseEndsAt">> = {}
): Member => ({
  facts,
  control,
  leaseEndsAt,
  held: undefined,
  reached: false,
  freeSince: now,
  addedAt: now,
  backend: undefined,
  paused: false,
  draining: undefined,
  heard: false,
  connected: false,
  misses: 0,
  aliveAt: now,
  epoch: 0,
  load: { running: 0, waiting: 0, foreign: 0 },
  capabilities: undefined,
  missing: new Map(),
  restsUntil: Number.NEGATIVE_INFINITY,
  refresh: () => undefined,
  runs: new Map(),
  collecting: 0,
  permits: makePermits()
})

const maxMissing = 1_000

/** A refusal said that it lacks these: a fact, believed for a while even against what the server lists. */
export const lacks = (member: Member, names: ReadonlyArray<string>, until: number): void => {
  const { missing } = member
  for (const name of names) {
    missing.delete(name)
    missing.set(name, until)
  }
  for (const name of missing.keys()) {
    if (missing.size <= maxMissing) break
    missing.delete(name)
  }
}

/** How it stands, in one word for people. */
export type Status =
  | "connecting"
  | "ready"
  | "busy"
  | "fenced"
  | "foreign"
  | "paused"
  | "draining"
  | "restarting"
  | "ejected"
  | "unreachable"

export const status = (member: Member, misses: number): Status => {
  if (member.draining !== undefined) return "draining"
  if (member.held !== undefined) return member.held
  if (member.paused) return "paused"
  if (member.backend === undefined || !member.heard) return "connecting"
  if (member.misses >= misses) return "unreachable"
  if (member.runs.size > 0) return [...member.runs.values()].every(({ fenced }) => fenced) ? "fenced" : "busy"
  return member.load.foreign > 0 ? "foreign" : "ready"
}

/** Nobody is there as far as anybody knows. */
export const isSilent = ({ heard, misses }: Member, limit: number): boolean => !heard || misses >= limit

/**
 * How far it is on its way through the pool: never heard of yet, a server like others, about to leave, or silent for so
 * long that nobody expects it back. The last is only seen of servers that stay: rented ones are removed.
 */
export type Phase = "starting" | "ready" | "draining" | "gone"

/** `goneMs`: of silence after which it is gone. */
export const phase = (member: Member, misses: number, goneMs: number, now: number): Phase => {
  if (isSilent(member, misses) && now - member.aliveAt >= goneMs) return "gone"
  if (member.draining !== undefined) return "draining"
  return member.reached ? "ready" : "starting"
}

/** What jobs are held against. */
export const offered = ({ capabilities, facts, missing }: Member, now: number): Offered => ({
  id: facts.id,
  tags: facts.tags,
  vramBytes: facts.vramBytes ?? capabilities?.machine.vramTotalBytes ?? undefined,
  capabilities,
  isMissing: (name) => (missing.get(name) ?? Number.NEGATIVE_INFINITY) > now
})

/** A member for people and dashboards. */
export interface View {
  readonly id: BackendId
  readonly tags: ReadonlyArray<string>
  readonly weight: number
  readonly status: Status
  readonly phase: Phase
  readonly host: string
  /** Epoch milliseconds; null: for good. */
  readonly availableUntil: number | null
  readonly costPerHour: number | null
  readonly connected: boolean
  readonly epoch: number
  readonly version: string | null
  /** Jobs of this pool that run there, fenced ones too. */
  readonly jobs: ReadonlyArray<JobId>
  /** The job that is in its queue already, to follow the one that runs. */
  readonly next: JobId | null
  /** Prompts of others. */
  readonly foreign: number
}

const jobsOf = ({ runs }: Member): Pick<View, "jobs" | "next"> => {
  const all = [...runs.values()]
  return {
    jobs: all.filter(({ isNext }) => !isNext).map(({ jobId }) => jobId),
    next: all.find(({ isNext }) => isNext)?.jobId ?? null
  }
}

export const view = (member: Member, misses: number, goneMs: number, now: number): View => ({
  ...jobsOf(member),
  id: member.facts.id,
  tags: [...member.facts.tags],
  weight: member.facts.weight,
  status: status(member, misses),
  phase: phase(member, misses, goneMs, now),
  host: member.facts.host,
  availableUntil: member.facts.availableUntil ?? null,
  costPerHour: member.facts.costPerHour ?? null,
  connected: member.connected,
  epoch: member.epoch,
  version: member.capabilities?.version ?? null,
  foreign: member.load.foreign
})

/** An event about this server, but for its name and time. */
export type Told = ServerEvent extends infer Event ? Event extends ServerEvent ? Omit<Event, "server" | "at"> : never
  : never

/** What the backend reported; the second part says whether its capabilities are to be read again. */
export const reported = (
  member: Member,
  event: BackendEvent,
  now: number
): readonly [told: ReadonlyArray<Told>, refresh: boolean] => {
  member.aliveAt = now
  if (event._tag !== "Disconnected") member.heard = member.reached = true
  switch (event._tag) {
    case "Connected":
      member.connected = true
      member.misses = 0
      if (member.epoch !== event.epoch) member.missing.clear()
      member.epoch = event.epoch
      return [[{ _tag: "ServerConnected", epoch: event.epoch }], member.capabilities?.epoch !== event.epoch]
    case "Disconnected":
      member.connected = false
      // Until it answers a probe it may as well be gone.
      member.heard = false
      return [[{ _tag: "ServerDisconnected", kind: event.kind, reason: event.reason }], false]
    case "Restarted":
      member.epoch = event.epoch
      member.missing.clear()
      member.restsUntil = Number.NEGATIVE_INFINITY
      member.load = { running: 0, waiting: 0, foreign: 0 }
      return [[{ _tag: "ServerRestarted", epoch: event.epoch }], true]
    case "Load": {
      const { foreign, running, waiting } = event
      const before = member.load
      member.load = { running, waiting, foreign }
      const same = before.foreign === foreign && before.running === running && before.waiting === waiting
      return [same ? [] : [{ _tag: "ServerLoad", running, waiting, foreign }], false]
    }
    case "CapabilitiesChanged":
      return [[], true]
    case "MemoryFreed":
      return [[], false]
    case "Message":
      return [[{ _tag: "ServerMessage", type: event.type, data: event.data }], false]
  }
}

/** A probe was answered (by how many prompts wait or run there), or not. `limit`: misses that take it out. */
export const probed = (
  member: Member,
  answer: { readonly queueRemaining: number } | { readonly cause: string },
  limit: number,
  now: number
): ReadonlyArray<Told> => {
  if ("cause" in answer) {
    member.misses++
    return member.misses === limit ? [{ _tag: "ServerHealth", healthy: false, cause: answer.cause }] : []
  }
  const wasOut = member.misses >= limit
  member.misses = 0
  member.heard = member.reached = true
  member.aliveAt = now
  // Without a socket nobody else says that others use the server.
  if (!member.connected) {
    const foreign = Math.max(0, answer.queueRemaining - member.runs.size)
    member.load = { running: Math.min(1, answer.queueRemaining), waiting: 0, foreign }
  }
  return wasOut ? [{ _tag: "ServerHealth", healthy: true, cause: "it answers again" }] : []
}
