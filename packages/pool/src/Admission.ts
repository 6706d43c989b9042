/**
 * How many jobs may wait, in all and of one tenant, and when it is worth asking again: a pure count of those that came and
 * went. Times are monotonic milliseconds.
 */
import type { PoolReason } from "@effect-comfyui/execution/PoolError"
import * as Defaults from "./Defaults.ts"

/** Waiting jobs at which the next one is refused. */
export interface Options {
  readonly maxQueued: number
  readonly maxQueuedPerTenant: number
}

const { maxQueued, maxQueuedPerTenant, retryFloor, retryCap } = Defaults.queue

export const defaults: Options = { maxQueued, maxQueuedPerTenant }

/** Jobs of one tenant, or of all. */
interface Account {
  waiting: number
  /** When one stopped waiting last, and the mean time between two of these. */
  leftAt: number
  gapMs: number
}

/** Owned and updated in place by its pool. Tenants are kept while they have a waiting job: as many as jobs. */
export interface State {
  readonly options: Options
  readonly all: Account
  readonly tenants: Map<string, Account>
}

const account = (now: number): Account => ({ waiting: 0, leftAt: now, gapMs: 0 })

export const init = (options: Partial<Options>, now: number): State => ({
  options: { ...defaults, ...options },
  all: account(now),
  tenants: new Map()
})

/** The newest gap counts a tenth. */
const weight = 0.1

/** Until another one may have left: the mean gap, or as long as nobody has left by now. */
const retryAfter = ({ gapMs, leftAt }: Account, now: number): number =>
  Math.ceil(Math.min(Math.max(gapMs, now - leftAt, retryFloor), retryCap))

/** Why another job of this tenant may not come in now; undefined: it may. */
export const refusal = (
  { all, options, tenants }: State,
  tenant: string,
  now: number
): Extract<PoolReason, { readonly _tag: "QueueFull" }> | undefined => {
  const own = tenants.get(tenant)
  if (own !== undefined && own.waiting >= options.maxQueuedPerTenant) {
    const limit = options.maxQueuedPerTenant
    return { _tag: "QueueFull", tenant, limit, retryAfterMs: retryAfter(own, now) }
  }
  return all.waiting < options.maxQueued
    ? undefined
    : { _tag: "QueueFull", tenant: null, limit: options.maxQueued, retryAfterMs: retryAfter(all, now) }
}

/** A job waits from now on. */
export const joined = (state: State, tenant: string, now: number): void => {
  let own = state.tenants.get(tenant)
  if (own === undefined) state.tenants.set(tenant, own = account(now))
  own.waiting++
  state.all.waiting++
}

const leave = (from: Account, now: number): void => {
  from.waiting--
  const gap = now - from.leftAt
  from.gapMs = from.gapMs === 0 ? gap : from.gapMs + (gap - from.gapMs) * weight
  from.leftAt = now
}

/** A job that had joined was placed for the first time, or has ended unplaced. */
export const left = (state: State, tenant: string, now: number): void => {
  const own = state.tenants.get(tenant)
  if (own === undefined) return
  leave(own, now)
  leave(state.all, now)
  if (own.waiting === 0) state.tenants.delete(tenant)
}

/** Waiting jobs now. */
export const waiting = ({ all }: State): number => all.waiting
