// @effect-diagnostics asyncFunction:off
// What a queue on the disk costs a pool: whole jobs of 20 ms beside the queue in memory, and the start on what a former
// process left.
import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Jobs from "@effect-comfyui/pool/Jobs"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import * as Submission from "@effect-comfyui/pool/Submission"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { ok } from "node:assert"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { seeded } from "./support/graph.ts"
import { beside, connect } from "./support/pooled.ts"
import { serve } from "./support/start.ts"

const inFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), "comfy-durable-"))
  return { file: join(folder, "queue.db"), remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** The same jobs on the same servers, one queue after the other. */
const overhead = async () => {
  const { close: stop, urls } = await serve(8, 20)
  const { file, remove } = inFolder()
  const durable = await connect(urls, {}, JobQueueSqliteNode.layerFile(file))
  const sides = beside(1_000, durable, await connect(urls))
  return {
    ...sides,
    close: async () => {
      await sides.close()
      stop()
      remove()
    }
  }
}

const waiting = 10_000
const running = 60

const fill = Effect.gen(function*() {
  const queue = yield* JobQueue
  const jobs = Jobs.make()
  yield* Effect.forEach(Array.from({ length: waiting + running }, (_, i) => i), (i) =>
    Effect.gen(function*() {
      const id = JobId.make(`job-${i}`)
      const prepared = yield* Effect.fromResult(
        Submission.prepare(jobs, seeded(i), { id, tenant: `t${i % 10}` }, id, { at: Date.now(), now: 0 })
      )
      yield* queue.offer(prepared.offer(1_000))
    }), { concurrency: 256, discard: true })
  for (let i = 0; i < running; i++) {
    const runId = RunId.make(`00000000-0000-4000-8000-${`${i}`.padStart(12, "0")}`)
    const server = BackendId.make(`gpu-${i}`)
    yield* queue.claim(JobId.make(`job-${i}`), "1 hour", { runId, server, number: 1, startedAt: Date.now() })
  }
})

/** Seconds until a pool without servers knows every job, beyond what a bare read of all rows takes. */
const recover = async () => {
  const { file, remove } = inFolder()
  const queue = JobQueueSqliteNode.layerFile(file)
  await Effect.runPromise(Effect.provide(fill, queue))
  const samples = []
  for (let round = -1; round < 5; round++) {
    const db = new DatabaseSync(file)
    const begun = performance.now()
    ok(db.prepare("SELECT * FROM comfy_job JOIN comfy_payload USING (sequence)").all().length === waiting + running)
    const bare = (performance.now() - begun) / 1_000
    db.close()
    const layers = Layer.mergeAll(
      JobQueueSqliteNode.layerFile(file, { access: "exclusive" }),
      RouterPolicies.layerCostAware
    )
    const started = performance.now()
    const runtime = ManagedRuntime.make(Layer.provide(Pool.layer(), layers))
    const known = Effect.flatMap(
      Pool.Pool,
      ({ list }) =>
        Effect.repeat(Effect.delay(list, "5 millis"), { until: ({ length }) => length >= waiting + running })
    )
    await runtime.runPromise(known)
    const whole = (performance.now() - started) / 1_000
    await runtime.dispose()
    if (round >= 0) samples.push({ ours: whole - bare, reference: bare, ratio: whole / bare })
  }
  remove()
  return samples
}

export const cases = [
  {
    name: "durable-overhead",
    goal: { min: 0.95 },
    noise: "wide",
    rounds: 7,
    measure: "rate",
    unit: "jobs/s",
    prepare: overhead
  },
  {
    name: "recover-10k",
    goal: { maxAbsolute: 2 },
    noise: "wide",
    measure: "samples",
    unit: "s more",
    samples: recover
  }
]
