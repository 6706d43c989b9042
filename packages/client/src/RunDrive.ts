/** The hands of a run's machine: posts the prompt, asks when the machine wants to know, cancels when told to. */
import { BackendError, type CancelOutcome } from "@effect-comfyui/execution/Backend"
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import type { ChosenSeed } from "@effect-comfyui/execution/ExecutionEvent"
import type { Attachment } from "@effect-comfyui/execution/Files"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Prompt from "@effect-comfyui/protocol/Prompt"
import * as Edit from "@effect-comfyui/workflow/Edit"
import * as Seeds from "@effect-comfyui/workflow/Seeds"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { WorkflowError } from "@effect-comfyui/workflow/WorkflowError"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Alarm } from "./Alarm.ts"
import * as Attribution from "./Attribution.ts"
import { type ComfyHttpError, toBackendError, toExecutionReason } from "./ComfyHttpError.ts"
import * as Defaults from "./Defaults.ts"
import { type ClientFiles, toReason } from "./Files.ts"
import type { HttpPrompts } from "./HttpPrompts.ts"
import type { Link } from "./Link.ts"
import * as PromptBody from "./PromptBody.ts"
import * as Run from "./Run.ts"
import type { Answer } from "./RunAnswer.ts"
import { ask, type QueueOrder } from "./RunAsk.ts"
import { cancel, type Cancelled } from "./RunCancel.ts"
import { publish, type RunEntry } from "./RunEntry.ts"
import * as RunWatch from "./RunWatch.ts"
import type { ServerFacts } from "./ServerFacts.ts"

/** What every run of a client shares. */
export interface RunContext {
  readonly clock: Clock.Clock
  readonly alarm: Alarm
  readonly http: HttpPrompts
  readonly files: ClientFiles
  readonly link: Link
  /** Done when the first connection is up or has failed, or the wait for it is over. */
  readonly linkSettled: Effect.Effect<void>
  readonly facts: ServerFacts
  /** The server calls this run by a name of its own. */
  readonly renamed: (entry: RunEntry, promptId: string) => void
  /** Asked for as late as can be: keys change while jobs wait. */
  readonly comfyOrgApiKey: Effect.Effect<Redacted.Redacted<string> | undefined>
  readonly allowGlobalInterrupt: boolean
  /** The queue as it was read last, by any run: what one learns spares all others the question. */
  queue: { readonly order: QueueOrder; readonly at: number } | undefined
  /** The server has answered a POST with the id that we chose, whatever its version says. */
  keepsIds: boolean
}

/** One run, as the client takes it. */
export interface Submission extends PromptBody.PromptOptions {
  readonly workflow: Workflow.Workflow
  readonly attachments: ReadonlyArray<Attachment>
  readonly acceptPartial: boolean
}

/** Gives the machine an input and everybody its events. */
export const feed = (context: RunContext, entry: RunEntry, input: Run.Input): void =>
  publish(entry, Run.step(entry.state, input, readTime(context.clock)))

// ── Asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const queueIntervalMs = Duration.toMillis(Defaults.watch.queueInterval)

/** Where the run is now, without telling the machine. */
export const locate = (
  context: RunContext,
  promptId: string,
  entry: RunEntry | undefined
): Effect.Effect<Answer> =>
  Effect.flatMap(context.facts.traits, (traits) => {
    const { now } = readTime(context.clock)
    const watch = entry?.state.watch
    // A question on which an ending hangs is worth megabytes; the others wait their turn.
    const decisive = watch === undefined || watch.unknownAt !== undefined || watch.doubtedAt !== undefined ||
      entry?.state.cancelAsked === true
    return Effect.map(
      ask(context.http, promptId, {
        hasJobs: traits.jobsApi,
        authoritative: traits.clientPromptId || context.keepsIds,
        lately: decisive || context.queue === undefined || now - context.queue.at >= queueIntervalMs
          ? undefined
          : context.queue.order,
        started: entry?.state.started === true
      }),
      ({ answer, queue }) => {
        if (queue !== undefined) context.queue = { order: queue, at: readTime(context.clock).now }
        return answer
      }
    )
  })

