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

/** A job as it is submitted; `fresh`: an id nobody has. Fails for options that mean nothing, and for a graph in a circle. */
export const prepare = (
  workflow: Workflow.Workflow,
  wanted: JobOptions,
  fresh: string,
  { at, now }: Time
): Result.Result<Job.Entry, PoolError> =>
  Result.gen(function*() {
    const options = yield* check(wanted)
    const affinity = yield* Result.mapError(
      WorkflowKey.affinity(workflow),
      ({ message }) => new PoolError({ reason: { _tag: "InvalidOptions", option: "workflow", problem: message } })
    )
    const content = WorkflowKey.content(workflow)
    const need = Need.of(workflow, options)
    return Job.make({
      id: idOf(options.id, options.idempotencyKey, fresh),
      workflow,
      options,
      need,
      affinity,
      content: Result.isSuccess(content) ? content.success : null,
      placement: Jobs.placementOf(need, options.requires.classes),
      submittedAt: at,
      deadlineAt: now + (options.limits.deadlineMs ?? Number.POSITIVE_INFINITY)
    })
  })

/** What the queue keeps of it. `cost`: estimated milliseconds on a GPU. */
export const offerOf = (entry: Job.Entry, cost: number): Offer => ({
  head: {
    id: entry.id,
    priority: entry.options.priority,
    tenant: entry.options.tenant,
    affinity: entry.affinity,
    placement: entry.placement,
    cost,
    notBefore: 0
  },
  payload: { workflow: entry.workflow, options: null, attachments: entry.options.attachments },
  fingerprint: entry.content ?? sha256(Workflow.toJson(entry.workflow))
})
