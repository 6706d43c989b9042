/** The jobs API, since 0.6.0. Members that would be null are absent. */
import * as Schema from "effect/Schema"
import * as History from "./History.ts"
import * as Wire from "./Wire.ts"

const optionalTime = Wire.nullish(Wire.double)

const job = Schema.Struct({
  id: Schema.String,
  status: Wire.open("pending", "in_progress", "completed", "failed", "cancelled"),
  priority: Wire.nullish(Wire.number),
  create_time: optionalTime,
  execution_start_time: optionalTime,
  execution_end_time: optionalTime,
  execution_error: Wire.nullish(Wire.object),
  outputs_count: Wire.nullish(Wire.double),
  previewable_outputs_count: Wire.nullish(Wire.double),
  preview_output: Wire.nullish(Wire.object),
  workflow_id: Schema.optionalKey(Wire.json),
  outputs: Wire.nullish(Schema.Record(Schema.String, Wire.json)),
  execution_status: Wire.nullish(History.status),
  workflow: Wire.nullish(
    Schema.Struct({ prompt: Schema.optionalKey(Wire.json), extra_data: Schema.optionalKey(Wire.json) })
  )
})

/**
 * One prompt, waiting, running or finished; `priority` is its queue number, times are epoch milliseconds. Before 0.9 a
 * cancelled job is `failed`. A running one has no start time yet. `outputs_count` 0 does not mean that there are no
 * outputs (texts do not count since 0.28). `outputs`, `execution_status` and `workflow` come with `GET /api/jobs/{id}`.
 */
export const Job = Wire.make("job", job)
export type Job = Wire.Type<typeof Job>

/** `GET /api/jobs`. */
export const Page = Wire.make(
  "jobs",
  Schema.Struct({
    jobs: Schema.Array(job),
    pagination: Schema.Struct({
      offset: Wire.double,
      limit: Wire.nullish(Wire.double),
      total: Wire.double,
      has_more: Schema.Boolean
    })
  })
)
export type Page = Wire.Type<typeof Page>

/** Query of `GET /api/jobs`; `status` is a list joined by commas, `limit` at least 1. */
export interface Query {
  readonly status?: string
  readonly workflow_id?: string
  readonly sort_by?: "created_at" | "execution_duration"
  readonly sort_order?: "asc" | "desc"
  readonly limit?: number
  readonly offset?: number
}

/** `POST /api/jobs/cancel`: canonical UUIDs; one that is none refuses them all. */
export const CancelRequest = Wire.make("cancel request", Schema.Struct({ job_ids: Wire.strings }))
export type CancelRequest = Wire.Type<typeof CancelRequest>

/** Whether anything was cancelled; a running node may still end in its own time, and a dead worker says true too. */
export const Cancelled = Wire.make("cancelled", Schema.Struct({ cancelled: Schema.Boolean }))
export type Cancelled = Wire.Type<typeof Cancelled>
