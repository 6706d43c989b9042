/**
 * A pool in this process over fake servers in processes of their own, which are killed and started again by chance. Ends
 * by itself, when the time is over or enough jobs are done, and leaves no process.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { MinimumLogLevel } from "effect/References"
import * as Stream from "effect/Stream"
import * as Host from "../../fire/real/Host.ts"
import { type Job, kinds, workflowOf } from "../../fire/Scenario.ts"
import * as Rows from "../Rows.ts"
import { impatient } from "../Soak.ts"
import * as Tally from "../Tally.ts"
import * as Accounts from "./Accounts.ts"

/** How long, how much, and what chance is. */
export interface Options {
  readonly seconds: number
  readonly seed: number
  /** It ends when so many are done. */
  readonly jobs: number
  /** Default 8. */
  readonly servers?: number
  /** Jobs at once. Default 4 for each server. */
  readonly inFlight?: number
}

/** What is left of it. */
export interface Report {
  readonly seed: number
  readonly seconds: number
  readonly jobs: number
  readonly endings: ReadonlyMap<string, number>
  readonly kills: number
  /** Prompts that servers began, as far as their ledgers tell, and the most that the jobs said. */
  readonly began: number
  readonly declared: number
  readonly lost: number
  readonly hung: number
  readonly repeated: number
  readonly doubled: number
  readonly untrue: number
  /** Processes that are still there. */
  readonly left: number
  readonly complaints: ReadonlyArray<string>
}

/** How long jobs may take to end once nothing is killed any more. */
const patience = "90 seconds"

/** Everything that happens is written down here. */
interface State {
  readonly jobs: Array<Accounts.Heard>
  readonly book: Accounts.Book
  readonly pids: Set<number>
  readonly accidents: Array<string>
  kills: number
  done: number
}

/** What chance makes of a job: the kinds of the fault table, without those that are always cancelled. */
const anyJob = Effect.map(
  Effect.all([Random.nextIntBetween(0, kinds.length - 1), Random.nextIntBetween(1, 8)]),
  ([kind, size]): Job => ({
    kind: kinds[kind] ?? "picture",
    size,
    startMs: 0,
    cancelMs: undefined,
    attachMs: undefined
  })
)

/** A workflow of the fault table grows with its number: these stay as short as the first ones are. */
const workflows = 50

const one = Effect.fnUntraced(function*(pool: Pool.Shape, state: State) {
  const wanted = yield* anyJob
  const index = state.jobs.length
  const job = Accounts.heard(`${wanted.kind} ${index}`)
  state.jobs.push(job)
  const submitted = yield* Effect.orDie(pool.submit(workflowOf(wanted, index % workflows)))
  const ended = new Set<number>()
  yield* Stream.runForEach(
    submitted.events({ previews: "none" }),
    (event) => Effect.sync(() => Accounts.hear(job, event, ended))
  )
  state.done++
})

const worker = (pool: Pool.Shape, state: State, goesOn: () => boolean) =>
  Effect.gen(function*() {
    while (goesOn()) yield* one(pool, state)
  })

const look = Effect.fnUntraced(function*(host: Host.Host, state: State) {
  Accounts.write(state.book, host.server.origin, yield* host.ledger)
  host.forget(() => false)
})

/** Kills the process and starts another, again and again; what it did is written down before. */
const killer = Effect.fnUntraced(function*(host: Host.Host, state: State, goesOn: () => boolean) {
  while (goesOn()) {
    yield* Effect.sleep(yield* Random.nextIntBetween(1_500, 12_000))
    yield* look(host, state)
    if (!goesOn()) return
    yield* host.kill
    state.kills++
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 800))
    yield* host.restart
    state.pids.add(yield* host.process.pid)
    yield* look(host, state)
  }
})

