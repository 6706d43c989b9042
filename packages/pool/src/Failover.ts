/**
 * What follows a failed attempt, as a value: the same server, another, the end, or a person. Decided from the reason, what
 * the job has been through, and a policy; no clock, and the randomness of delays is an argument.
 */
import { attributions, type Reason } from "@effect-comfyui/execution/ExecutionError"
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as Defaults from "./Defaults.ts"

/** What ended an attempt, as far as further attempts go. */
export const Cause = Schema.Literals([
  "not-accepted",
  "server-died",
  "out-of-memory",
  "foreign-interrupt",
  "server-fault",
  "node-failed",
  "final"
])
export type Cause = typeof Cause.Type

/** A failure to compare with later ones: the same on a second server is the workflow's own. At most 16 are kept. */
const Failure = Schema.Struct({ server: BackendId, fingerprint: Schema.String })

/** What a job has been through; plain JSON, handed on with `JobQueue.release`. */
export const Ledger = Schema.Struct({
  /** Ended attempts by cause. */
  causes: Schema.Record(Cause, Schema.Int),
  /** Executions that may have happened. */
  executions: Schema.Int,
  /** Attempts that were not accepted since the last that was: what their delay grows with. */
  refusals: Schema.Int,
  failures: Schema.Array(Failure),
  /** Servers that this job avoids, at most 64. */
  exclude: Schema.Array(BackendId),
  /** It ran out of memory on a card with so many bytes: only larger ones are left. */
  moreVramThan: Schema.NullOr(Schema.Finite),
  /** It is tried once more on this server, whose memory is freed first. */
  freeOn: Schema.NullOr(BackendId)
})
export type Ledger = typeof Ledger.Type

/** Of a job that was never tried. */
export const empty: Ledger = {
  causes: {
    "not-accepted": 0,
    "server-died": 0,
    "out-of-memory": 0,
    "foreign-interrupt": 0,
    "server-fault": 0,
    "node-failed": 0,
    "final": 0
  },
  executions: 0,
  refusals: 0,
  failures: [],
  exclude: [],
  moreVramThan: null,
  freeOn: null
}

/** How often, by cause, and how fast. Times in milliseconds. */
export interface Policy {
  /** Executions in all while servers die. */
  readonly serverDeaths: number
  /** Further attempts after the one that ended so. */
  readonly outOfMemory: number
  readonly foreignInterrupts: number
  readonly serverFaults: number
  readonly nodeFailures: number
  /** A POST whose fate nobody knows, after asking: set aside, tried again, or failed. */
  readonly onAmbiguity: "verify" | "retry" | "fail"
  readonly delay: number
  readonly delayCap: number
}

const { failover } = Defaults

export const defaults: Policy = {
  serverDeaths: failover.serverDeaths,
  outOfMemory: failover.outOfMemory,
  foreignInterrupts: failover.foreignInterrupts,
  serverFaults: failover.serverFaults,
  nodeFailures: 0,
  onAmbiguity: "verify",
  delay: Duration.toMillis(failover.delay),
  delayCap: Duration.toMillis(failover.delayCap)
}

/** A failed attempt. */
export interface Attempt {
  readonly server: BackendId
  readonly reason: Reason
  /** The server had taken the prompt, or nobody knows that it had not. */
  readonly accepted: boolean
  /** Runs of this job cost money: at most one execution ever. */
  readonly paid: boolean
  /** Another workflow ran on this card before: with its memory freed the same card may do. */
  readonly anotherKeyBefore: boolean
  /** The storage of servers is known to fail: whatever fails by that is tried again, without end. */
  readonly storageOut: boolean
}

/** What follows. */
export type Verdict =
  | {
    readonly _tag: "Retry"
    readonly on: "same-server" | "another-server"
    /** Another execution, which the retry budget of the fleet must allow; else it waits for it. */
    readonly repeats: boolean
    readonly delayMs: number
    /** Only servers with more memory than this one. */
    readonly largerThan: BackendId | null
    /** Free this server's memory, and run the job there again. */
    readonly freeFirst: BackendId | null
    readonly why: string
  }
  | { readonly _tag: "GiveUp"; readonly why: string; /** The breakers forget it. */ readonly exonerate: boolean }
  | { readonly _tag: "DeadLetter"; readonly why: string }

/** What the end of a server process looks like. */
export const died: ReadonlySet<Reason["_tag"]> = new Set(["Lost", "Unreachable"])

/** How an attempt counts. Nothing that was not accepted has cost a GPU anything. */
export const causeOf = ({ accepted, reason }: Attempt): Cause => {
  const { category, verdict } = attributions[reason._tag]
  if (reason._tag === "Cancelled") return reason.by === "elsewhere" ? "foreign-interrupt" : "final"
  if (reason._tag === "NodeFailed") return "node-failed"
  if (reason._tag === "OutOfMemory") return "out-of-memory"
  if (reason._tag === "SubmitAmbiguous") return "server-fault"
  if (verdict === "give-up") return "final"
  if (!accepted || category === "pairing" && reason._tag === "MissingCapability") return "not-accepted"
  return died.has(reason._tag) ? "server-died" : "server-fault"
}

/** The same failure has the same text, wherever it happens. */
const fingerprint = (reason: Reason): string =>
  reason._tag === "NodeFailed" ? `${reason.nodeId ?? ""} ${reason.exceptionType}` : reason._tag

const maxFailures = 16
const maxExcluded = 64

