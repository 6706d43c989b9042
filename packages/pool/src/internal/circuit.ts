import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"

/** One failure, as a circuit remembers it. */
export interface Counted {
  readonly content: string
  /** Of which kind, where that can be said. */
  readonly kind: string | null
  readonly at: number
}

/** A server, or one key on it (`key` is null for the server). Times are monotonic milliseconds. */
export interface Circuit {
  readonly server: BackendId
  readonly key: AffinityKey | null
  state: "closed" | "open" | "half-open"
  /** The last failures, oldest first, at most eight. */
  failures: Array<Counted>
  openUntil: number
  /** How long it was open last; 0 before the first time, and once it has stayed closed for as long. */
  openedFor: number
  closedAt: number
  probing: boolean
  /** Opened by counting, not by proof. */
  statistical: boolean
  cause: string
}

const maxCounted = 8

export const make = (server: BackendId, key: AffinityKey | null): Circuit => ({
  server,
  key,
  state: "closed",
  failures: [],
  openUntil: 0,
  openedFor: 0,
  closedAt: Number.NEGATIVE_INFINITY,
  probing: false,
  statistical: true,
  cause: ""
})

export const count = (circuit: Circuit, failure: Counted, window: number): void => {
  const { at } = failure
  circuit.failures = circuit.failures.filter((before) => at - before.at < window)
  circuit.failures.push(failure)
  if (circuit.failures.length > maxCounted) circuit.failures.shift()
}

export const contents = (circuit: Circuit): number => new Set(circuit.failures.map(({ content }) => content)).size
