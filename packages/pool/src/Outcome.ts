/**
 * What an attempt that ended means: for the job, for the server, for what is learnt. Pure over the cores of the pool: it
 * says what happened to the job and what the queue is to do.
 */
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Ending, Executions } from "@effect-comfyui/execution/ExecutionEvent"
import type { JobError } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Duration from "effect/Duration"
import * as Breakers from "./Breakers.ts"
import * as Deaths from "./Deaths.ts"
import * as Defaults from "./Defaults.ts"
import * as Failover from "./Failover.ts"
import type { Fleet } from "./Fleet.ts"
import * as Job from "./Job.ts"
import { type Member, offered } from "./Member.ts"
import * as MemoryNeeds from "./MemoryNeeds.ts"
import { hasLarger } from "./Placement.ts"
import * as RetryBudget from "./RetryBudget.ts"
import * as Storage from "./Storage.ts"

/** An attempt as it was. */
export interface Ended {
  readonly entry: Job.Entry
  readonly record: Job.AttemptRecord
  /** The server, if it is still there. */
  readonly member: Member | undefined
  /** The run's ending; where a clock ran out, the failure that it stands for. */
  readonly ending: Ending
  /** The server took the prompt, or nobody knows that it did not. */
  readonly accepted: boolean
  /** As far as anybody knows it only waited behind another run of ours: it has cost no GPU anything. */
  readonly onlyWaited: boolean
  /** It was taken back from the server's queue, for another server. */
  readonly recalled: boolean
  /** The server said that it took it out of its queue before it began. */
  readonly neverRan: boolean
  /** Its first node began. */
  readonly began: boolean
  /** The models had to be loaded; undefined: nobody knows. */
  readonly cold: boolean | undefined
  readonly ranMs: number
  readonly paid: boolean
  /** Another workflow ran on the server just before. */
  readonly anotherKeyBefore: boolean
  /** It was lost with whoever watched it: that says nothing of the server. */
  readonly unwatched: boolean
}

/** What follows for the job, as the queue is told it. */
export type Follows =
  | { readonly _tag: "Settle"; readonly told: Job.EndingTold }
  | { readonly _tag: "Release"; readonly delayMs: number; readonly ledger: Failover.Ledger }
  | { readonly _tag: "DeadLetter"; readonly told: Extract<Job.EndingTold, { readonly _tag: "DeadLettered" }> }

/** What an attempt says: events for the job, notices for the pool, and what follows. */
export interface Meaning {
  readonly told: ReadonlyArray<Job.Told>
  readonly notices: ReadonlyArray<Breakers.Notice>
  readonly follows: Follows
  /** It would have been tried again after so many milliseconds, which is past its deadline: that is why it ends. */
  readonly lateMs?: number
}

/** What all decisions of a pool share. */
export interface Policy {
  readonly failover: Failover.Policy
  readonly budget: RetryBudget.State
}

const plus = (a: Executions, b: Executions): Executions => ({
  atLeast: a.atLeast + b.atLeast,
  atMost: a.atMost + b.atMost
})

/** What only a node can have raised. */
const raised: ReadonlySet<Reason["_tag"]> = new Set([
  "NodeFailed",
  "OutOfMemory",
  "GpuPoisoned",
  "DiskFull",
  "StorageFailed"
])

const hasBegun = (ending: Ending): boolean => ending._tag === "Failed" && raised.has(ending.error.reason._tag)

const executionsOf = ({ accepted, began, ending, neverRan, unwatched }: Ended): Executions =>
  ending._tag === "Completed"
    ? ending.executions
    : { atLeast: began || hasBegun(ending) ? 1 : 0, atMost: (accepted || unwatched) && !neverRan ? 1 : 0 }

const reasonOf = (ending: Exclude<Ending, { readonly _tag: "Completed" }>): Reason =>
  ending._tag === "Failed" ? ending.error.reason : { _tag: "Cancelled", by: ending.by }

/** What failed, and how, where a node of the graph raised it. */
const kindOf = ({ kind: { affinity } }: Job.Entry, reason: Reason): string | null =>
  reason._tag === "NodeFailed" ? `${affinity} ${reason.nodeId ?? ""} ${reason.exceptionType}` : null

