/**
 * Which servers, and which workflows on which server, are avoided for a while because they failed there. A fold without
 * a clock: every input says what time it is (monotonic milliseconds), every change of state comes out as a notice at the
 * moment it happens, and `earliest` says when to tick. What counts for whom stands in execution's table of attributions.
 */
import { attributions, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import { type Circuit, contents, count, type Counted, make } from "./internal/circuit.ts"
import { isEverywhere, type Kinds } from "./internal/failureKinds.ts"

/** When circuits open and for how long. Times in milliseconds. */
export interface Options {
  /** Failures of a key on a server that open the pair, of so many different contents, within so long. */
  readonly keyFailures: number
  readonly keyContents: number
  readonly keyWindow: number
  /**
   * Failures in a row that open a server: those that are its own, however late, and others that came within `fastWithin` of
   * their start. Only what ran well for longer before it failed, or succeeded, begins the row anew.
   */
  readonly fastFailures: number
  readonly fastWithin: number
  /** The first open time, the factor per opening, and the longest. */
  readonly open: number
  readonly factor: number
  readonly openCap: number
  /** Circuits kept; beyond it the one touched longest ago is forgotten, and told of if it was open. */
  readonly cap: number
  /** The share of the servers that counting may take out, for one key as for all; a proven fault is not bound by it. */
  readonly ejectShare: number
}

const { breakers } = Defaults

export const defaults: Options = {
  keyFailures: breakers.keyFailures,
  keyContents: breakers.keyContents,
  keyWindow: Duration.toMillis(breakers.keyWindow),
  fastFailures: breakers.fastFailures,
  fastWithin: Duration.toMillis(breakers.fastWithin),
  open: Duration.toMillis(breakers.open),
  factor: 2,
  openCap: Duration.toMillis(breakers.openCap),
  cap: breakers.cap,
  ejectShare: breakers.ejectShare
}

/** One failure blocks a workflow on a server for 60 s, whatever the rest of the fleet does: the rule of older clients. */
export const oneFailure: Options = {
  ...defaults,
  keyFailures: 1,
  keyContents: 1,
  open: 60_000,
  factor: 1,
  openCap: 60_000,
  ejectShare: 1
}

export type Input =
  /** The fleet has so many servers. */
  | { readonly _tag: "Fleet"; readonly servers: number }
  /**
   * An attempt ended badly. `content`: the content key; `kind`: which node of which workflow raised what, where one did: the
   * same on another server comes with the workflow and counts for none; `ranMs`: from its start on the server, or from the POST.
   */
  | {
    readonly _tag: "Failed"
    readonly server: BackendId
    readonly key: AffinityKey
    readonly content: string
    readonly reason: Reason["_tag"]
    readonly kind?: string | null
    readonly ranMs: number
  }
  | { readonly _tag: "Succeeded"; readonly server: BackendId; readonly key: AffinityKey }
  /** A job is placed on a half-open circuit: it is the probe, and no other follows until it ended. */
  | { readonly _tag: "Probing"; readonly server: BackendId; readonly key: AffinityKey }
  /** An attempt ended without saying anything of the server: cancelled, or refused by validation. */
  | { readonly _tag: "Neutral"; readonly server: BackendId; readonly key: AffinityKey }
  /** The same content failed the same way elsewhere: it was the workflow's fault, and its counts are undone. */
  | { readonly _tag: "Exonerate"; readonly content: string }
  /** A new process at this address: a broken card or a stuck worker is gone with the old one. */
  | { readonly _tag: "Restarted"; readonly server: BackendId }
  /** The server left the fleet. */
  | { readonly _tag: "Removed"; readonly server: BackendId }
  /** Closes what matches: by hand. Null is any. */
  | { readonly _tag: "Reset"; readonly server: BackendId | null; readonly key: AffinityKey | null }
  | { readonly _tag: "Tick" }

/** What the pool tells of. `key` null: the whole server. */
export type Notice =
  | {
    readonly _tag: "Blocked"
    readonly server: BackendId
    readonly key: AffinityKey | null
    readonly until: number
    readonly cause: string
    readonly failures: number
  }
  | {
    readonly _tag: "Unblocked"
    readonly server: BackendId
    readonly key: AffinityKey | null
    /** `elapsed`: one job may now try; `forgotten`: its place in the table was needed. */
    readonly by: "elapsed" | "success" | "undone" | "restart" | "removed" | "reset" | "forgotten"
  }

/** Owned and updated in place by its driver. */
export interface State {
  readonly options: Options
  /** By server and key, least recently touched first. */
  readonly circuits: Map<string, Circuit>
  /** The same, of those that are open or half-open. */
  readonly blocked: Map<string, Circuit>
  readonly kinds: Kinds
  servers: number
  earliest: number
}

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  circuits: new Map(),
  blocked: new Map(),
  kinds: new Map(),
  servers: 0,
  earliest: Number.POSITIVE_INFINITY
})

