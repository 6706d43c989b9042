/** Cancels one prompt and nothing else. What the server answers is not believed: it is asked again. */
import type { CancelOutcome } from "@effect-comfyui/execution/Backend"
import type { ServerTraits } from "@effect-comfyui/protocol/Version"
import * as Effect from "effect/Effect"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import type { HttpPrompts } from "./HttpPrompts.ts"
import type { Answer } from "./RunAnswer.ts"

/** What cancelling needs. */
export interface CancelContext {
  readonly http: HttpPrompts
  readonly traits: ServerTraits
  /** Asks where the prompt is now; may read the whole queue. */
  readonly ask: Effect.Effect<Answer>
  /** Where only a global interrupt exists: whether to use it, though it hits whatever runs. */
  readonly allowGlobalInterrupt: boolean
}

/** Nobody could tell what the cancellation did. */
export type Cancelled = CancelOutcome | "no-answer"

const takeOut = ({ http, traits }: CancelContext, promptId: string): Effect.Effect<void, ComfyHttpError> =>
  traits.cancelApi ? Effect.asVoid(http.cancelJob(promptId)) : http.removeWaiting([promptId])

const interrupt = (context: CancelContext, promptId: string): Effect.Effect<Cancelled, ComfyHttpError> => {
  const { allowGlobalInterrupt, http, traits } = context
  if (traits.cancelApi) return Effect.as(http.cancelJob(promptId), "interrupted")
  if (traits.targetedInterrupt) return Effect.as(http.interrupt(promptId), "interrupted")
  return allowGlobalInterrupt ? Effect.as(http.interruptAnything, "interrupted") : Effect.succeed("unsafe")
}

/** Tells the server once. A running prompt ends in its own time: its ending is the confirmation. */
export const cancel = Effect.fnUntraced(function*(
  context: CancelContext,
  promptId: string
): Effect.fn.Return<Cancelled, ComfyHttpError> {
  const before = yield* context.ask
  switch (before._tag) {
    case "Finished":
      return "already-finished"
    case "Unknown":
      return "unknown-run"
    case "NoAnswer":
      return "no-answer"
    case "Running":
      return yield* interrupt(context, promptId)
    case "Waiting":
      break
  }
  yield* takeOut(context, promptId)
  const after = yield* context.ask
  switch (after._tag) {
    case "Unknown":
      return "removed"
    case "Running":
      return yield* interrupt(context, promptId)
    case "Waiting":
      return "no-effect"
    case "Finished":
      return "already-finished"
    case "NoAnswer":
      return "no-answer"
  }
})
