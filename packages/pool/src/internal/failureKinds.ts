import type { BackendId } from "@effect-comfyui/execution/Ids"

/** Where a kind of failure was seen last. */
interface Seen {
  readonly server: BackendId
  readonly at: number
  /** On more than one server: it comes with the workflow. */
  readonly isEverywhere: boolean
}

/** Kinds of failures by name; the one seen longest ago is forgotten beyond the cap. Times are monotonic milliseconds. */
export type Kinds = Map<string, Seen>

const cap = 10_000

/** Notes a failure; true where its kind was seen on another server within the time, too. */
export const isEverywhere = (kinds: Kinds, kind: string, server: BackendId, now: number, windowMs: number): boolean => {
  const before = kinds.get(kind)
  const isEverywhere = before !== undefined && now - before.at < windowMs &&
    (before.isEverywhere || before.server !== server)
  kinds.delete(kind)
  kinds.set(kind, { server, at: now, isEverywhere })
  const oldest = kinds.size > cap ? kinds.keys().next().value : undefined
  if (oldest !== undefined) kinds.delete(oldest)
  return isEverywhere
}