/** Counts the failure where it counts, and tells what is blocked by it. */
const blame = (fleet: Fleet, ended: Ended, reason: Reason, now: number): ReadonlyArray<Breakers.Notice> => {
  const { entry, ranMs, record: { server }, unwatched } = ended
  const key = entry.kind.affinity
  const input: Breakers.Input = reason._tag === "Cancelled" || unwatched
    ? { _tag: "Neutral", server, key }
    : {
      _tag: "Failed",
      server,
      key,
      content: Job.contentOf(entry),
      reason: reason._tag,
      kind: kindOf(entry, reason),
      ranMs
    }
  const notices = Breakers.step(fleet.breakers, input, now)
  if (reason._tag !== "StorageFailed") return notices
  const failure: Storage.Input = { _tag: "Failed", server, content: Job.contentOf(entry) }
  return [...notices, ...Storage.step(fleet.storage, failure, now)]
}

const succeeded = (
  fleet: Fleet,
  ended: Ended,
  ending: Extract<Ending, { readonly _tag: "Completed" }>,
  now: number
): Meaning => {
  const { cold, entry, ranMs, record: { server } } = ended
  const key = entry.kind.affinity
  learnMemory(fleet, ended, true, now)
  if (cold !== undefined) Estimates.step(fleet.estimates, { server, key, cold, executionMs: ranMs })
  const executions = entry.executions
  return {
    told: [{ _tag: "AttemptEnded", number: ended.record.number, ending, verdict: "done", executions }],
    notices: [
      ...Breakers.step(fleet.breakers, { _tag: "Succeeded", server, key }, now),
      ...Storage.step(fleet.storage, { _tag: "Succeeded", server }, now)
    ],
    follows: {
      _tag: "Settle",
      told: { _tag: "JobSucceeded", server, outputs: ending.outputs, receipts: [], executions }
    }
  }
}

const verdictWord = (verdict: Failover.Verdict) =>
  verdict._tag === "Retry" ? verdict.on : verdict._tag === "GiveUp" ? "give-up" as const : "dead-letter" as const

const restCapMs = Duration.toMillis(Defaults.failover.restCap)

/** It needs a larger card, and there is none. */
const isBeyond = (fleet: Fleet, verdict: Failover.Verdict, { entry, member }: Ended, now: number): boolean =>
  verdict._tag === "Retry" && verdict.largerThan !== null && member !== undefined &&
  !hasLarger(fleet, entry.kind.need, member, now)

const tooLarge: Failover.Verdict = { _tag: "GiveUp", why: "no server has a larger card", exonerate: false }

/** What is learnt of the memory that the workflow needs, where the card was its own. */
const learnMemory = (fleet: Fleet, { anotherKeyBefore, entry, member }: Ended, fitted: boolean, now: number): void => {
  const vramBytes = member === undefined ? undefined : offered(member, now).vramBytes
  if (vramBytes === undefined || (anotherKeyBefore && !fitted)) return
  const { kind: { affinity: key }, options: { sizeClass } } = entry
  MemoryNeeds.step(fleet.memoryNeeds, { _tag: fitted ? "Fitted" : "RanOut", key, sizeClass, vramBytes }, now)
}

/** A process ended in the middle of it, as far as anybody knows. */
const countDeath = (
  fleet: Fleet,
  { began, entry, record: { server }, unwatched }: Ended,
  reason: Reason,
  now: number
) => {
  if (!began || unwatched || !Failover.died.has(reason._tag)) return
  Deaths.step(fleet.deaths, { server, key: entry.kind.affinity, content: Job.contentOf(entry) }, now)
}