const nameOf = (server: BackendId, key: AffinityKey | null): string => key === null ? server : `${key} ${server}`

const unblocked = (circuit: Circuit, by: Extract<Notice, { readonly _tag: "Unblocked" }>["by"]): Notice => ({
  _tag: "Unblocked",
  server: circuit.server,
  key: circuit.key,
  by
})

const touch = (state: State, server: BackendId, key: AffinityKey | null, out: Array<Notice>): Circuit => {
  const name = nameOf(server, key)
  const circuit = state.circuits.get(name) ?? make(server, key)
  state.circuits.delete(name)
  state.circuits.set(name, circuit)
  if (state.circuits.size > state.options.cap) {
    for (const [oldest, old] of state.circuits) {
      forget(state, oldest, old, "forgotten", out)
      break
    }
  }
  return circuit
}

const forget = (
  state: State,
  name: string,
  circuit: Circuit,
  by: Extract<Notice, { readonly _tag: "Unblocked" }>["by"],
  out: Array<Notice>
): void => {
  state.circuits.delete(name)
  if (state.blocked.delete(name) && circuit.state === "open") out.push(unblocked(circuit, by))
}

const refreshEarliest = (state: State): void => {
  state.earliest = Number.POSITIVE_INFINITY
  for (const { openUntil, state: now } of state.blocked.values()) {
    if (now === "open") state.earliest = Math.min(state.earliest, openUntil)
  }
}

/**
 * How many servers would be out by counting with this circuit: those that are out as a whole and, of one key, those that
 * are out for it; a server that goes out as a whole does so for every key.
 */
const ejected = (state: State, { key, server }: Circuit): number => {
  const whole = new Set([server])
  const ofKeys = new Map<AffinityKey, Set<BackendId>>()
  for (const circuit of state.blocked.values()) {
    if (!circuit.statistical) continue
    if (circuit.key === null) whole.add(circuit.server)
    else if (key === null || circuit.key === key) {
      const servers = ofKeys.get(circuit.key)
      if (servers === undefined) ofKeys.set(circuit.key, new Set([circuit.server]))
      else servers.add(circuit.server)
    }
  }
  let most = whole.size
  for (const servers of ofKeys.values()) most = Math.max(most, whole.union(servers).size)
  return most
}

const open = (
  state: State,
  circuit: Circuit,
  cause: string,
  proven: boolean,
  now: number,
  out: Array<Notice>
): void => {
  const { ejectShare, factor, openCap } = state.options
  if (!proven && circuit.state !== "half-open" && ejected(state, circuit) > ejectShare * state.servers) return
  const grown = circuit.openedFor > 0 && now - circuit.closedAt < circuit.openedFor
  const again = circuit.state !== "closed" || grown
  circuit.openedFor = again ? Math.min(circuit.openedFor * factor, openCap) : Math.min(state.options.open, openCap)
  Object.assign(circuit, { state: "open", statistical: !proven, probing: false, cause })
  circuit.openUntil = now + circuit.openedFor
  state.blocked.set(nameOf(circuit.server, circuit.key), circuit)
  refreshEarliest(state)
  out.push({
    _tag: "Blocked",
    server: circuit.server,
    key: circuit.key,
    until: circuit.openUntil,
    cause,
    failures: circuit.failures.length
  })
}