const askAndTell = Effect.fnUntraced(function*(context: RunContext, entry: RunEntry) {
  const { state } = entry
  const answer = yield* locate(context, state.promptId, entry)
  // "Unknown" on a whole connection means another thing than on one that is dead and does not show it.
  if (answer._tag === "Unknown" && state.whole && state.wasAccepted) {
    if (!(yield* context.link.isAlive(Defaults.socket.pongWithin))) feed(context, entry, { _tag: "Doubtful" })
  }
  feed(context, entry, { _tag: "Asked", answer })
  if (RunWatch.wantsRedial(state.watch, state.started, readTime(context.clock).now)) {
    RunWatch.redialled(state.watch)
    yield* context.link.redial({ _tag: "Deaf" })
  }
})

/** A timer that fires this late says that the event loop stood still, not that the server did. */
const stallMs = 1_000

/** Waits for the machine's next appointment, asks if it wants that, and ends with the run. */
const attend = Effect.fnUntraced(function*(context: RunContext, entry: RunEntry) {
  const { state } = entry
  while (state.phase !== "ended") {
    const agenda = RunWatch.agenda(state.watch)
    const { now } = readTime(context.clock)
    if (agenda.at > now) {
      entry.plannedAt = agenda.at
      entry.wake.closeUnsafe()
      context.alarm.set(entry.wake, agenda.at)
      yield* Latch.await(entry.wake)
      const late = readTime(context.clock).now - agenda.at
      if (late > stallMs) RunWatch.stalled(state.watch, late)
    } else if (agenda.ask) yield* askAndTell(context, entry)
    else feed(context, entry, { _tag: "Tick" })
  }
})

const watch = (context: RunContext, entry: RunEntry): Effect.Effect<void> =>
  Effect.ensuring(attend(context, entry), Effect.sync(() => context.alarm.clear(entry.wake)))

// ── Posting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const refusedHere = (error: WorkflowError): Run.Input => ({
  _tag: "Refused",
  via: "client",
  reason: {
    _tag: "Rejected",
    by: "client",
    type: error.reason._tag,
    message: error.message,
    complaints: "nodeId" in error.reason
      ? [{
        nodeId: error.reason.nodeId,
        classType: null,
        inputName: "inputName" in error.reason ? error.reason.inputName : null,
        type: error.reason._tag,
        message: error.message,
        details: ""
      }]
      : []
  }
})

/** What a failed POST means: refused, surely not queued, or doubt. */
const submitFailure = (error: ComfyHttpError): Run.Input => {
  const { reason, status } = error
  if (reason._tag === "Answered" && status !== null && status < 500) {
    const refusal = Prompt.Refusal.decodeText(reason.body)
    return {
      _tag: "Refused",
      via: "http",
      reason: Result.isSuccess(refusal)
        ? Attribution.refusal(Prompt.errorOf(refusal.success), Prompt.nodeErrorsOf(refusal.success))
        : {
          _tag: "Rejected",
          by: "server",
          type: `status ${status}`,
          message: reason.body.slice(0, 500),
          complaints: []
        }
    }
  }
  const ifAbsent = toExecutionReason(error)
  const passedOn = error.maybeSent && (status === null || status < 300 || status >= 500)
  if (!passedOn) return { _tag: "Refused", via: status === null ? "client" : "http", reason: ifAbsent }
  const by = reason._tag === "Unreachable" ? reason.by : reason._tag === "Answered" ? "network" : "proxy"
  return { _tag: "Doubted", doubt: { by, ifAbsent } }
}

const partialNotice = (missing: ReadonlyArray<string>): Run.Notice => ({
  code: "partially-rejected",
  message: "the server refused these outputs; the rest runs",
  nodeIds: missing
})

/** The outputs that will be missing, by validation's own account. */
const missingOutputs = (errors: Prompt.NodeErrors): ReadonlyArray<string> => [
  ...new Set(Object.entries(errors).flatMap(([id, error]) => error.dependent_outputs ?? [id]))
]

