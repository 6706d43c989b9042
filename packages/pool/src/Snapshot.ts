/** The pool at a glance: counts and short lists, cheap enough to be read whenever something happens. */
import * as Breakers from "./Breakers.ts"
import * as Deaths from "./Deaths.ts"
import * as Fleet from "./Fleet.ts"
import type { TenantWaits } from "./internal/tenantWaits.ts"
import type { Jobs } from "./Jobs.ts"
import type * as Member from "./Member.ts"
import * as ReadySet from "./ReadySet.ts"
import * as Residency from "./Residency.ts"
import * as RetryBudget from "./RetryBudget.ts"

/** What waits of one tenant. */
export interface Tenant extends Omit<TenantWaits, "oldest"> {
  /** When the first of its waiting jobs was submitted, epoch milliseconds; null: none waits. */
  readonly oldestAt: number | null
}

/** The pool at a glance. */
export interface Snapshot {
  readonly servers: ReadonlyArray<Member.View>
  readonly queued: number
  /** Jobs that the pool holds on a server: those whose files are being collected are among them. */
  readonly running: number
  readonly collecting: number
  /** Jobs whose run was left by an earlier process, and is being asked for. */
  readonly recovering: number
  readonly tenants: ReadonlyArray<Tenant>
  readonly blocked: ReturnType<typeof Breakers.snapshot>
  readonly resident: ReturnType<typeof Residency.snapshot>
  /** Contents under which server processes ended in the last 24 h; from two on they are given to no server. At most 100. */
  readonly suspects: ReturnType<typeof Deaths.snapshot>
  /** Jobs and repeated executions of the last minutes, and how many of these the fleet may spend now. */
  readonly retries: ReturnType<typeof RetryBudget.snapshot>
}

/** What is looked at; all of it is the pool's. */
export interface Parts {
  readonly fleet: Fleet.Fleet
  readonly ready: ReadySet.State
  readonly jobs: Jobs
  readonly budget: RetryBudget.State
  readonly running: number
  readonly recovering: number
}

const maxSuspects = 100

/** As it is now, monotonic milliseconds. */
export const of = ({ budget, fleet, jobs, ready, recovering, running }: Parts, now: number): Snapshot => {
  const waiting = ReadySet.snapshot(ready)
  const members = [...fleet.members.values()]
  return {
    servers: Fleet.views(fleet, now),
    queued: waiting.ready + waiting.delayed,
    running,
    collecting: members.reduce((sum, { collecting }) => sum + collecting, 0),
    recovering,
    tenants: waiting.tenants.map(({ oldest, ...tenant }) => ({
      ...tenant,
      oldestAt: oldest === null ? null : jobs.open.get(oldest)?.submittedAt ?? null
    })),
    blocked: Breakers.snapshot(fleet.breakers),
    resident: Residency.snapshot(fleet.residency),
    suspects: Deaths.snapshot(fleet.deaths, now).filter(({ deaths }) => deaths > 0).slice(-maxSuspects),
    retries: RetryBudget.snapshot(budget, now)
  }
}