const close = (
  state: State,
  circuit: Circuit,
  by: Extract<Notice, { readonly _tag: "Unblocked" }>["by"],
  now: number,
  out: Array<Notice>
): void => {
  circuit.failures = []
  circuit.probing = false
  if (circuit.state === "closed") return
  // Half-open was told of when its time had come.
  if (circuit.state === "open") out.push(unblocked(circuit, by))
  circuit.state = "closed"
  circuit.closedAt = now
  state.blocked.delete(nameOf(circuit.server, circuit.key))
  refreshEarliest(state)
}

/** Faults that need no second proof: every later job would fail there. */
const proof: ReadonlySet<Reason["_tag"]> = new Set(["GpuPoisoned", "DiskFull", "WorkerStuck"])

const onFailed = (
  state: State,
  { content, key, kind = null, ranMs, reason, server }: Extract<Input, { readonly _tag: "Failed" }>,
  now: number,
  out: Array<Notice>
): void => {
  const scope = attributions[reason].breaker
  if (scope === "none") return onNeutral(state, server, key)
  const { fastFailures, fastWithin, keyContents, keyFailures, keyWindow } = state.options
  if (kind !== null && isEverywhere(state.kinds, kind, server, now, keyWindow)) {
    undo(state, (failure) => failure.kind === kind, now, out)
    return onNeutral(state, server, key)
  }
  const ofServer = touch(state, server, null, out)
  const fast = ranMs < fastWithin
  const failure = { content, kind, at: now }
  const own = scope === "server" ? { ...failure, content: `${content} ${reason}` } : failure
  if (fast || scope === "server") count(ofServer, own, Number.POSITIVE_INFINITY)
  else ofServer.failures = []
  if (ofServer.state === "half-open" && (scope === "server" || fast)) {
    open(state, ofServer, reason, proof.has(reason), now, out)
  } else if (ofServer.state !== "open" && proof.has(reason)) open(state, ofServer, reason, true, now, out)
  else if (ofServer.state === "closed" && ofServer.failures.length >= fastFailures) {
    // One bad workflow sent five times says nothing of the server.
    if (scope === "server" || contents(ofServer) > 1) open(state, ofServer, "failures in a row", false, now, out)
  } else if (ofServer.state === "half-open") close(state, ofServer, "success", now, out)
  if (scope !== "key") {
    const known = state.circuits.get(nameOf(server, key))
    if (known !== undefined) known.probing = false
    return
  }
  const ofKey = touch(state, server, key, out)
  count(ofKey, failure, keyWindow)
  if (ofKey.state === "half-open") open(state, ofKey, reason, false, now, out)
  else if (ofKey.state === "closed" && ofKey.failures.length >= keyFailures && contents(ofKey) >= keyContents) {
    open(state, ofKey, reason, false, now, out)
  }
}

const both = (state: State, server: BackendId, key: AffinityKey): ReadonlyArray<Circuit> =>
  [state.circuits.get(nameOf(server, null)), state.circuits.get(nameOf(server, key))].filter((one) => one !== undefined)

const onNeutral = (state: State, server: BackendId, key: AffinityKey): void => {
  for (const circuit of both(state, server, key)) circuit.probing = false
}

/** Forgets such failures, and closes what would not be open without them. */
const undo = (state: State, isOut: (failure: Counted) => boolean, now: number, out: Array<Notice>): void => {
  for (const circuit of state.circuits.values()) {
    const rest = circuit.failures.filter((failure) => !isOut(failure))
    if (rest.length === circuit.failures.length) continue
    circuit.failures = rest
    const { fastFailures, keyContents, keyFailures } = state.options
    const still = circuit.key === null
      ? rest.length >= fastFailures
      : rest.length >= keyFailures && contents(circuit) >= keyContents
    if (circuit.statistical && !still) {
      close(state, circuit, "undone", now, out)
      circuit.failures = rest
      circuit.openedFor = 0
    }
  }
}

