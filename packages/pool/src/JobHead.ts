/** What a scheduler knows of a waiting job: enough to order and to place it, and nothing heavy. */
import type { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"

/** One waiting job as queues announce it. Heads are values: a job that changes gets a new one. */
export interface JobHead {
  readonly id: JobId
  /** Higher goes first, strictly. */
  readonly priority: number
  /** Whose job it is: tenants share the servers by weight. */
  readonly tenant: string
  /** Jobs of one key want the same models in memory. */
  readonly affinity: AffinityKey
  /**
   * A digest of what the job asks of servers (names, tags, memory, classes, models), `""` for nothing: jobs with one
   * placement may run on the same servers. So a scheduler passes over a million jobs for a missing server in one step.
   */
  readonly placement: string
  /** Estimated milliseconds on a GPU, whole: what its tenant is charged. */
  readonly cost: number
  /** Not before this instant, epoch milliseconds of the queue's clock; 0 is at once. */
  readonly notBefore: number
  /** Place in the order of arrival; unique in a queue, kept when a job comes back. */
  readonly sequence: number
}

/**
 * An attempt on its way, as the queue keeps it with the claim: written before anything is sent, so that whoever claims the
 * job after a lost holder asks for this run before starting another. `startedAt`: epoch milliseconds; `number` from 1.
 */
export interface OpenRun {
  readonly runId: RunId
  readonly server: BackendId
  readonly number: number
  readonly startedAt: number
}

/**
 * A change of what waits: a job is there to be claimed (again), or is not any more. `inMs`: it may be claimed after so many
 * milliseconds from now, by the queue's clock, which no step of ours moves; absent, at once. `left`: a run of it that
 * nobody holds any more and that may be going on; only a claim for this run is granted.
 */
export type HeadChange =
  | { readonly _tag: "Ready"; readonly head: JobHead; readonly inMs?: number; readonly left?: OpenRun }
  | { readonly _tag: "Gone"; readonly id: JobId }

/** Whether a text may be a job's id: not empty, at most 200 characters. */
export const isJobId = (id: string): id is JobId => id.length > 0 && id.length <= 200
