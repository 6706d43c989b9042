/**
 * Dispatchers in processes of their own on one queue in a file: killed, stopped for longer than their leases, and started
 * again by chance, over fake servers that live on. Ends by itself and leaves no process.
 */
import { JobId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import { JobQueue, type JobRecord } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Jobs from "@effect-comfyui/pool/Jobs"
import * as Submission from "@effect-comfyui/pool/Submission"
import { Workflows } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import * as Host from "../../fire/real/Host.ts"
import * as Rows from "../Rows.ts"
import * as Tally from "../Tally.ts"

/** How long, how much, and what chance is. */
export interface Options {
  readonly seconds: number
  readonly seed: number
  /** It ends when so many are submitted, and have ended. */
  readonly jobs: number
  /** Default 8. */
  readonly servers?: number
  /** Jobs that wait or run at once. Default 200. */
  readonly inFlight?: number
  /** Between two kills or stops, milliseconds at most. Default 6,000. */
  readonly everyMs?: number
}

/** What is left of it. */
export interface Report {
  readonly seed: number
  readonly seconds: number
  readonly jobs: number
  readonly endings: ReadonlyMap<string, number>
  readonly kills: number
  readonly stops: number
  /** Prompts that servers began. */
  readonly began: number
  readonly lost: number
  readonly hung: number
  readonly repeated: number
  readonly doubled: number
  /** Files that a receipt names and that are not there, or are not as large. */
  readonly missing: number
  readonly left: number
  readonly complaints: ReadonlyArray<string>
}

/** What dispatchers have said: endings by job and process, and jobs by run. */
interface Said {
  readonly endings: Map<string, Array<string>>
  readonly jobOf: Map<string, string>
}

interface Dispatcher {
  readonly child: ChildProcess
  isReady: boolean
  hasEnded: boolean
}

const main = join(import.meta.dirname, "dispatcherMain.ts")

const start = (said: Said, pids: Set<number>, args: ReadonlyArray<string>): Dispatcher => {
  const child = spawn(process.execPath, ["--conditions=@effect-comfyui/source", main, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  const { pid = 0, stdout } = child
  pids.add(pid)
  const dispatcher: Dispatcher = { child, isReady: false, hasEnded: false }
  child.once("close", () => {
    dispatcher.hasEnded = true
  })
  createInterface({ input: stdout }).on("line", (line) => {
    const [word, one = "", other = ""] = line.split(" ")
    if (word === "ready") dispatcher.isReady = true
    if (word === "run") said.jobOf.set(one, other)
    if (word !== "end") return
    const told = said.endings.get(one) ?? []
    said.endings.set(one, told)
    told.push(`${pid} ${other}`)
  })
  return dispatcher
}

const end = (dispatcher: Dispatcher) =>
  Effect.suspend(() => {
    dispatcher.child.kill("SIGKILL")
    return Effect.repeat(Effect.sleep(5), { until: () => dispatcher.hasEnded })
  })

const workflowOf = (index: number) =>
  index % 3 === 0
    ? Workflows.picture({ color: index })
    : Workflows.slow({ seconds: 1 + index % 20 + index / 1_000_000 })

/** Leases run out after 30 s, a run that no server knows is given up after as long again. */
const patienceMs = 180_000

const readAll = Effect.gen(function*() {
  const queue = yield* JobQueue
  const records: Array<JobRecord> = []
  for (;;) {
    const page = yield* queue.list({ after: records.at(-1)?.head.sequence ?? -1, limit: 1_000 })
    records.push(...page)
    if (page.length < 1_000) return records
  }
})

const play = Effect.fnUntraced(function*(
  options: Options,
  folder: string,
  file: string,
  tell: (line: string) => Effect.Effect<void>
) {
  const queue = yield* JobQueue
  const said: Said = { endings: new Map(), jobOf: new Map() }
  const pids = new Set<number>()
  const hosts = yield* Effect.forEach(
    Array.from({ length: options.servers ?? 8 }, (_, index) => index),
    (index) => Host.make({ speed: 0.03, seed: options.seed + index }),
    { concurrency: "unbounded" }
  )
  for (const { process: host } of hosts) pids.add(yield* host.pid)
  const args = [file, join(folder, "files"), ...hosts.map(({ process: host }) => String(host.url))]
  const dispatchers = yield* Effect.acquireRelease(
    Effect.sync(() => [start(said, pids, args), start(said, pids, args)]),
    (all) => Effect.forEach(all, end, { discard: true })
  )
  const startedAt = yield* Clock.currentTimeMillis
  const clock = yield* Clock.Clock
  let submitted = 0
  let kills = 0
  let stops = 0
  const submit = Effect.gen(function*() {
    const id = JobId.make(`job-${submitted}`)
    const prepared = yield* Effect.fromResult(
      Submission.prepare(Jobs.make(), workflowOf(submitted), { id }, id, readTime(clock))
    )
    const { offer } = prepared
    const { payload, ...rest } = offer(1_000)
    // The sink is that of the dispatchers, by its name.
    const options = { ...prepared.entry.options, collect: join(folder, "files") }
    yield* queue.offer({ ...rest, payload: { ...payload, options } })
    submitted++
  })
  const isOver = () => Effect.map(Clock.currentTimeMillis, (now) => now - startedAt >= options.seconds * 1_000)

  const strike = Effect.gen(function*() {
    const index = yield* Random.nextIntBetween(0, dispatchers.length)
    const victim = dispatchers[index]
    if (victim?.isReady !== true) return
    if ((yield* Random.next) < 0.2) {
      stops++
      victim.isReady = false
      victim.child.kill("SIGSTOP")
      const goesOn = Effect.sync(() => {
        victim.child.kill("SIGCONT")
        victim.isReady = true
      })
      yield* Effect.forkScoped(Effect.delay(goesOn, yield* Random.nextIntBetween(5_000, 40_000)))
      return
    }
    kills++
    yield* end(victim)
    dispatchers[index] = start(said, pids, args)
  })

  const striker = yield* Effect.forkScoped(Effect.gen(function*() {
    for (;;) {
      yield* Effect.sleep(yield* Random.nextIntBetween(1_000, options.everyMs ?? 6_000))
      yield* strike
    }
  }))
  let toldAt = startedAt
  while (submitted < options.jobs && !(yield* isOver())) {
    const { claimed, waiting } = yield* queue.stats
    for (let i = waiting + claimed; i < (options.inFlight ?? 200) && submitted < options.jobs; i++) yield* submit
    yield* Effect.sleep(100)
    const now = yield* Clock.currentTimeMillis
    if (now - toldAt < 60_000) continue
    toldAt = now
    yield* tell(`${Math.round((now - startedAt) / 1_000)} s: ${submitted} jobs, ${kills} kills, ${stops} stops`)
  }
  striker.interruptUnsafe()
  for (const { child } of dispatchers) child.kill("SIGCONT")
  const rest = Effect.repeat(Effect.delay(queue.stats, 200), {
    until: ({ claimed, waiting }) => claimed + waiting === 0
  })
  yield* Effect.timeoutOption(rest, patienceMs)
  // What was settled last is told a moment later.
  yield* Effect.sleep(2_000)
  const seconds = ((yield* Clock.currentTimeMillis) - startedAt) / 1_000
  yield* Effect.forEach(dispatchers, end, { discard: true })
  const ledgers = yield* Effect.forEach(hosts, ({ ledger }) => ledger)
  return { said, pids, submitted, kills, stops, seconds, ledgers, records: yield* readAll }
})

type Played = Effect.Success<ReturnType<typeof play>>

const judge = ({ ledgers, records, said, submitted }: Played) => {
  const counts = { lost: 0, hung: 0, repeated: 0, doubled: 0, missing: 0 }
  const complaints: Array<string> = []
  const complain = (kind: keyof typeof counts, text: string) => {
    counts[kind]++
    Tally.keep(complaints, `${kind}: ${text}`)
  }
  const beganOf = new Map<string, number>()
  let began = 0
  for (const { prompts } of ledgers) {
    for (const { promptId, startedAt } of prompts) {
      if (startedAt === undefined) continue
      began++
      const job = said.jobOf.get(promptId) ?? "nobody's"
      beganOf.set(job, (beganOf.get(job) ?? 0) + 1)
    }
  }
  if (beganOf.has("nobody's")) complain("doubled", `${beganOf.get("nobody's")} prompts that nobody said he would send`)
  for (let i = records.length; i < submitted; i++) complain("lost", "a job that the queue had taken")
  const endings = new Map<string, number>()
  for (const { ending, head: { id }, state } of records) {
    Tally.count(endings, state)
    if (ending === null) {
      complain("hung", `${id} is ${state}`)
      continue
    }
    const times = beganOf.get(id) ?? 0
    if (times > ending.executions.atMost) {
      complain("doubled", `${id} began ${times} times, and says ${ending.executions.atMost} at most`)
    }
    if (state !== "succeeded") complain("lost", `${id} is ${state}`)
    const told = said.endings.get(id) ?? []
    if (new Set(told).size < told.length) complain("repeated", `${id}: ${told.join(", ")}`)
    if (told.some((one) => !one.endsWith(ending._tag))) {
      complain("repeated", `${id}: ${told.join(", ")}, ${ending._tag}`)
    }
    const receipts = ending._tag === "JobSucceeded" ? ending.receipts : []
    if (receipts.length === 0) complain("missing", `${id} has no receipts`)
    for (const { location, sizeBytes } of receipts) {
      if (statSync(location, { throwIfNoEntry: false })?.size !== sizeBytes) complain("missing", `${id}: ${location}`)
    }
  }
  return { counts, complaints, endings, began }
}

/** Runs it to its end. `tell` hears each minute what is done. */
export const run = (
  options: Options,
  tell: (line: string) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<Report> =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "comfy-durable-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const file = join(folder, "queue.db")
    const played = yield* Effect.scoped(play(options, folder, file, tell)).pipe(
      Effect.provide(JobQueueSqliteNode.layerFile(file, { history: 1_000_000 })),
      Effect.orDie
    )
    const { counts, ...judged } = judge(played)
    const { kills, pids, seconds, stops, submitted } = played
    const left = (yield* Effect.forEach([...pids], Host.isAlive)).filter(Boolean).length
    return { seed: options.seed, seconds, jobs: submitted, kills, stops, left, ...counts, ...judged }
  }).pipe(Effect.scoped, Random.withSeed(options.seed))

/** Whether nothing was lost, hangs, was told or ran twice unsaid, and no process is left. */
export const isFine = ({ complaints, left }: Report): boolean => complaints.length === 0 && left === 0

const row = Rows.row(40)

/** The table, line by line. */
export const lines = (report: Report): ReadonlyArray<string> => [
  row("seed", report.seed),
  row("seconds", Math.round(report.seconds)),
  row("jobs", report.jobs),
  ...Rows.counted(report.endings, row),
  row("dispatchers killed", report.kills),
  row("dispatchers stopped for a while", report.stops),
  row("executions that servers began", report.began),
  row("lost", report.lost),
  row("hung", report.hung),
  row("double reports", report.repeated),
  row("doubled, undeclared", report.doubled),
  row("files missing", report.missing),
  row("processes left behind", report.left),
  ...report.complaints.map((text) => `complaint: ${text}`)
]
