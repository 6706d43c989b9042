/** The files of a job, brought to the server that was chosen before its prompt is sent; their names there go into the graph. */
import type { Backend, RunRequest } from "@effect-comfyui/execution/Backend"
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import type { Attachment, Uploaded } from "@effect-comfyui/execution/Files"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Edit from "@effect-comfyui/workflow/Edit"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** A file that went over the wire; what the server had already is not told. */
export interface Sent {
  readonly file: string
  readonly bytes: number
  readonly ms: number
}

const notBrought = (name: string, cause: string): Reason => ({ _tag: "AttachmentFailed", name, cause })

/** The graph has no place for the file: no server would help. */
const noPlace = (message: string): Reason => ({
  _tag: "Rejected",
  by: "client",
  type: "InvalidAttachment",
  message,
  complaints: []
})

/** Sends one file, and writes its name there into the graph. */
const bring = Effect.fnUntraced(function*(
  { files }: Backend,
  workflow: Workflow,
  attachment: Attachment,
  onSent: (sent: Sent) => void
): Effect.fn.Return<readonly [Workflow, Uploaded], Reason> {
  const { filename, input } = attachment
  const clock = yield* Clock.Clock
  const before = readTime(clock).now
  const uploaded = yield* Effect.mapError(files.upload(attachment), ({ message }) => notBrought(filename, message))
  const { sentBytes } = uploaded
  if (sentBytes > 0) onSent({ file: filename, bytes: sentBytes, ms: readTime(clock).now - before })
  if (input === undefined) return [workflow, uploaded]
  const edited = Edit.setInput(workflow, input.nodeId, input.inputName, files.inputValue(uploaded))
  return [yield* Effect.mapError(Effect.fromResult(edited), ({ message }) => noPlace(message)), uploaded]
})

/** The one event of a run that never began: it failed for this reason, or was cancelled. */
const unsent = ({ id: backend }: Backend, { runId }: RunRequest, reason: Reason) =>
  Effect.map(Clock.clockWith(Effect.succeed), (clock): Stream.Stream<ExecutionEvent> => {
    const common = { runId, backend, sequence: 0, at: readTime(clock).at, elapsed: 0, via: "client" } as const
    return Stream.make(
      reason._tag === "Cancelled"
        ? { _tag: "Cancelled", ...common, by: reason.by }
        : { _tag: "Failed", ...common, error: new ExecutionError({ reason, runId, backend }) }
    )
  })

/** Who ends the run, and who is told. */
export interface Options {
  /** Done when the run is not wanted any more. What was not sent by then is not sent. */
  readonly asked: Deferred.Deferred<void>
  readonly onSent: (sent: Sent) => void
  /** It was ended before anything was sent. */
  readonly onUnsent: () => void
}

/**
 * The run with its files; a file that cannot be brought is the run's only event. A refusal of a prompt whose files were
 * thought to be there already is looked into: if one is gone, that is the reason, and the next attempt sends it again.
 */
export const run = (
  backend: Backend,
  request: RunRequest,
  { asked, onSent, onUnsent }: Options
): Stream.Stream<ExecutionEvent> => {
  const cancelled: Reason = { _tag: "Cancelled", by: "us" }
  const all = Effect.gen(function*() {
    if (Deferred.isDoneUnsafe(asked)) return yield* Effect.fail(cancelled)
    if (request.attachments.length === 0) return backend.run(request)
    let { workflow } = request
    const trusted: Array<Uploaded> = []
    for (const attachment of request.attachments) {
      const [edited, uploaded] = yield* bring(backend, workflow, attachment, onSent)
      workflow = edited
      if (uploaded.sentBytes === 0) trusted.push(uploaded)
    }
    const events = backend.run({ ...request, workflow, attachments: [] })
    return trusted.length === 0 ? events : Stream.mapEffect(events, (event) => lookInto(backend, event, trusted))
  })
  const unlessAsked = request.attachments.length === 0
    ? all
    : Effect.raceFirst(all, Effect.andThen(Deferred.await(asked), Effect.fail(cancelled)))
  return Stream.unwrap(Effect.catch(unlessAsked, (reason) => {
    if (reason._tag === "Cancelled") onUnsent()
    return unsent(backend, request, reason)
  }))
}

const lookInto = Effect.fnUntraced(function*(
  { files, id }: Backend,
  event: ExecutionEvent,
  trusted: ReadonlyArray<Uploaded>
): Effect.fn.Return<ExecutionEvent> {
  if (event._tag !== "Failed" || event.error.reason._tag !== "Rejected") return event
  for (const file of trusted) {
    const found = yield* Effect.result(files.stat(file))
    if (found._tag === "Success" || found.failure.reason._tag !== "NotFound") continue
    const reason = notBrought(file.filename, "the server does not have it any more")
    return { ...event, error: new ExecutionError({ reason, runId: event.runId, backend: id }) }
  }
  return event
})
