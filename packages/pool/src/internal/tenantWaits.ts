import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobHead } from "../JobHead.ts"
import type { Account, PriorityClass } from "./lanes.ts"

/** What waits of one tenant, and the GPU time left to it in this round, milliseconds (negative: in debt). */
export interface TenantWaits {
  readonly tenant: string
  readonly ready: number
  /** Not before a time, such as after a failure. */
  readonly delayed: number
  /** The job that came first of them. */
  readonly oldest: JobId | null
  readonly balanceMs: number
}

/** Of every tenant that has an account or a job that waits. */
export const tenantWaits = (
  accounts: ReadonlyMap<string, Account>,
  classes: ReadonlyArray<PriorityClass>,
  delayed: Iterable<{ readonly head: JobHead }>
): ReadonlyArray<TenantWaits> => {
  const tenants = new Map<string, { ready: number; delayed: number; oldest: JobHead | undefined }>()
  const count = (tenant: string, what: "ready" | "delayed", jobs: number, first: JobHead | undefined) => {
    let waits = tenants.get(tenant)
    if (waits === undefined) tenants.set(tenant, waits = { ready: 0, delayed: 0, oldest: first })
    waits[what] += jobs
    if (first !== undefined && first.sequence < (waits.oldest?.sequence ?? Number.POSITIVE_INFINITY)) {
      waits.oldest = first
    }
  }
  for (const tenant of accounts.keys()) count(tenant, "ready", 0, undefined)
  for (const { lanes } of classes) {
    for (const [tenant, { heap, size }] of lanes) count(tenant, "ready", size, heap[0]?.first)
  }
  for (const { head } of delayed) count(head.tenant, "delayed", 1, head)
  return Array.from(tenants, ([tenant, { delayed, oldest, ready }]) => ({
    tenant,
    ready,
    delayed,
    oldest: oldest?.id ?? null,
    balanceMs: accounts.get(tenant)?.balance ?? 0
  }))
}