const closeMatching = (
  state: State,
  matches: (circuit: Circuit) => boolean,
  by: "restart" | "reset",
  now: number,
  out: Array<Notice>
): void => {
  for (const circuit of [...state.circuits.values()]) {
    if (!matches(circuit)) continue
    close(state, circuit, by, now, out)
    circuit.openedFor = 0
  }
}

const isShut = (id: BackendId) => ({ key, server, state }: Circuit): boolean =>
  server === id && key === null && state !== "closed"

const onTick = (state: State, now: number, out: Array<Notice>): void => {
  if (now < state.earliest) return
  for (const circuit of state.blocked.values()) {
    if (circuit.state !== "open" || circuit.openUntil > now) continue
    circuit.state = "half-open"
    circuit.probing = false
    out.push(unblocked(circuit, "elapsed"))
  }
  refreshEarliest(state)
}

/** Takes what happened; gives the notices of it, in order. Time that has come is told of first. */
export const step = (state: State, input: Input, now: number): ReadonlyArray<Notice> => {
  const out: Array<Notice> = []
  onTick(state, now, out)
  switch (input._tag) {
    case "Fleet":
      state.servers = input.servers
      break
    case "Failed":
      onFailed(state, input, now, out)
      break
    case "Succeeded":
      for (const circuit of both(state, input.server, input.key)) close(state, circuit, "success", now, out)
      break
    case "Probing":
      for (const circuit of both(state, input.server, input.key)) {
        if (circuit.state === "half-open") circuit.probing = true
      }
      break
    case "Neutral":
      onNeutral(state, input.server, input.key)
      break
    case "Exonerate":
      undo(state, ({ content }) => content === input.content, now, out)
      break
    case "Restarted":
      // The row goes on: a process that ends under every job is one of the failures that it counts.
      closeMatching(state, isShut(input.server), "restart", now, out)
      break
    case "Removed":
      for (const [name, circuit] of [...state.circuits]) {
        if (circuit.server === input.server) forget(state, name, circuit, "removed", out)
      }
      refreshEarliest(state)
      break
    case "Reset": {
      const { key, server } = input
      closeMatching(
        state,
        (circuit) => (server === null || circuit.server === server) && (key === null || circuit.key === key),
        "reset",
        now,
        out
      )
      break
    }
    case "Tick":
  }
  return out
}

/** Whether a job of this key may go to this server; `probe`: it would be the one that tries. */
export type Permit = "allowed" | "probe" | "blocked"

const permitOf = (circuit: Circuit | undefined, now: number): Permit => {
  if (circuit === undefined || circuit.state === "closed") return "allowed"
  if (circuit.probing || (circuit.state === "open" && circuit.openUntil > now)) return "blocked"
  return "probe"
}

/** Changes nothing. A probe is announced by `Probing` once it is placed. */
export const permit = (state: State, server: BackendId, key: AffinityKey, now: number): Permit => {
  if (state.blocked.size === 0) return "allowed"
  const ofServer = permitOf(state.blocked.get(nameOf(server, null)), now)
  const ofKey = permitOf(state.blocked.get(nameOf(server, key)), now)
  if (ofServer === "blocked" || ofKey === "blocked") return "blocked"
  return ofServer === "probe" || ofKey === "probe" ? "probe" : "allowed"
}

/** When something opens next for a try, monotonic milliseconds: tick then. Infinity without an open circuit. */
export const earliest = (state: State): number => state.earliest

/** What is blocked or may be tried, for people. */
export const snapshot = (
  state: State
): ReadonlyArray<
  Pick<Circuit, "server" | "key" | "openUntil" | "cause" | "probing"> & {
    readonly state: Circuit["state"]
    readonly failures: number
  }
> =>
  [...state.blocked.values()].map(({ cause, failures, key, openUntil, probing, server, state }) => ({
    server,
    key,
    state,
    openUntil,
    cause,
    probing,
    failures: failures.length
  }))
