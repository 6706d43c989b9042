/** How a pool is made: its servers, its policies, and what becomes of what it leaves. */
import type * as Duration from "effect/Duration"
import type * as Breakers from "./Breakers.ts"
import type * as Discovery from "./Discovery.ts"
import type * as EstimatesStore from "./EstimatesStore.ts"
import type * as Failover from "./Failover.ts"
import type * as Fleet from "./Fleet.ts"
import type { JobOptions } from "./JobOptions.ts"
import type * as Membership from "./Membership.ts"
import type * as Prefetch from "./Prefetch.ts"
import type * as Restarts from "./Restarts.ts"
import type * as RetryBudget from "./RetryBudget.ts"
import type * as Servers from "./Servers.ts"
import type { Sink } from "./Sink.ts"

/** Everything has a default. */
export interface Options<R = never> {
  /** The servers at the start; others come and go with `servers.add` and `servers.remove`. */
  readonly servers?: ReadonlyArray<Servers.ServerSpec<R>>
  /** Servers that come and go by themselves: see `Discovery`. */
  readonly discovery?: Discovery.Sets<Servers.ServerSpec<R>, R>
  /** For jobs that say nothing themselves, limit by limit. */
  readonly defaults?: Pick<JobOptions, "timeouts" | "deadline" | "onAmbiguity">
  readonly failover?: Partial<Failover.Policy>
  readonly breakers?: Partial<Breakers.Options>
  readonly budget?: Partial<RetryBudget.Options>
  /** Waiting jobs at which `submit` fails with `QueueFull`, in all and of one tenant. Default 100,000 each. */
  readonly maxQueued?: number
  readonly maxQueuedPerTenant?: number
  /** Jobs of one tenant that may run at once. Default: no limit. */
  readonly maxRunningPerTenant?: number
  /** Servers kept for short jobs. */
  readonly lanes?: ReadonlyArray<Membership.Lane>
  /** Whether the next prompt goes to a server shortly before it is free. Default: where it is safe, see `Prefetch`. */
  readonly prefetch?: Partial<Prefetch.Options> | "off"
  /** What to do with servers that others use too. Default `polite`: nothing is placed while they do. */
  readonly sharing?: Fleet.Sharing
  /**
   * Where the files of jobs are kept that do not say so themselves; a job succeeds when they are there. Default
   * `reference`: on their servers.
   */
  readonly collect?: "reference" | Sink
  /** Other sinks that jobs may name. By their names a later process on a durable queue finds them. */
  readonly sinks?: ReadonlyArray<Sink>
  /** Shares of tenants beside the others, 1 by default. */
  readonly tenantWeights?: Readonly<Record<string, number>>
  /** Bounds of what servers' own `control.restart` is called for. */
  readonly restarts?: Partial<Restarts.Options>
  /** Servers that nobody needed for so long drop models and results from memory. Default: they keep them. */
  readonly freeMemory?: { readonly idleFor: Duration.Input }
  /** Between two probes of a server that says nothing; 0: none. */
  readonly probe?: Duration.Input
  /**
   * What happens to running prompts when the pool closes. Default: with a durable queue `leave`, and the next pool on it
   * takes them over; else `cancel`.
   */
  readonly onClose?: "cancel" | "leave"
  /** Whether the time of its jobs is accounted for: see `Profiles`. Default false, and then it costs nothing. */
  readonly profiles?: boolean
  /** Where what is learnt of times is kept, so that the next pool starts with it. Default: it goes with this one. */
  readonly estimates?: EstimatesStore.Options
  /** Whether its figures go to Effect's metric registry, for whatever reads that: see `PoolMetrics`. Default false. */
  readonly metrics?: boolean
}
