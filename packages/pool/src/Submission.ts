/** A workflow and what is wanted of it, made into a job and into what the queue keeps of it, and back. Pure. */
import { JobId } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import type { Time } from "@effect-comfyui/execution/Time"
import { sha256 } from "@effect-comfyui/workflow/Digest"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey, ContentKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as Result from "effect/Result"
import * as Job from "./Job.ts"
import * as JobLedger from "./JobLedger.ts"
import { check, type Checked, fromJson, type JobOptions, type Sinks } from "./JobOptions.ts"
import type { JobRecord, Offer } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import { sizeClassOf } from "./MemoryNeeds.ts"
import * as Need from "./Need.ts"
import type { Options } from "./PoolOptions.ts"

/** The job's id: the caller's, one that its idempotency key stands for, or a fresh one. */
const idOf = (id: JobId | undefined, key: string | undefined, fresh: string): JobId =>
  id ?? JobId.make(key === undefined ? fresh : `key-${sha256(key)}`)

/** A job as it is submitted: what the pool knows of it, and what the queue keeps. */
export interface Prepared {
  readonly entry: Job.Entry
  /** `cost`: estimated milliseconds on a GPU. */
  readonly offer: (cost: number) => Offer
}

const newKind = (
  affinity: AffinityKey,
  placement: string,
  workflow: Workflow.Workflow,
  options: Checked
): Jobs.Kind => ({ affinity, placement, need: Need.of(workflow, options), jobs: 0 })

/** What a job asks for, and what the pool says in its place. */
const within = (wanted: JobOptions, defaults: Options["defaults"]): JobOptions =>
  defaults === undefined
    ? wanted
    : { ...defaults, ...wanted, timeouts: { ...defaults.timeouts, ...wanted.timeouts } }

/** `fresh`: an id nobody has. Fails for options that mean nothing, and for a graph in a circle. */
export const prepare = (
  jobs: Jobs.Jobs,
  workflow: Workflow.Workflow,
  wanted: JobOptions,
  fresh: string,
  { at, now }: Time,
  sinks?: Sinks,
  defaults?: Options["defaults"]
): Result.Result<Prepared, PoolError> =>
  Result.gen(function*() {
    const { attachments, id: named, idempotencyKey, options } = yield* check(
      within(wanted, defaults),
      sinks,
      sizeClassOf(workflow)
    )
    const key = yield* Result.mapError(
      WorkflowKey.affinity(workflow),
      ({ message }) => new PoolError({ reason: { _tag: "InvalidOptions", option: "workflow", problem: message } })
    )
    const digest = WorkflowKey.content(workflow)
    const content = Result.isSuccess(digest) ? digest.success : null
    const asked = Need.placementOf(options)
    const kind = Jobs.kindOf(jobs, key, asked) ?? newKind(key, asked, workflow, options)
    const id = idOf(named, idempotencyKey, fresh)
    const deadlineAt = now + (options.limits.deadlineMs ?? Number.POSITIVE_INFINITY)
    const entry = Job.make({ id, options, kind, content, submittedAt: at, deadlineAt })
    const { priority, tenant } = options
    const { affinity, placement } = kind
    return {
      entry,
      offer: (cost) => ({
        head: { id, priority, tenant, affinity, placement, cost, notBefore: 0 },
        payload: { workflow, options, attachments },
        fingerprint: content ?? sha256(Workflow.toJson(workflow))
      })
    }
  })

const isContent = (fingerprint: string): fingerprint is ContentKey => fingerprint.startsWith("c1:")

/** The content key of a job that the queue keeps; null for a graph that has none. */
export const contentOf = ({ fingerprint }: Pick<JobRecord, "fingerprint">): ContentKey | null =>
  isContent(fingerprint) ? fingerprint : null

/**
 * A job that another pool took in, or this one before its process ended, as the queue keeps it; its time goes on from when
 * it was queued. `workflow`: its own, needed for the first job of its kind only. Undefined where that is not there, or no
 * pool wrote its options.
 */
export const restore = (
  jobs: Jobs.Jobs,
  record: JobRecord,
  workflow: Workflow.Workflow | undefined,
  { at, now }: Time
): Job.Entry | undefined => {
  const { head, ledger, options: kept, queuedAt } = record
  const options = fromJson(kept)
  if (options === undefined) return undefined
  const { affinity, id, placement } = head
  const kind = Jobs.kindOf(jobs, affinity, placement) ??
    (workflow === undefined ? undefined : newKind(affinity, placement, workflow, options))
  if (kind === undefined) return undefined
  const deadlineAt = now + queuedAt - at + (options.limits.deadlineMs ?? Number.POSITIVE_INFINITY)
  const content = contentOf(record)
  const entry = Job.make({ id, options, kind, content, submittedAt: queuedAt, deadlineAt })
  return Object.assign(entry, JobLedger.fromJson(ledger))
}
