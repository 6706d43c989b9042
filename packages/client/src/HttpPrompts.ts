/** Prompts, queue, history and jobs. */
import * as History from "@effect-comfyui/protocol/History"
import * as Jobs from "@effect-comfyui/protocol/Jobs"
import * as Prompt from "@effect-comfyui/protocol/Prompt"
import * as Queue from "@effect-comfyui/protocol/Queue"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import { at, type HttpCall, json, jsonText, withQuery } from "./HttpCall.ts"

/** Calls about prompts. None but the reading ones is ever repeated by itself. */
export interface HttpPrompts {
  /** Posts a prompt whose body is JSON text already. A refusal is `Answered` with status 400. */
  readonly submit: (body: string) => Effect.Effect<Prompt.Receipt, ComfyHttpError>
  /** Waiting and running prompts together: the cheapest probe. */
  readonly queueRemaining: Effect.Effect<number, ComfyHttpError>
  /** The whole queue, which holds whole prompts: can be megabytes. */
  readonly queue: Effect.Effect<Queue.Queue, ComfyHttpError>
  /** Takes waiting prompts out of the queue; unknown and running ones are passed over in silence. */
  readonly removeWaiting: (ids: ReadonlyArray<string>) => Effect.Effect<void, ComfyHttpError>
  /** Takes out every waiting prompt, of every client. */
  readonly clearWaiting: Effect.Effect<void, ComfyHttpError>
  /** Interrupts this prompt if it runs now; servers before 0.3.57 interrupt whatever runs. */
  readonly interrupt: (promptId: string) => Effect.Effect<void, ComfyHttpError>
  /** Interrupts whatever runs, of whatever client. */
  readonly interruptAnything: Effect.Effect<void, ComfyHttpError>
  /** Drops models, or everything kept, after the prompt that runs now. */
  readonly free: (what: Queue.Free) => Effect.Effect<void, ComfyHttpError>
  /** How a prompt ended; none while it waits or runs, and for unknown ids. */
  readonly history: (promptId: string) => Effect.Effect<Option.Option<History.Entry>, ComfyHttpError>
  /** Part of the history, oldest first. */
  readonly historyPage: (query: History.Query) => Effect.Effect<History.History, ComfyHttpError>
  /** Deletes entries of these prompts. */
  readonly forget: (ids: ReadonlyArray<string>) => Effect.Effect<void, ComfyHttpError>
  /** One job (0.6 and later): none if the server says that it knows no such id. */
  readonly job: (promptId: string) => Effect.Effect<Option.Option<Jobs.Job>, ComfyHttpError>
  readonly jobs: (query: Jobs.Query) => Effect.Effect<Jobs.Page, ComfyHttpError>
  /** Cancels one job (0.26 and later): whether it waited or ran, which a dead worker also says. */
  readonly cancelJob: (promptId: string) => Effect.Effect<boolean, ComfyHttpError>
  readonly cancelJobs: (ids: ReadonlyArray<string>) => Effect.Effect<boolean, ComfyHttpError>
}

export const make = (call: HttpCall, promptTimeout: Duration.Input): HttpPrompts => {
  const post = (path: string, body: Parameters<typeof json>[0]) => call.done(path, { method: "POST", body: json(body) })
  return {
    submit: (body) =>
      call.typed(Prompt.Receipt, "/prompt", {
        method: "POST",
        body: jsonText(body),
        timeout: promptTimeout,
        refusals: [400]
      }),
    queueRemaining: Effect.map(call.typed(Prompt.Load, "/prompt"), (load) => load.exec_info.queue_remaining),
    queue: call.typed(Queue.Queue, "/queue"),
    removeWaiting: (ids) => post("/queue", { delete: ids }),
    clearWaiting: post("/queue", { clear: true }),
    interrupt: (promptId) => post("/interrupt", { prompt_id: promptId }),
    interruptAnything: call.done("/interrupt", { method: "POST" }),
    free: (what) => post("/free", what),
    history: (promptId) =>
      Effect.map(
        call.typed(History.History, at("/history", promptId)),
        (history) => Option.fromUndefinedOr(History.find(history, promptId))
      ),
    historyPage: (query) => call.typed(History.History, withQuery("/history", { ...query })),
    forget: (ids) => post("/history", { delete: ids }),
    job: (promptId) => call.optional(Jobs.Job, at("/api/jobs", promptId)),
    jobs: (query) => call.typed(Jobs.Page, withQuery("/api/jobs", { ...query }), { refusals: [400] }),
    cancelJob: (promptId) =>
      Effect.map(
        call.typed(Jobs.Cancelled, `${at("/api/jobs", promptId)}/cancel`, { method: "POST", refusals: [404, 405] }),
        (answer) => answer.cancelled
      ),
    cancelJobs: (ids) =>
      Effect.map(
        call.typed(Jobs.Cancelled, "/api/jobs/cancel", {
          method: "POST",
          body: json({ job_ids: ids }),
          refusals: [400, 404, 405]
        }),
        (answer) => answer.cancelled
      )
  }
}