const onReceipt = Effect.fnUntraced(function*(
  context: RunContext,
  entry: RunEntry,
  submission: Submission,
  receipt: Prompt.Receipt
) {
  if (receipt.prompt_id === entry.state.promptId) context.keepsIds = true
  else context.renamed(entry, receipt.prompt_id)
  const number = typeof receipt.number === "number" && Number.isFinite(receipt.number) ? receipt.number : null
  const counted = submission.number === undefined && submission.front !== true
  if (counted && number !== null) context.facts.counted(number)
  const errors = Prompt.nodeErrorsOf(receipt)
  const missing = missingOutputs(errors)
  const refused = missing.length > 0 && !submission.acceptPartial
  feed(context, entry, {
    _tag: "Accepted",
    promptId: receipt.prompt_id,
    number,
    warnings: [
      ...PromptBody.secretWarnings(submission),
      ...(missing.length > 0 && !refused ? [partialNotice(missing)] : [])
    ]
  })
  if (!refused) return
  // The part that was accepted would run for nobody.
  yield* cancelOnServer(context, entry.state.promptId, entry).pipe(
    Effect.timeoutOption(Defaults.cancel.onInterrupt),
    Effect.ignore
  )
  feed(context, entry, {
    _tag: "Refused",
    via: "http",
    reason: Attribution.refusal(
      { type: "prompt_outputs_failed_validation", message: "part of the outputs was refused", details: "" },
      errors
    )
  })
})

/** Brings the files of a run to the server; their names there go into the graph. */
const attach = Effect.fnUntraced(function*(files: ClientFiles, submission: Submission) {
  let workflow = submission.workflow
  for (const attachment of submission.attachments) {
    const ref = yield* Effect.mapError(files.upload(attachment), (error) => toReason(attachment.filename, error))
    if (attachment.input === undefined) continue
    const { inputName, nodeId } = attachment.input
    const edited = Edit.setInput(workflow, nodeId, inputName, files.inputValue(ref))
    if (Result.isFailure(edited)) return yield* Effect.fail(toAttachmentReason(attachment, edited.failure))
    workflow = edited.success
  }
  return workflow
})

const toAttachmentReason = (attachment: Attachment, error: WorkflowError) => ({
  _tag: "AttachmentFailed" as const,
  name: attachment.filename,
  cause: error.message
})

/** Sent, it would put the server's queue out of order for everybody. */
const noPlace = (number: number): Reason => ({
  _tag: "Rejected",
  by: "client",
  type: "InvalidNumber",
  message: `${number} is no place in a queue`,
  complaints: []
})

const post = Effect.fnUntraced(function*(context: RunContext, entry: RunEntry, submission: Submission) {
  if (submission.number !== undefined && !Number.isFinite(submission.number)) {
    return feed(context, entry, { _tag: "Refused", via: "client", reason: noPlace(submission.number) })
  }
  const checked = Workflow.check(submission.workflow)
  if (Result.isFailure(checked)) return feed(context, entry, refusedHere(checked.failure))
  const attached = yield* Effect.result(attach(context.files, submission))
  if (Result.isFailure(attached)) {
    return feed(context, entry, { _tag: "Refused", via: "client", reason: attached.failure })
  }
  const random = yield* Random.Random
  const { chosen, workflow } = Seeds.resolve(attached.success, () => random.nextDoubleUnsafe())
  const seeds: ReadonlyArray<ChosenSeed> = chosen
  yield* context.linkSettled
  if (entry.state.cancelAsked) return feed(context, entry, { _tag: "Removed", via: "client" })
  if (entry.state.phase === "ended") return
  const link = context.link.state()
  const clientId = context.link.clientId()
  const body = PromptBody.make({
    workflow,
    promptId: entry.state.promptId,
    clientId,
    comfyOrgApiKey: yield* context.comfyOrgApiKey
  }, submission)
  feed(context, entry, { _tag: "Posting", whole: link._tag === "Up" && link.clientId === clientId, seeds })
  const answer = yield* Effect.result(context.http.submit(body))
  if (Result.isSuccess(answer)) yield* onReceipt(context, entry, submission, answer.success)
  else feed(context, entry, submitFailure(answer.failure))
})