/** Takes an attempt's end. `random`: from 0 to 1, for the delay of a retry. */
export const step = (fleet: Fleet, policy: Policy, ended: Ended, now: number, random: number): Meaning => {
  const { ending, entry, member, record } = ended
  entry.executions = plus(entry.executions, executionsOf(ended))
  if (ending._tag === "Completed") return succeeded(fleet, ended, ending, now)
  const reason = reasonOf(ending)
  const { executions } = entry
  const notices = [...blame(fleet, ended, reason, now)]
  const attemptEnded = (verdict: "give-up" | "same-server" | "another-server" | "dead-letter"): Job.Told => ({
    _tag: "AttemptEnded",
    number: record.number,
    ending,
    verdict,
    executions
  })
  const isOurs = reason._tag === "Cancelled" && reason.by === "us"
  if (entry.cancelAsked || (isOurs && !ended.recalled)) {
    return {
      told: [attemptEnded("give-up")],
      notices,
      follows: { _tag: "Settle", told: { _tag: "JobCancelled", by: "us", executions } }
    }
  }
  if (isOurs) {
    return {
      told: [attemptEnded("another-server")],
      notices,
      follows: { _tag: "Release", delayMs: 0, ledger: entry.ledger }
    }
  }
  const error = ending._tag === "Failed"
    ? ending.error
    : new ExecutionError({ reason, runId: record.runId, backend: record.server })
  const attempt: Failover.Attempt = {
    server: record.server,
    reason,
    accepted: ended.accepted && !ended.onlyWaited,
    paid: ended.paid,
    anotherKeyBefore: ended.anotherKeyBefore,
    storageOut: Storage.isOut(fleet.storage)
  }
  const ledger = Failover.record(entry.ledger, attempt)
  const decided = Failover.decide(
    attempt,
    ledger,
    { ...policy.failover, onAmbiguity: entry.options.onAmbiguity },
    random
  )
  const verdict = isBeyond(fleet, decided, ended, now) ? tooLarge : decided
  if (reason._tag === "OutOfMemory") learnMemory(fleet, ended, false, now)
  countDeath(fleet, ended, reason, now)
  if (Deaths.isPoison(fleet.deaths, Job.contentOf(entry), now)) {
    const poison = new PoolError({ reason: Deaths.poison(fleet.deaths, Job.contentOf(entry), now) })
    return {
      told: [attemptEnded("dead-letter")],
      notices,
      follows: { _tag: "DeadLetter", told: { _tag: "DeadLettered", error: poison, executions } }
    }
  }
  const told = [attemptEnded(verdictWord(verdict))]
  switch (verdict._tag) {
    case "Retry": {
      const wait = verdict.repeats ? RetryBudget.spend(policy.budget, now) : 0
      const delayMs = Math.ceil(Math.max(verdict.delayMs, wait))
      if (reason._tag === "RateLimited") {
        // The server is left alone, not the job: others may take it at once.
        if (member !== undefined) {
          member.restsUntil = Math.max(member.restsUntil, now + Math.min(delayMs, restCapMs))
        }
        return { told, notices, follows: { _tag: "Release", delayMs: 0, ledger } }
      }
      if (now + delayMs >= entry.deadlineAt) {
        return {
          told: [attemptEnded("give-up")],
          notices,
          follows: { _tag: "Settle", told: { _tag: "JobFailed", error, executions } },
          lateMs: delayMs
        }
      }
      const vramBytes = member === undefined ? undefined : offered(member, now).vramBytes
      return {
        told,
        notices,
        follows: { _tag: "Release", delayMs, ledger: Failover.follow(ledger, verdict, vramBytes) }
      }
    }
    case "GiveUp": {
      if (verdict.exonerate) {
        notices.push(
          ...Breakers.step(
            fleet.breakers,
            { _tag: "Exonerate", content: Job.contentOf(entry) },
            now
          )
        )
      }
      const ofSomebody = reason._tag === "Cancelled"
      return {
        told,
        notices,
        follows: {
          _tag: "Settle",
          told: ofSomebody
            ? { _tag: "JobCancelled", by: "elsewhere", executions }
            : { _tag: "JobFailed", error, executions }
        }
      }
    }
    case "DeadLetter": {
      const why: JobError = ended.paid
        ? new PoolError({ reason: { _tag: "MaybeExecuted", cause: error.message } })
        : error
      return { told, notices, follows: { _tag: "DeadLetter", told: { _tag: "DeadLettered", error: why, executions } } }
    }
  }
}
