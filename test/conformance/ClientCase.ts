/** The client half of a recording: a client runs the recorded workflow against the recorded server, in virtual time. */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { type ExecutionEvent, isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import * as Json from "@effect-comfyui/workflow/Json"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Expectation, ofRefusal, ofSubmission } from "./Expectation.ts"
import { describe, judge } from "./Judge.ts"
import { type Outcome, SkipReason } from "./Outcome.ts"
import * as Replay from "./Replay.ts"
import type { Found, Posted, Refused, Submission } from "./Submissions.ts"

/** Longer than any wait of a client: what is open then will stay open. */
const limit = Duration.hours(24)

/** Tests share a thread: a fiber that waits for it longer than the default second does not hang. */
const clock = TestClock.layer({ warningDelay: "20 seconds" })

/** What a prompt may ask for beside its graph; nothing of it changes what is replayed. */
const optionsOf = ({ body }: Posted): ComfyClient.RunOptions => {
  const front = body === undefined ? undefined : Json.get(body, "front")
  return {
    ...(front === true ? { front } : {}),
    events: { previews: "all", progress: "all" }
  }
}

/** Moves the clock until the fiber is over: in small steps first, for most runs take seconds. */
const drive = Effect.fnUntraced(function*(isOver: () => boolean) {
  let step = 100
  for (let gone = 0; !isOver() && gone < Duration.toMillis(limit); gone += step) {
    yield* TestClock.adjust(Duration.millis(step))
    step = Math.min(60_000, Math.max(step, gone / 10))
  }
})

/** What a run said, and whether its stream came to an end. */
export interface Told {
  readonly events: ReadonlyArray<ExecutionEvent>
  readonly ended: boolean
}

/** One run of this workflow against a replayed server. */
export const run = (options: Replay.Options, workflow: Workflow): Effect.Effect<Told> =>
  Effect.gen(function*() {
    const { submission } = options
    const events: Array<ExecutionEvent> = []
    const seams = yield* Replay.make(options)
    const ready = yield* Deferred.make<void>()
    let ended = false
    let over = false
    const program = Effect.gen(function*() {
      const hasSocket = Replay.listening(options.found, submission) !== undefined
      const client = yield* ComfyClient.make({ url: Replay.origin, socket: hasSocket ? "auto" : "none" })
      if (hasSocket) yield* client.link.changes.pipe(Stream.takeUntil((state) => state._tag === "Up"), Stream.runDrain)
      yield* Deferred.succeed(ready, undefined)
      yield* Stream.runForEachArray(
        client.run(workflow, optionsOf(submission)),
        (some) => Effect.sync(() => void events.push(...some))
      ).pipe(Effect.tap(() => Effect.sync(() => ended = true)), Effect.timeoutOption(limit))
    }).pipe(Effect.scoped, Effect.orDie, Effect.provideContext(seams), Effect.ensuring(Effect.sync(() => over = true)))
    const fiber = yield* Effect.forkChild(program)
    yield* Effect.raceFirst(Deferred.await(ready), Fiber.await(fiber))
    yield* drive(() => over)
    // A run that was given up still has a client to close.
    yield* drive(() => over)
    yield* Fiber.join(fiber)
    return { events, ended }
  }).pipe(Effect.scoped, Random.withSeed("conformance"), Effect.provide(clock))

const verdict = (expectation: Expectation, { ended, events }: Told): Outcome => {
  const problem = judge(expectation, events) ?? (ended ? undefined : "the stream goes on after the ending")
  const ending = events.find(isEnding)
  return problem === undefined
    ? { _tag: "Passed", detail: ending === undefined ? "" : describe(ending) }
    : { _tag: "Failed", detail: problem }
}

/** A prompt that the server accepted. */
export const acceptedCase = Effect.fnUntraced(
  function*(found: Found, submission: Submission): Effect.fn.Return<Outcome> {
    const { expectation, holdAt } = ofSubmission(found, submission)
    if (submission.body === undefined || expectation === undefined) {
      return { _tag: "Skipped", reason: SkipReason.bodyNotRecorded }
    }
    if (submission.workflow === undefined) return { _tag: "Failed", detail: "the accepted body is no workflow" }
    return verdict(expectation, yield* run({ found, submission, holdAt }, submission.workflow))
  }
)

/** A prompt that the server refused, and its graph. */
export const refusedCase = Effect.fnUntraced(
  function*(found: Found, refused: Refused, workflow: Workflow): Effect.fn.Return<Outcome> {
    const submission: Submission = {
      ...refused,
      promptId: "",
      receipt: { prompt_id: "", number: 0 },
      occurrence: 0,
      facts: []
    }
    const holdAt = refused.exchange.endAt
    return verdict(ofRefusal(refused), yield* run({ found, submission, holdAt }, workflow))
  }
)