/** The ledger with this attempt in it. */
export const record = (ledger: Ledger, attempt: Attempt): Ledger => {
  const cause = causeOf(attempt)
  const refused = cause === "not-accepted"
  const avoid = attempt.reason._tag !== "RateLimited"
  return {
    causes: { ...ledger.causes, [cause]: ledger.causes[cause] + 1 },
    executions: ledger.executions + (attempt.accepted ? 1 : 0),
    refusals: refused ? ledger.refusals + 1 : 0,
    failures: refused
      ? ledger.failures
      : [...ledger.failures, { server: attempt.server, fingerprint: fingerprint(attempt.reason) }].slice(-maxFailures),
    exclude: avoid && !ledger.exclude.includes(attempt.server)
      ? [...ledger.exclude, attempt.server].slice(-maxExcluded)
      : ledger.exclude,
    moreVramThan: ledger.moreVramThan,
    freeOn: null
  }
}

/** The ledger that the next attempt is placed by. `vramBytes`: of the card that was too small, where it is known. */
export const follow = (
  ledger: Ledger,
  { freeFirst, largerThan }: Extract<Verdict, { readonly _tag: "Retry" }>,
  vramBytes: number | undefined
): Ledger => ({
  ...ledger,
  exclude: ledger.exclude.filter((server) => server !== freeFirst),
  moreVramThan: largerThan === null || vramBytes === undefined
    ? ledger.moreVramThan
    : Math.max(ledger.moreVramThan ?? 0, vramBytes),
  freeOn: freeFirst
})

/** Doubled each time, with full jitter between half and whole; `random` from 0 to 1. */
const backoff = (policy: Policy, times: number, random: number): number =>
  Math.min(policy.delay * 2 ** Math.min(Math.max(times - 1, 0), 30), policy.delayCap) * (0.5 + random / 2)

const retry = (
  on: "same-server" | "another-server",
  delayMs: number,
  why: string,
  more: { readonly repeats?: boolean; readonly largerThan?: BackendId; readonly freeFirst?: BackendId } = {}
): Verdict => ({
  _tag: "Retry",
  on,
  repeats: more.repeats ?? true,
  delayMs,
  largerThan: more.largerThan ?? null,
  freeFirst: more.freeFirst ?? null,
  why
})

const giveUp = (why: string, exonerate = false): Verdict => ({ _tag: "GiveUp", why, exonerate })

const failedElsewhere = (ledger: Ledger, { reason, server }: Attempt): boolean =>
  ledger.failures.some((failure) => failure.server !== server && failure.fingerprint === fingerprint(reason))

/** `within`: attempts so far that ended so, this one included, may be repeated. */
const within = (so: number, further: number): boolean => so <= further

/**
 * What follows this attempt. `ledger`: from `record`, with this attempt in it. `random`: from 0 to 1, seeded by the
 * caller. The deadline is the caller's matter: whoever waits for it may cut any retry short.
 */
export const decide = (attempt: Attempt, ledger: Ledger, policy: Policy, random: number): Verdict => {
  const { paid, reason, server } = attempt
  const cause = causeOf(attempt)
  const so = ledger.causes[cause]
  const delay = backoff(policy, so, random)
  if (cause === "final") return giveUp(reason._tag)
  if (cause === "not-accepted") {
    const wait = reason._tag === "RateLimited" ? reason.retryAfterMs ?? 0 : 0
    const on = attributions[reason._tag].verdict === "same-server" ? "same-server" : "another-server"
    const fact = reason._tag === "MissingCapability"
    const delayMs = fact ? 0 : Math.max(wait, backoff(policy, ledger.refusals, random))
    return retry(on, delayMs, `${reason._tag}: nothing ran`, { repeats: false })
  }
  if (paid) {
    // What a node raised is the end of it; of anything else nobody knows what it has cost.
    return cause === "node-failed" || cause === "out-of-memory"
      ? giveUp(`${reason._tag}, and a paid run is not repeated`)
      : { _tag: "DeadLetter", why: `${reason._tag}: a paid run may have happened` }
  }
  if (reason._tag === "SubmitAmbiguous" && policy.onAmbiguity !== "retry") {
    const why = "nobody knows whether the server took it"
    return policy.onAmbiguity === "fail" ? giveUp(why) : { _tag: "DeadLetter", why }
  }
  switch (cause) {
    case "node-failed":
      if (failedElsewhere(ledger, attempt)) return giveUp("failed the same way on a second server", true)
      return within(so, policy.nodeFailures) ? retry("another-server", delay, "node failed") : giveUp("a node failed")
    case "out-of-memory":
      if (!within(so, policy.outOfMemory)) return giveUp("out of memory again")
      return attempt.anotherKeyBefore
        ? retry("same-server", delay, "out of memory beside another workflow", { freeFirst: server })
        : retry("another-server", delay, "out of memory", { largerThan: server })
    case "foreign-interrupt":
      return within(so, policy.foreignInterrupts)
        ? retry("another-server", delay, "interrupted by somebody else")
        : giveUp("interrupted by somebody else again")
    case "server-died":
      if (ledger.executions < policy.serverDeaths) return retry("another-server", delay, `${reason._tag}: server died`)
      return so > 1 && new Set(ledger.failures.map((failure) => failure.server)).size > 1
        ? { _tag: "DeadLetter", why: `${so} servers died under it` }
        : giveUp(`${ledger.executions} executions, and the server died`)
    case "server-fault":
      return (attempt.storageOut && reason._tag === "StorageFailed") || within(so, policy.serverFaults)
        ? retry("another-server", delay, `${reason._tag}: the server's fault`)
        : giveUp(`${reason._tag} again`)
  }
}
