/**
 * Asks a server about one prompt: the job where the version has jobs, else history before queue, so that a prompt on its
 * way from one to the other is never missed. Outputs always come from the history, in the shape of the socket's.
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import * as History from "@effect-comfyui/protocol/History"
import type * as Jobs from "@effect-comfyui/protocol/Jobs"
import * as Queue from "@effect-comfyui/protocol/Queue"
import type * as Json from "@effect-comfyui/workflow/Json"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { classify, raisedBy } from "./Attribution.ts"
import { type ComfyHttpError, toExecutionReason } from "./ComfyHttpError.ts"
import type { HttpPrompts } from "./HttpPrompts.ts"
import type { Answer, Outcome } from "./RunAnswer.ts"

/** What the asker knows of the server and of what was asked before. */
export interface AskContext {
  readonly hasJobs: boolean
  /** The server keeps ids that clients choose. */
  readonly authoritative: boolean
  /** The queue as it was read lately, by any run; without it the whole queue, which is large, may be read. */
  readonly lately: QueueOrder | undefined
  /** The run has begun as far as frames told. */
  readonly started: boolean
}

/** Which prompts run, and which wait, in their order. */
export interface QueueOrder {
  readonly running: ReadonlyArray<string>
  readonly waiting: ReadonlyArray<string>
}

/** An answer, and the queue if it was read for it. */
export interface Asked {
  readonly answer: Answer
  readonly queue: QueueOrder | undefined
}

const asked = (answer: Answer, queue?: QueueOrder): Asked => ({ answer, queue })

const finished = (outcome: Outcome): Answer => ({ _tag: "Finished", outcome })

const failedWithout = (what: string): Outcome => ({
  _tag: "Error",
  reason: { _tag: "ProtocolViolation", kind: what, excerpt: "" }
})

const fromTerminal = (
  terminal: History.Terminal | undefined,
  status: History.Status | null | undefined,
  outputs: Json.JsonObject
): Outcome => {
  switch (terminal?.type) {
    case "execution_success":
      return { _tag: "Success", outputs: Outputs.fromRecords(outputs) }
    case "execution_error":
      return { _tag: "Error", reason: classify(raisedBy(terminal.data)) }
    case "execution_interrupted":
      return { _tag: "Interrupted" }
    case undefined:
      // Very old servers, and entries that others wrote, say it by the status alone.
      return status?.completed === true || status?.status_str === "success"
        ? { _tag: "Success", outputs: Outputs.fromRecords(outputs) }
        : failedWithout("history entry without an ending")
  }
}

/** How a history entry says that its run ended. */
export const fromEntry = (entry: History.Entry): Outcome =>
  fromTerminal(History.terminal(entry.status), entry.status, entry.outputs)

const fromJob = (job: Jobs.Job): Outcome => {
  const terminal = History.terminal(job.execution_status)
  if (terminal !== undefined) return fromTerminal(terminal, job.execution_status, job.outputs ?? {})
  switch (job.status) {
    case "completed":
      return { _tag: "Success", outputs: Outputs.fromRecords(job.outputs ?? {}) }
    case "cancelled":
      return { _tag: "Interrupted" }
    default:
      return job.execution_error === undefined || job.execution_error === null
        ? failedWithout("failed job without an error")
        : { _tag: "Error", reason: classify(raisedBy(job.execution_error)) }
  }
}

/** ComfyUI's own 500: it holds an entry that it cannot write. */
const isOwnBreakdown = (error: ComfyHttpError): boolean => error.status === 500 && error.reason._tag === "Answered"

/** For half a minute it may be an accident, of a gateway perhaps; an entry that cannot be written breaks every answer. */
const untilSurelyBroken = <A>(question: Effect.Effect<A, ComfyHttpError>): Effect.Effect<A, ComfyHttpError> =>
  Effect.retry(question, { while: isOwnBreakdown, times: 5, schedule: Schedule.exponential("1 second") })

const noAnswer = (reason: Reason): Answer => ({ _tag: "NoAnswer", reason })

