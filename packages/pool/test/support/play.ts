// The pool's model, played on a real pool on fake servers in memory: every job is held against what the model permits.
import type { JobEnding, JobEvent } from "@effect-comfyui/execution/JobEvent"
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import * as Pool from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { idOf, layerFleet, ready } from "./fleet.ts"
import { chosen, type Command, initial, type Kind, mayEnd, type Sequence, servers, step } from "./Model.ts"

const workflowOf = (kind: Kind, size: number, index: number): Workflow.Workflow => {
  switch (kind) {
    case "picture":
      return Workflows.picture({ color: size * 1000 + index })
    case "counting":
      return Workflows.counting({ steps: size + index, stepMs: 300 })
    case "slow":
      return Workflows.slow({ seconds: size * 3 + index / 10 })
    case "failing":
      return Workflows.raising({ message: `job ${index}` })
    case "outOfMemory":
      return Workflows.outOfMemory({ seconds: size / 10 + index / 100 })
    case "nobody":
      return Workflow.fromNodes({ "1": { class_type: `Nobody${index}`, inputs: {} } })
  }
}

interface Watched {
  readonly job: Pool.PoolJob
  readonly events: Array<JobEvent>
}

const endingOf = ({ events }: Watched): JobEnding | undefined => events.find(isJobEnding)

const nameOf = (ending: JobEnding): string =>
  ending._tag === "JobFailed" || ending._tag === "DeadLettered"
    ? `${ending._tag} ${ending.error.reason._tag}`
    : ending._tag

/** What is wrong with one job, with the ledgers of all servers as the witnesses. */
const complaints = Effect.fnUntraced(function*({ events, job }: Watched, may: ReadonlySet<string>) {
  const out: Array<string> = []
  const last = events.at(-1)
  const endings = events.filter(isJobEnding)
  if (last === undefined || !isJobEnding(last)) return [`${job.id}: open after ${last?._tag}`]
  if (endings.length !== 1) out.push(`${job.id}: ${endings.length} endings`)
  if (!may.has(nameOf(last))) out.push(`${job.id}: ended as ${nameOf(last)}, not ${[...may]}`)
  let sequence = -1
  for (const event of events) {
    const passes = event._tag === "Attempt" && ["NodeProgress", "Preview", "NodeText"].includes(event.event._tag)
    if (!passes) sequence++
    if (event.sequence !== sequence) {
      out.push(`${job.id}: ${event._tag} has sequence ${event.sequence}, not ${sequence}`)
    }
  }
  const attempts = yield* job.why
  let started = 0
  let succeeded = 0
  for (let n = 1; n <= servers; n++) {
    const { prompts } = yield* (yield* ComfyTest.serverOf(ComfyTest.nameOf(n))).ledger
    for (const prompt of prompts) {
      if (!attempts.some(({ runId }) => runId === prompt.promptId)) continue
      if (prompt.startedAt !== undefined) started++
      if (prompt.outcome === "success") succeeded++
    }
  }
  if (started > last.executions.atMost) out.push(`${job.id}: ran ${started} times, said ${last.executions.atMost}`)
  if (last._tag === "JobSucceeded" && succeeded === 0) out.push(`${job.id}: succeeded nowhere`)
  return out
})

/** Plays it on a pool of its own in virtual time; gives back what is wrong with its jobs. */
export const play = ({ commands, seed }: Sequence) =>
  Effect.gen(function*() {
    const pool = yield* Pool.Pool
    let model = initial
    const jobs: Array<Watched> = []
    const isOpen = (index: number): boolean => {
      const watched = jobs[index]
      return watched !== undefined && endingOf(watched) === undefined
    }
    const up = new Set([1, 2, 3])
    const obey = Effect.fnUntraced(function*(command: Command) {
      switch (command._tag) {
        case "Submit": {
          const { kind, priority, size, tenant } = command
          const job = yield* pool.submit(workflowOf(kind, size, jobs.length), { priority, tenant })
          const events: Array<JobEvent> = []
          yield* Effect.forkScoped(
            Stream.runForEach(job.events({ progress: "all", previews: "all" }), (event) =>
              Effect.sync(() => void events.push(event))),
            { startImmediately: true }
          )
          jobs.push({ job, events })
          return
        }
        case "Cancel": {
          const index = chosen(command.job, jobs.length)
          const watched = index === undefined ? undefined : jobs[index]
          if (watched !== undefined) {
            yield* Effect.forkScoped(Effect.ignore(watched.job.cancel), { startImmediately: true })
          }
          return
        }
        case "Advance":
          return yield* TestClock.adjust(command.ms)
        case "Add":
          yield* pool.servers.add(yield* ready(command.server))
          return
        case "Remove":
          yield* Effect.forkScoped(pool.servers.remove(idOf(command.server)), { startImmediately: true })
          return
        case "Pause":
          return yield* pool.servers.pause(idOf(command.server))
        case "Resume":
          return yield* pool.servers.resume(idOf(command.server))
        default: {
          const server = yield* ComfyTest.serverOf(ComfyTest.nameOf(command.server))
          if (command._tag === "Cut") {
            return yield* server.cutSockets()
          }
          if (command._tag === "Deafen") {
            return yield* server.deafenSockets()
          }
          if (command._tag === "Flap") {
            yield* server.inject(Fault.flapping({ upMs: 2_000, downMs: 2_000, schedule: { forMs: 20_000 } }))
            return
          }
          up[command._tag === "Kill" ? "delete" : "add"](command.server)
          return yield* command._tag === "Kill" ? server.kill : server.restart
        }
      }
    })
    for (const command of commands) {
      model = step(model, command, isOpen)
      yield* obey(command)
    }
    // Nothing stays broken for ever: every server is up, a member, and in use.
    for (let n = 1; n <= servers; n++) {
      const server = yield* ComfyTest.serverOf(ComfyTest.nameOf(n))
      if (!up.has(n)) {
        model = step(model, { _tag: "Restart", server: n }, isOpen)
        yield* server.restart
      }
      yield* pool.servers.add(yield* ready(n))
      yield* pool.servers.resume(idOf(n))
    }
    yield* Effect.ignore(
      ComfyTest.advanceUntil(() =>
        jobs.every((_, index) => !isOpen(index)), { step: "5 seconds", limit: "3 hours" })
    )
    const wrong: Array<string> = []
    for (const [index, watched] of jobs.entries()) {
      const job = model.jobs[index]
      if (job !== undefined) wrong.push(...(yield* complaints(watched, mayEnd(job))))
    }
    return wrong
  }).pipe(
    Effect.scoped,
    Effect.provide(layerFleet(servers, { members: 2 }).pipe(Layer.provideMerge(TestClock.layer()))),
    Random.withSeed(seed)
  )
