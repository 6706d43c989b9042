/** What the queue keeps between two holders of a job: how its attempts went so far. */
import { Executions } from "@effect-comfyui/execution/ExecutionEvent"
import type * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"
import * as Failover from "./Failover.ts"
import type * as Job from "./Job.ts"

/** Plain JSON, handed on with `JobQueue.release`. */
const JobLedger = Schema.Struct({
  failover: Failover.Ledger,
  executions: Executions,
  attempts: Schema.Int,
  prefix: Schema.NullOr(Schema.String)
})

const isLedger = Schema.is(JobLedger)

type Kept = Pick<Job.Entry, "ledger" | "executions" | "attemptCount" | "prefix">

/** Of this job, with the ledger that its next attempt is placed by. */
export const toJson = (
  { attemptCount, executions, prefix }: Omit<Kept, "ledger">,
  failover: Failover.Ledger
): Json.Json => ({
  failover,
  executions,
  attempts: attemptCount,
  prefix
})

/** As a job goes on with it; of a job that was never given back, or what no pool wrote: as new. */
export const fromJson = (kept: Json.Json): Kept => {
  const known: unknown = kept
  if (!isLedger(known)) {
    return { ledger: Failover.empty, executions: { atLeast: 0, atMost: 0 }, attemptCount: 0, prefix: null }
  }
  const { attempts, executions, failover, prefix } = known
  return { ledger: failover, executions, attemptCount: attempts, prefix }
}