/** Drives a run from its submission to its ending. */
export const drive = (context: RunContext, entry: RunEntry, submission: Submission): Effect.Effect<void> =>
  Effect.withSpan(
    Effect.andThen(
      Effect.ensuring(post(context, entry, submission), Deferred.succeed(entry.posted, undefined)),
      watch(context, entry)
    ),
    "comfy.run",
    // Its place in the code says nothing that its name does not, and looking for it costs as much as the POST's text.
    { captureStackTrace: false }
  )

/** Drives a run that somebody else submitted. */
export const observe = (context: RunContext, entry: RunEntry): Effect.Effect<void> => watch(context, entry)

// ── Cancelling ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Tells the server once to cancel a prompt; `entry` where it is a run of this client. */
export const cancelOnServer = Effect.fnUntraced(function*(
  context: RunContext,
  promptId: string,
  entry?: RunEntry
): Effect.fn.Return<Cancelled, ComfyHttpError> {
  return yield* cancel({
    http: context.http,
    traits: yield* context.facts.traits,
    ask: locate(context, promptId, entry),
    allowGlobalInterrupt: context.allowGlobalInterrupt
  }, promptId)
})

/**
 * Cancels a run of this client. While the POST is under way there is nothing to cancel yet, so its answer is awaited.
 * It goes on in the background until the run has ended, though the caller stops waiting: an interrupt that lands while
 * a prompt starts is lost, and a server may be away just now.
 */
export const cancelRun = Effect.fnUntraced(function*(
  context: RunContext,
  entry: RunEntry,
  inBackground: (effect: Effect.Effect<void>) => Effect.Effect<void>
): Effect.fn.Return<CancelOutcome, BackendError> {
  const { state } = entry
  if (state.phase === "ended") return "already-finished"
  const first = !state.cancelAsked
  feed(context, entry, { _tag: "CancelAsked" })
  const once = Effect.andThen(
    Deferred.await(entry.posted),
    Effect.suspend(() => isOver(state) ? Effect.succeed("removed" as const) : tell(context, entry))
  )
  if (!first) return yield* once
  const outcome = Deferred.makeUnsafe<CancelOutcome, BackendError>()
  yield* inBackground(Effect.andThen(Deferred.into(once, outcome), untilEnded(context, entry)))
  return yield* Deferred.await(outcome)
})

/** Whether the run ended while the answer to its POST was awaited. */
const isOver = (state: RunEntry["state"]): boolean => state.phase === "ended"

const tell = (context: RunContext, entry: RunEntry): Effect.Effect<CancelOutcome, BackendError> =>
  Effect.matchEffect(cancelOnServer(context, entry.state.promptId, entry), {
    onFailure: (error) => Effect.fail(toBackendError(error)),
    onSuccess: (outcome) => {
      if (outcome === "no-answer") return Effect.fail(noAnswer)
      if (outcome === "removed") feed(context, entry, { _tag: "Removed", via: "http" })
      return Effect.succeed(outcome)
    }
  })

/** Asking came to nothing, so nobody can say what a cancellation did. */
export const noAnswer = new BackendError({
  reason: { _tag: "Unreachable", by: "network", status: null, cause: "no answer" }
})

/** Tells the server again and again, until the run has ended or the server cannot do it without hitting others. */
const untilEnded = (context: RunContext, entry: RunEntry): Effect.Effect<void> =>
  Effect.asVoid(Effect.repeat(
    Effect.andThen(
      Effect.sleep(Defaults.cancel.repeat),
      Effect.suspend(() =>
        isOver(entry.state) ? Effect.succeed("unsafe" as const) : Effect.orElseSucceed(tell(context, entry), () => null)
      )
    ),
    { while: (outcome) => !isOver(entry.state) && outcome !== "unsafe" }
  ))
