/**
 * Runs that a pool left behind when it ended: asked for by name before anything else is done with their jobs. One that is
 * known there is watched to its end; one that nobody knows, or whose server is gone, follows the rules for lost runs.
 */
import type { RunStatus } from "@effect-comfyui/execution/Backend"
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import type { JobId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { activate } from "./Active.ts"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import { holdMs } from "./internal/hold.ts"
import * as Job from "./Job.ts"
import type { JobHead, OpenRun } from "./JobHead.ts"
import type { JobQueue } from "./JobQueue.ts"
import type { Member } from "./Member.ts"
import type { Runner } from "./Runner.ts"

/** What is recovered with; all of it is the pool's. */
export interface Options {
  readonly queue: JobQueue["Service"]
  readonly fleet: Fleet.Fleet
  readonly runner: Pick<Runner, "active" | "start" | "abandon">
  /** Somebody else holds the job now, who will end it. */
  readonly handedOn: (entry: Job.Entry) => void
}

/** Of one pool. */
export interface Recovery {
  /** Takes the job over with the run that was left, beside everything else. */
  readonly takeOver: (entry: Job.Entry, head: JobHead, left: OpenRun) => Effect.Effect<void>
  /** Its run is being asked for: it does not wait, and cannot be placed. */
  readonly isOpen: (id: JobId) => boolean
  /** How many runs are being asked for. */
  readonly size: () => number
}

const { ask: asks, askRepeat, unknownAnswers } = Defaults.recovery
const unknownMs = Duration.toMillis(Defaults.recovery.unknownFor)
const lease = Defaults.queue.lease

/** What asking came to. */
type Found =
  | { readonly _tag: "There"; readonly member: Member; readonly status: RunStatus }
  | { readonly _tag: "Gone"; readonly reason: Reason; readonly accepted: boolean }

const unknown: Found = {
  _tag: "Gone",
  reason: { _tag: "Lost", evidence: "its server does not know a run that was left there" },
  accepted: false
}

const unreachable: Found = {
  _tag: "Gone",
  reason: {
    _tag: "Unreachable",
    by: "timeout",
    status: null,
    cause: "the server of a run that was left does not answer"
  },
  accepted: true
}

/** Recovers in the scope of the caller. */
export const make = Effect.fnUntraced(function*(
  { fleet, handedOn, queue, runner }: Options
): Effect.fn.Return<Recovery, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const open = new Set<JobId>()
  const time = () => readTime(clock)

  const ask = Effect.fnUntraced(function*({ runId, server }: OpenRun) {
    const member = fleet.members.get(server)
    if (member?.backend === undefined || !member.heard) return undefined
    const answer = yield* Effect.result(member.backend.status(runId))
    return answer._tag === "Success" ? { member, status: answer.success } : undefined
  })

  const look = Effect.fnUntraced(function*(entry: Job.Entry, run: OpenRun): Effect.fn.Return<Found> {
    const since = time().now
    const ranMs = Math.max(0, time().at - run.startedAt)
    const holdUntil = Math.min(since + holdMs(ranMs), entry.deadlineAt)
    let unknowns = 0
    let unknownSince = 0
    for (let times = 0;; times++) {
      const answer = yield* ask(run)
      const { now } = time()
      if (answer === undefined) {
        unknowns = 0
        if (now >= holdUntil) return unreachable
      } else if (answer.status._tag === "Unknown") {
        if (unknowns++ === 0) unknownSince = now
        if (unknowns >= unknownAnswers && now - unknownSince >= unknownMs) return unknown
      } else return { _tag: "There", ...answer }
      yield* Effect.sleep(asks[times] ?? askRepeat)
    }
  })

  const watch = Effect.fnUntraced(function*(entry: Job.Entry, head: JobHead, run: OpenRun) {
    const found = yield* look(entry, run)
    const claim = Option.getOrUndefined(yield* queue.claim(head.id, lease, run))
    if (claim === undefined) return handedOn(entry)
    if (found._tag === "Gone") {
      return yield* runner.abandon({ entry, claim, run, reason: found.reason, accepted: found.accepted })
    }
    const { member, status } = found
    const { at, now } = time()
    Fleet.occupy(fleet, member, run.runId, {
      jobId: head.id,
      key: head.affinity,
      content: Job.contentOf(entry),
      since: now - Math.max(0, at - run.startedAt),
      expectedMs: Estimates.estimate(fleet.estimates, run.server, head.affinity).coldMs,
      accepted: true,
      isNext: status._tag === "Waiting" && member.runs.size > 0,
      fenced: false
    })
    yield* runner.start(activate(entry, claim, member, run, true), { policy: "recovered", found: status._tag })
  })

  return {
    isOpen: (id) => open.has(id),
    size: () => open.size,
    takeOver: (entry, head, run) =>
      Effect.suspend(() => {
        const { id } = entry
        const own = runner.active.get(id)
        if (own?.run.runId === run.runId) {
          // Our own lease ran out while nothing else went wrong: the attempt goes on under a new one.
          const claimed = Effect.retry(queue.claim(id, lease, run), { schedule: Defaults.queueAgain })
          const renewed = Effect.map(claimed, (claim) => {
            if (Option.isSome(claim)) own.claim = claim.value
          })
          return Effect.asVoid(Effect.forkIn(Effect.ignore(renewed), scope, { startImmediately: true }))
        }
        if (open.has(id)) return Effect.void
        open.add(id)
        const done = Effect.sync(() => open.delete(id))
        const again = Effect.retry(watch(entry, head, run), { schedule: Defaults.queueAgain })
        return Effect.asVoid(Effect.forkIn(Effect.ensuring(Effect.ignore(again), done), scope))
      })
  }
})
