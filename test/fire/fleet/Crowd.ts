/** The people of one pool: they submit, listen, wait, and change their minds. */
import type { JobError, JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type { JobOptions } from "@effect-comfyui/pool/JobOptions"
import type * as Pool from "@effect-comfyui/pool/Pool"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { workflowOf } from "../Scenario.ts"
import type { Heard, SeenJob } from "./Observation.ts"
import type { FleetJob } from "./Scenario.ts"

interface Listening {
  readonly events: Array<JobEvent>
  exit: Exit.Exit<void> | undefined
}

/** A job on its way. */
export interface Running {
  readonly index: number
  readonly job: FleetJob
  readonly affinity: string
  readonly paid: boolean
  readonly submittedAt: number
  pooled: Pool.PoolJob | undefined
  refused: PoolError | undefined
  main: Listening
  readonly others: Array<Listening>
  result: Exit.Exit<unknown, JobError> | undefined
  cancel: { readonly at: number; answered: boolean } | undefined
}

/** How jobs are made of what chance says; by default as for one server. */
export interface Habits {
  readonly workflow?: (job: FleetJob, index: number) => Workflow
  readonly options?: (job: FleetJob, index: number) => JobOptions
  /** A subscriber that takes so many milliseconds for every event. */
  readonly slowConsumerMs?: number
}

export interface Crowd {
  readonly running: ReadonlyArray<Running>
  /** From the submission on; its later subscriber and its cancellation come by themselves. */
  readonly start: (job: FleetJob) => Effect.Effect<Running, never, Scope.Scope>
  readonly cancel: (running: Running) => Effect.Effect<void, never, Scope.Scope>
}

const listen = Effect.fnUntraced(function*(stream: Stream.Stream<JobEvent>, slowMs: number) {
  const listening: Listening = { events: [], exit: undefined }
  const take = (event: JobEvent) => {
    listening.events.push(event)
    return slowMs > 0 ? Effect.sleep(slowMs) : Effect.void
  }
  const fiber = yield* Effect.forkScoped(Stream.runForEach(stream, take), { startImmediately: true })
  fiber.addObserver((exit) => {
    listening.exit = exit
  })
  return listening
})

const silence = (): Listening => ({ events: [], exit: undefined })

/** `pace`: how many real milliseconds one of a scenario takes. */
export const gather = (pool: Pool.Shape, habits: Habits = {}, pace = 1): Crowd => {
  const running: Array<Running> = []

  const cancel = Effect.fnUntraced(function*(one: Running) {
    const { pooled } = one
    if (pooled === undefined || isOver(one)) return
    const asked = one.cancel ??= { at: yield* Clock.currentTimeMillis, answered: false }
    yield* Effect.forkScoped(
      Effect.andThen(
        Effect.ignore(pooled.cancel),
        Effect.sync(() => {
          asked.answered = true
        })
      ),
      { startImmediately: true }
    )
  })

  const later = (ms: number | undefined, act: Effect.Effect<void, never, Scope.Scope>) =>
    ms === undefined ? Effect.void : Effect.forkScoped(Effect.delay(act, Math.round(ms * pace)))

  const start = Effect.fnUntraced(function*(job: FleetJob) {
    const index = running.length
    const workflow = (habits.workflow ?? workflowOf)(job, index)
    const options = habits.options?.(job, index) ?? {}
    const one: Running = {
      index,
      job,
      affinity: Result.getOrElse(WorkflowKey.affinity(workflow), () => ""),
      paid: options.paid === true,
      submittedAt: yield* Clock.currentTimeMillis,
      pooled: undefined,
      refused: undefined,
      main: silence(),
      others: [],
      result: undefined,
      cancel: undefined
    }
    running.push(one)
    const submitted = yield* Effect.result(
      pool.submit(workflow, { tenant: job.tenant, priority: job.priority, ...options })
    )
    if (submitted._tag === "Failure") {
      one.refused = submitted.failure
      return one
    }
    const pooled = submitted.success
    one.pooled = pooled
    one.main = yield* listen(pooled.events({ progress: "all", previews: "all" }), 0)
    if (habits.slowConsumerMs !== undefined) {
      one.others.push(yield* listen(pooled.events({ capacity: 8 }), habits.slowConsumerMs))
    }
    const waiting = yield* Effect.forkScoped(pooled.result, { startImmediately: true })
    waiting.addObserver((exit) => {
      one.result = exit
    })
    yield* later(
      job.attachMs,
      Effect.map(listen(pooled.events(), 0), (other) => void one.others.push(other))
    )
    yield* later(job.cancelMs, cancel(one))
    return one
  })

  return { running, start, cancel }
}

const ended = ({ exit }: Listening): boolean => exit !== undefined

/** It was refused, or everybody who wants to know has heard of its end. */
export const isOver = ({ cancel, main, others, refused, result }: Running): boolean =>
  refused !== undefined ||
  (ended(main) && others.every(ended) && result !== undefined && cancel?.answered !== false)

const toHeard = ({ events, exit }: Listening): Heard => ({ events: [...events], exit })

export const toSeen = Effect.fnUntraced(function*(one: Running): Effect.fn.Return<SeenJob> {
  const why = one.pooled === undefined ? [] : yield* one.pooled.why
  const { affinity, cancel, index, job, main, others, paid, refused, result, submittedAt } = one
  return {
    index,
    job,
    affinity,
    paid,
    submittedAt,
    refused,
    result,
    cancel,
    runs: new Set(why.map(({ runId }) => runId)),
    attempts: why.at(-1)?.number ?? 0,
    main: toHeard(main),
    others: others.map(toHeard)
  }
})
