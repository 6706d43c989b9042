/** A workflow and what is wanted of it, made into a job and into what the queue keeps of it. Pure. */
import { JobId } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import type { Time } from "@effect-comfyui/execution/Time"
import { sha256 } from "@effect-comfyui/workflow/Digest"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as Result from "effect/Result"
import * as Job from "./Job.ts"
import { check, type JobOptions } from "./JobOptions.ts"
import type { Offer } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import * as Need from "./Need.ts"

/** The job's id: the caller's, one that its idempotency key stands for, or a fresh one. */
const idOf = (id: JobId | undefined, key: string | undefined, fresh: string): JobId =>
  id ?? JobId.make(key === undefined ? fresh : `key-${sha256(key)}`)

/** A job as it is submitted: what the pool knows of it, and what the queue keeps. */
export interface Prepared {
  readonly entry: Job.Entry
  /** `cost`: estimated milliseconds on a GPU. */
  readonly offer: (cost: number) => Offer
}

/** `fresh`: an id nobody has. Fails for options that mean nothing, and for a graph in a circle. */
export const prepare = (
  jobs: Jobs.Jobs,
  workflow: Workflow.Workflow,
  wanted: JobOptions,
  fresh: string,
  { at, now }: Time
): Result.Result<Prepared, PoolError> =>
  Result.gen(function*() {
    const { attachments, options } = yield* check(wanted)
    const key = yield* Result.mapError(
      WorkflowKey.affinity(workflow),
      ({ message }) => new PoolError({ reason: { _tag: "InvalidOptions", option: "workflow", problem: message } })
    )
    const digest = WorkflowKey.content(workflow)
    const content = Result.isSuccess(digest) ? digest.success : null
    const asked = Need.placementOf(options)
    const kind = Jobs.kindOf(jobs, key, asked) ??
      { affinity: key, placement: asked, need: Need.of(workflow, options), jobs: 0 }
    const id = idOf(options.id, options.idempotencyKey, fresh)
    const deadlineAt = now + (options.limits.deadlineMs ?? Number.POSITIVE_INFINITY)
    const entry = Job.make({ id, options, kind, content, submittedAt: at, deadlineAt })
    const { priority, tenant } = options
    const { affinity, placement } = kind
    return {
      entry,
      offer: (cost) => ({
        head: { id, priority, tenant, affinity, placement, cost, notBefore: 0 },
        payload: { workflow, options: null, attachments },
        fingerprint: content ?? sha256(Workflow.toJson(workflow))
      })
    }
  })