const play = Effect.fnUntraced(function*(options: Options, state: State, tell: (line: string) => Effect.Effect<void>) {
  const hosts = yield* Effect.forEach(
    Array.from({ length: options.servers ?? 8 }, (_, index) => index),
    (index) => Host.make({ speed: 0.03, seed: options.seed + index }),
    { concurrency: "unbounded" }
  )
  for (const { process } of hosts) state.pids.add(yield* process.pid)
  const pool = yield* Pool.make({
    servers: hosts.map(({ process }, index) => {
      const id = BackendId.make(`gpu-${index + 1}`)
      return { id, make: Effect.map(ComfyClient.make({ id, url: process.url, ...impatient }), ComfyClient.backend) }
    }),
    probe: "1 second",
    // Processes die all the time here: what a real fleet would spare itself is what is tried.
    failover: { delay: 50, delayCap: 500 },
    budget: { share: 10, fixed: 1_000 },
    breakers: { open: 500, openCap: 2_000 }
  })
  const startedAt = yield* Clock.currentTimeMillis
  let isOver = false
  const goesOn = () => !isOver && state.jobs.length < options.jobs
  const note = <A, E>(fiber: Fiber.Fiber<A, E>) =>
    Effect.map(Fiber.await(fiber), (exit) => {
      if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) {
        Tally.keep(state.accidents, Cause.pretty(exit.cause))
      }
    })
  const killers = yield* Effect.forEach(hosts, (host) => Effect.forkScoped(killer(host, state, goesOn)))
  const workers = yield* Effect.forEach(
    Array.from({ length: options.inFlight ?? 4 * hosts.length }),
    () => Effect.forkScoped(worker(pool, state, goesOn))
  )
  const endsAt = startedAt + options.seconds * 1_000
  let told = startedAt
  while (goesOn() && (yield* Clock.currentTimeMillis) < endsAt) {
    yield* Effect.sleep(200)
    const now = yield* Clock.currentTimeMillis
    if (now - told >= 60_000) {
      told = now
      yield* tell(`${Math.round((now - startedAt) / 1_000)} s: ${state.done} jobs, ${state.kills} kills`)
    }
  }
  isOver = true
  yield* Effect.forEach(killers, note, { discard: true })
  yield* Effect.timeoutOption(Effect.forEach(workers, note, { discard: true }), patience)
  yield* Effect.forEach(workers, Fiber.interrupt, { concurrency: "unbounded", discard: true })
  yield* Effect.forEach(hosts, (host) => look(host, state), { discard: true })
  return ((yield* Clock.currentTimeMillis) - startedAt) / 1_000
})

/** Runs it to its end. `tell` hears each minute what is done. */
export const run = (
  options: Options,
  tell: (line: string) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<Report> =>
  Effect.gen(function*() {
    const state: State = { jobs: [], book: new Map(), pids: new Set(), accidents: [], kills: 0, done: 0 }
    const seconds = yield* Effect.scoped(play(options, state, tell)).pipe(
      Effect.provide([JobQueueMemory.layerMemory, RouterPolicies.layerCostAware, PlatformNode.layer()])
    )
    const endings = new Map<string, number>()
    const complaints: Array<string> = [...state.accidents.map((text) => `accident: ${text}`)]
    const counts = { lost: 0, hung: 0, repeated: 0, doubled: 0, untrue: 0 }
    let began = 0
    let declared = 0
    for (const job of state.jobs) {
      const verdict = Accounts.judge(job, state.book)
      const [ending] = job.endings
      Tally.count(endings, Accounts.nameOf(ending))
      began += verdict.began
      declared += ending?.executions.atMost ?? 0
      for (const wrong of Accounts.wrongs) {
        if (!verdict[wrong]) continue
        counts[wrong]++
        Tally.keep(complaints, `${wrong}: ${job.name}, ${Accounts.nameOf(ending)}, began ${verdict.began} times`)
      }
    }
    const left = (yield* Effect.forEach([...state.pids], Host.isAlive)).filter(Boolean).length
    return {
      seed: options.seed,
      seconds,
      jobs: state.jobs.length,
      endings,
      kills: state.kills,
      began,
      declared,
      ...counts,
      left,
      complaints
    }
  }).pipe(Random.withSeed(options.seed), Effect.provideService(MinimumLogLevel, "None"))

/** Whether nothing was lost, hangs, was told or ran twice unsaid, and no process is left. */
export const isFine = ({ complaints, left }: Report): boolean => complaints.length === 0 && left === 0

const row = Rows.row(40)

/** The table, line by line. */
export const lines = (report: Report): ReadonlyArray<string> => [
  row("seed", report.seed),
  row("seconds", Math.round(report.seconds)),
  row("jobs", report.jobs),
  ...Rows.counted(report.endings, row),
  row("processes killed", report.kills),
  row("executions that servers began, known", report.began),
  row("executions that jobs declared, at most", report.declared),
  row("jobs without exactly one ending", report.lost),
  row("hung", report.hung),
  row("double reports", report.repeated),
  row("doubled, undeclared", report.doubled),
  row("endings that contradict the ledger", report.untrue),
  row("processes left behind", report.left),
  ...report.complaints.map((text) => `complaint: ${text}`)
]
