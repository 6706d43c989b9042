/**
 * Profiles of jobs as Chrome trace events, a file that ui.perfetto.dev opens: a process per server, on it a track per job
 * that ran there at the same time, in it the attempt and its nodes, and sub tracks for nodes that ran at once. Beside them
 * the queue: how deep it was, and an arrow from each job's submission to its first start.
 */
import type * as Stream from "effect/Stream"
import * as Lanes from "./internal/lanes.ts"
import * as QueueDepth from "./internal/queueDepth.ts"
import { write, type Writer } from "./internal/text.ts"
import type { AttemptProfile, JobProfile } from "./JobProfile.ts"
import type { NodeProfile } from "./NodeProfile.ts"

interface Server {
  readonly pid: number
  readonly slots: Lanes.Slots
  /** Slot → sub track → tid. */
  readonly tids: Array<Array<number>>
  tracks: number
}

/** Grows with servers, and with what ran at the same time on one of them; not with jobs. */
interface State {
  readonly servers: Map<string, Server>
  readonly depth: QueueDepth.QueueDepth
  jobs: number
  separator: string
}

const queuePid = 1
const submitTid = 1

/** Epoch microseconds, whole: what nests in milliseconds nests here. */
const us = (ms: number): number => Math.round(ms * 1_000)

type Fields = Readonly<Record<string, unknown>>

const named = (kind: "process" | "thread", pid: number, tid: number, name: string, sort: number): Array<Fields> => [
  { ph: "M", pid, tid, name: `${kind}_name`, args: { name } },
  { ph: "M", pid, tid, name: `${kind}_sort_index`, args: { sort_index: sort } }
]

const serverOf = (state: State, name: string, out: Array<Fields>): Server => {
  const known = state.servers.get(name)
  if (known !== undefined) return known
  const server = { pid: queuePid + 1 + state.servers.size, slots: [], tids: [], tracks: 0 }
  state.servers.set(name, server)
  out.push(...named("process", server.pid, 0, name, server.pid))
  return server
}

/** Tracks of one slot stand beneath each other. */
const tracksPerSlot = 1_000

const tidOf = (server: Server, slot: number, track: number, out: Array<Fields>): number => {
  const ofSlot = server.tids[slot] ??= []
  const known = ofSlot[track]
  if (known !== undefined) return known
  const tid = ++server.tracks
  ofSlot[track] = tid
  const name = track === 0 ? `slot ${slot + 1}` : `slot ${slot + 1}, beside ${track}`
  out.push(...named("thread", server.pid, tid, name, slot * tracksPerSlot + Math.min(track, tracksPerSlot - 1)))
  return tid
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high)

interface Slice extends Lanes.Slice {
  readonly node: NodeProfile
}

const slicesOf = ({ run, startMs }: AttemptProfile, originMs: number, from: number, to: number): Array<Slice> =>
  run.nodes.flatMap((node) => {
    if (node.startMs === null) return []
    const at = (ms: number) => clamp(us(originMs + startMs + ms), from, to)
    const start = at(node.startMs)
    return [{ id: node.nodeId, parent: node.parentId, from: start, to: at(node.endMs ?? Infinity), node }]
  })

const attempt = (state: State, job: JobProfile, one: AttemptProfile, originMs: number, out: Array<Fields>): void => {
  const server = serverOf(state, one.server ?? "unknown server", out)
  const from = us(originMs + one.placedMs)
  const to = us(originMs + (one.endMs ?? job.totalMs))
  const slot = Lanes.take(server.slots, from, to)
  const { pid } = server
  const tid = tidOf(server, slot, 0, out)
  const { number, reason, run, verdict, why } = one
  out.push({
    ph: "X",
    pid,
    tid,
    ts: from,
    dur: to - from,
    cat: "attempt",
    name: `${job.jobId} #${number}`,
    args: { runId: run.runId, verdict, reason, transferMs: one.transferMs, why }
  })
  if (one === job.attempts[0]) {
    out.push({ ph: "f", bp: "e", id: state.jobs, pid, tid, ts: from, cat: "job", name: "submitted" })
  }
  for (const [slice, track] of Lanes.layOut(slicesOf(one, originMs, from, to))) {
    const { node } = slice
    const { classType, displayId, exclusiveMs, executions, inferred, nodeId, progress, title } = node
    out.push({
      ph: "X",
      pid,
      tid: tidOf(server, slot, track, out),
      ts: slice.from,
      dur: slice.to - slice.from,
      cat: "node",
      name: title ?? classType ?? nodeId,
      args: {
        nodeId,
        displayId,
        classType,
        state: node.state,
        executions,
        exclusiveMs,
        inferred,
        stepsPerSecond: progress?.stepsPerSecond ?? null
      }
    })
  }
}

const wait = (state: State, originMs: number, fromMs: number, toMs: number): void => {
  QueueDepth.add(state.depth, originMs + fromMs, 1)
  QueueDepth.add(state.depth, originMs + toMs, -1)
}

const toText = (state: State, events: ReadonlyArray<Fields>): string => {
  let text = ""
  for (const event of events) {
    text += state.separator + JSON.stringify(event)
    state.separator = ",\n"
  }
  return text
}

const writer = (): Writer => {
  const state: State = { servers: new Map(), depth: QueueDepth.make(), jobs: 0, separator: ",\n" }
  const head = [...named("process", queuePid, 0, "queue", 0), ...named("thread", queuePid, submitTid, "submitted", 0)]
  return {
    head: `{"displayTimeUnit":"ms","traceEvents":[\n${head.map((event) => JSON.stringify(event)).join(",\n")}`,
    job: (job) => {
      const { attempts, jobId, queuedAtMs } = job
      if (queuedAtMs === null) return ""
      const out: Array<Fields> = []
      state.jobs++
      const submit = { pid: queuePid, tid: submitTid, ts: us(queuedAtMs), cat: "job" }
      // An arrow begins in a slice; this one is as short as can be.
      out.push({ ph: "X", ...submit, dur: 1, name: jobId, args: { state: job.state, reason: job.reason } })
      if (attempts.length > 0) out.push({ ph: "s", id: state.jobs, ...submit, name: "submitted" })
      for (const one of attempts) {
        wait(state, queuedAtMs, one.placedMs - one.waitMs, one.placedMs)
        attempt(state, job, one, queuedAtMs, out)
      }
      const last = attempts.at(-1)
      if (job.decidedBy === null && last?.endMs !== null) wait(state, queuedAtMs, last?.endMs ?? 0, job.totalMs)
      return toText(state, out)
    },
    foot: () => {
      const counters = QueueDepth.points(state.depth).map(({ atMs, depth }) => ({
        ph: "C",
        pid: queuePid,
        ts: us(atMs),
        name: "waiting jobs",
        args: { jobs: depth }
      }))
      return `${toText(state, counters)}\n]}\n`
    }
  }
}

/**
 * The file as it is written, a text per job. Memory grows with servers and with what ran at the same time, not with jobs.
 * Times are epoch microseconds; the slots are lowest where jobs come in the order in which they ended or began. The depth
 * of the queue is exact at its points, of which there are at most 4,096. A node that ran several times is one slice, from
 * its first start to its last end.
 */
export const stream = <E, R>(jobs: Stream.Stream<JobProfile, E, R>): Stream.Stream<string, E, R> => write(jobs, writer)