/** A waiting prompt of which the queue was not read. */
const waitsSomewhere: Answer = { _tag: "Waiting", ahead: null, serverIdle: null, behind: null }

const orderOf = (queue: Queue.Queue): QueueOrder => ({
  running: queue.queue_running.map(Queue.promptIdOf),
  waiting: Queue.sorted(queue.queue_pending).map(Queue.promptIdOf)
})

const inQueue = ({ running, waiting }: QueueOrder, promptId: string): Answer | undefined => {
  if (running.includes(promptId)) return { _tag: "Running" }
  const ahead = waiting.indexOf(promptId)
  if (ahead === -1) return undefined
  return {
    _tag: "Waiting",
    ahead: ahead + running.length,
    serverIdle: running.length === 0,
    behind: running[0] ?? null
  }
}

/** Asks once. Never fails: no answer is an answer. */
export const ask = (http: HttpPrompts, promptId: string, context: AskContext): Effect.Effect<Asked> => {
  const unknown: Answer = { _tag: "Unknown", authoritative: context.authoritative }

  const queue = Effect.map(http.queue, orderOf)

  const history = Effect.map(http.history(promptId), Option.map((entry) => finished(fromEntry(entry))))

  /** Where the run is while it has no history; `otherwise` if only the whole queue could tell and may not be read. */
  const pending = (otherwise: Answer): Effect.Effect<Asked, ComfyHttpError> =>
    Effect.flatMap(http.queueRemaining, (remaining) => {
      if (remaining === 0) return Effect.succeed(asked(unknown))
      return context.lately === undefined
        ? Effect.map(queue, (order) => asked(inQueue(order, promptId) ?? unknown, order))
        : Effect.succeed(asked(inQueue(context.lately, promptId) ?? otherwise))
    })

  const byHistory = Effect.gen(function*() {
    const before = yield* history
    if (Option.isSome(before)) return asked(before.value)
    const where = yield* pending(context.started ? { _tag: "Running" } : waitsSomewhere)
    if (where.answer._tag !== "Unknown") return where
    // It may have gone from the queue to the history between the two questions.
    const after = yield* history
    return Option.isSome(after) ? asked(after.value, where.queue) : where
  })

  /** A waiting prompt, and whether anything else is there: alone with an idle worker it should run at once. */
  const waiting = Effect.gen(function*() {
    const remaining = yield* http.queueRemaining
    if (remaining <= 1) return asked({ _tag: "Waiting", ahead: 0, serverIdle: true, behind: null })
    const order = context.lately ?? (yield* queue)
    return asked(inQueue(order, promptId) ?? waitsSomewhere, context.lately === undefined ? order : undefined)
  })

  const byJob = Effect.gen(function*() {
    const job = yield* http.job(promptId)
    if (Option.isNone(job)) return asked(unknown)
    switch (job.value.status) {
      case "pending":
        return yield* waiting
      case "in_progress":
        return asked({ _tag: "Running" })
      default: {
        // An entry that cannot be written breaks its own history, not that of the job list.
        const entry = yield* history.pipe(untilSurelyBroken, Effect.catchIf(isOwnBreakdown, () => Effect.succeedNone))
        return asked(Option.getOrElse(entry, () => finished(fromJob(job.value))))
      }
    }
  })

  const listed = Effect.map(http.jobs({ limit: 200 }), (page) => {
    const job = page.jobs.find((job) => job.id === promptId)
    return asked(
      job === undefined || job.status === "pending" || job.status === "in_progress"
        ? noAnswer({ _tag: "ProtocolViolation", kind: "unreadable job", excerpt: promptId })
        : finished(fromJob(job))
    )
  })

  const answer = context.hasJobs
    ? byJob.pipe(
      Effect.catchIf(isOwnBreakdown, () => byHistory),
      untilSurelyBroken,
      Effect.catchIf(isOwnBreakdown, () => listed)
    )
    : byHistory
  return Effect.catch(answer, (error) => Effect.succeed(asked(noAnswer(toExecutionReason(error)))))
}
