/** The runs of one client from outside: started, followed, asked for, cancelled, and settled when the client closes. */
import { BackendError, type CancelOutcome, type RunStatus } from "@effect-comfyui/execution/Backend"
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { type BackendId, makeRunId, type RunId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { toBackendError } from "./ComfyHttpError.ts"
import * as Defaults from "./Defaults.ts"
import * as Run from "./Run.ts"
import type { Answer } from "./RunAnswer.ts"
import {
  cancelOnServer,
  cancelRun,
  drive,
  feed,
  locate,
  noAnswer,
  observe,
  type RunContext,
  type Submission
} from "./RunDrive.ts"
import * as RunEntry from "./RunEntry.ts"
import * as Runs from "./Runs.ts"
import * as RunState from "./RunState.ts"
import type * as RunWatch from "./RunWatch.ts"

/** A run to be started. */
export interface Start extends Submission {
  readonly runId: RunId | undefined
  readonly onClose: "cancel" | "leave"
}

/** What the host needs beside what every run shares. */
export interface HostOptions {
  readonly backend: BackendId
  readonly context: RunContext
  readonly runs: Runs.Runs
  readonly watch: RunWatch.Options
}

/** The runs of one client. */
export interface RunHost {
  /** Submits in the background. A taken id or a closed client is an entry that has ended already. */
  readonly start: (start: Start) => Effect.Effect<RunEntry.RunEntry>
  /** Cancels a run of this client for a consumer that is gone: bounded, and never fails. */
  readonly abandon: (entry: RunEntry.RunEntry) => Effect.Effect<void>
  readonly attach: (id: RunId) => Stream.Stream<ExecutionEvent>
  readonly status: (id: RunId) => Effect.Effect<RunStatus, BackendError>
  readonly cancel: (id: RunId) => Effect.Effect<CancelOutcome, BackendError>
  readonly cancelEntry: (entry: RunEntry.RunEntry) => Effect.Effect<CancelOutcome, BackendError>
  /** Cancels a prompt that was given up and came up again. */
  readonly cancelRisen: (promptId: string) => Effect.Effect<void>
  /** Refuses what comes, settles what is open, and ends every fiber. */
  readonly close: Effect.Effect<void>
}

const toBackendReason = (reason: Reason): BackendError["reason"] => {
  switch (reason._tag) {
    case "Unreachable":
    case "RateLimited":
    case "Unauthorized":
    case "ProtocolViolation":
    case "Closed":
      return reason
    default:
      return { _tag: "ProtocolViolation", kind: reason._tag, excerpt: "" }
  }
}

export const make = (options: HostOptions): RunHost => {
  const { backend, context, runs } = options
  const scope = Scope.makeUnsafe()
  const observers = new Set<RunEntry.RunEntry>()
  let closed = false

  const time = () => readTime(context.clock)
  const fork = (effect: Effect.Effect<void>) => Effect.asVoid(Effect.forkIn(effect, scope, { startImmediately: true }))

  const subject = (runId: RunId, workflow?: Workflow.Workflow): RunState.Subject => ({
    runId,
    backend,
    classTypeOf: (nodeId) => workflow === undefined ? null : Workflow.node(workflow, nodeId)?.class_type ?? null
  })

  const refuse = (entry: RunEntry.RunEntry, reason: Reason) =>
    feed(context, entry, { _tag: "Refused", via: "client", reason })

  /** A driver that ends without an ending was interrupted by the end of the client, or has a fault of its own. */
  const settle = (entry: RunEntry.RunEntry, exit: Exit.Exit<unknown>) => {
    if (Exit.isFailure(exit) && entry.state.phase !== "ended") {
      if (Cause.hasInterruptsOnly(exit.cause)) feed(context, entry, { _tag: "Closed" })
      else {
        refuse(entry, {
          _tag: "ProtocolViolation",
          kind: "internal error",
          excerpt: Cause.pretty(exit.cause).slice(0, 200)
        })
      }
    }
  }

  const start = Effect.fnUntraced(function*(wanted: Start) {
    const runId = wanted.runId ?? (yield* makeRunId)
    const state = RunState.make(subject(runId, wanted.workflow), "unsent", time(), options.watch)
    const entry = RunEntry.make(state, wanted.onClose)
    if (closed || Runs.isTaken(runs, runId)) {
      refuse(entry, closed ? { _tag: "Closed" } : { _tag: "DuplicateRun" })
      return entry
    }
    Runs.add(runs, entry)
    yield* drive(context, entry, wanted).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          settle(entry, exit)
          const reason = entry.state.ending?._tag === "Failed" ? entry.state.ending.error.reason._tag : undefined
          const inDoubt = entry.state.doubt !== undefined || reason === "SubmitAmbiguous"
          Runs.remove(runs, entry, inDoubt, time())
          if (entry.state.ending?._tag === "Completed") context.facts.finished(entry.state.promptId)
          if (reason === "MissingCapability") context.facts.doubtCapabilities()
        })
      ),
      fork
    )
    return entry
  })

  const abandon = (entry: RunEntry.RunEntry) =>
    entry.state.phase === "ended"
      ? Effect.void
      : cancelRun(context, entry, fork).pipe(Effect.timeoutOption(Defaults.cancel.onInterrupt), Effect.ignore)

  const ofThisClient = (id: RunId) => runs.byRun.get(id)

  const watchFromOutside = (id: RunId) =>
    Stream.unwrap(Effect.gen(function*() {
      const [state, events] = Run.attach(subject(id), time(), options.watch)
      const entry = RunEntry.make(state, "leave")
      RunEntry.publish(entry, events)
      if (closed) refuse(entry, { _tag: "Closed" })
      yield* Effect.acquireRelease(
        Effect.sync(() => observers.add(entry)),
        () => Effect.sync(() => observers.delete(entry))
      )
      yield* Effect.forkScoped(observe(context, entry))
      return RunEntry.events(entry)
    }))

  const answerOf = (id: RunId): Effect.Effect<Answer> => {
    const entry = ofThisClient(id)
    return locate(context, entry?.state.promptId ?? id, entry)
  }

  const status = (id: RunId): Effect.Effect<RunStatus, BackendError> =>
    Effect.flatMap(answerOf(id), (answer): Effect.Effect<RunStatus, BackendError> => {
      switch (answer._tag) {
        case "Finished":
          return Effect.succeed({ _tag: "Finished", ending: Run.endingOf(subject(id), answer.outcome, time()) })
        case "Running":
          return Effect.succeed({ _tag: "Running" })
        case "Waiting":
          return Effect.succeed({ _tag: "Waiting", ahead: answer.ahead })
        case "Unknown":
          return Effect.succeed({ _tag: "Unknown" })
        case "NoAnswer":
          return Effect.fail(new BackendError({ reason: toBackendReason(answer.reason) }))
      }
    })

  const cancel = (id: RunId): Effect.Effect<CancelOutcome, BackendError> => {
    const entry = ofThisClient(id)
    if (entry !== undefined) return cancelRun(context, entry, fork)
    return Effect.filterOrFail(
      Effect.mapError(cancelOnServer(context, id), toBackendError),
      (outcome) => outcome !== "no-answer",
      () => noAnswer
    )
  }

  /** What was posted, or is being posted, is taken back where its starter wants that. */
  const takeBack = (entry: RunEntry.RunEntry) =>
    Effect.andThen(Deferred.await(entry.posted), cancelOnServer(context, entry.state.promptId)).pipe(
      Effect.timeoutOption(Defaults.cancel.onInterrupt),
      Effect.ignore
    )

  const close = Effect.gen(function*() {
    closed = true
    const open = [...runs.byRun.values()]
    // A run that has ended may still be here, while its driver finishes.
    const sent = open.filter(({ onClose, state }) =>
      onClose === "cancel" && state.phase !== "unsent" && state.phase !== "ended"
    )
    // Whoever waits is free at once; the server is told afterwards.
    for (const entry of [...open, ...observers]) feed(context, entry, { _tag: "Closed" })
    yield* Effect.forEach(sent, takeBack, { concurrency: "unbounded", discard: true })
    yield* Scope.close(scope, Exit.void)
  })

  return {
    start,
    abandon,
    attach: (id) => {
      const entry = ofThisClient(id)
      return entry === undefined ? watchFromOutside(id) : RunEntry.events(entry)
    },
    status,
    cancel,
    cancelEntry: (entry) => cancelRun(context, entry, fork),
    cancelRisen: (promptId) => Effect.ignore(cancelOnServer(context, promptId)),
    close
  }
}

/** The error of a run that ended before the server had accepted it. */
export const notAccepted = (entry: RunEntry.RunEntry): ExecutionError => {
  const { ending, subject } = entry.state
  if (ending?._tag === "Failed") return ending.error
  const reason: Reason = ending?._tag === "Cancelled" ? { _tag: "Cancelled", by: ending.by } : { _tag: "Closed" }
  return new ExecutionError({ reason, runId: subject.runId, backend: subject.backend })
}
