// @effect-diagnostics asyncFunction:off
// What a million waiting jobs cost: to enqueue (queue, announcement, ready set), to find and claim the next, in memory. Candidates are
// asked for as by a scheduler with one idle server: sixteen.
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import * as JobQueue from "@effect-comfyui/pool/JobQueue"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as ReadySet from "@effect-comfyui/pool/ReadySet"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

setFlagsFromString("--expose-gc")
const gc: unknown = runInNewContext("gc")
const heap = (): number => {
  for (let i = 0; i < 3; i++) if (typeof gc === "function") gc()
  return process.memoryUsage().heapUsed
}

const jobs = 1_000_000
const claims = 100_000
/** Jobs that are held at once: as many as servers. */
const servers = 1_000
const lease = Duration.minutes(1)
const tenants = Array.from({ length: 100 }, (_, i) => `tenant-${i}`)
const keys = Array.from({ length: 50 }, (_, i): AffinityKey => `a1:${i}`)
const payload: JobQueue.JobPayload = {
  workflow: Workflow.fromNodes({ "1": { class_type: "EmptyImage", inputs: {} } }),
  options: null,
  attachments: []
}

const endingOf = (jobId: JobId) => ({
  jobId,
  sequence: 0,
  at: 0,
  server: BackendId.make("gpu-1"),
  outputs: {},
  receipts: [],
  executions: { atLeast: 1, atMost: 1 }
})

interface Figures {
  readonly enqueue: number
  readonly claim: number
  readonly bytes: number
}

const run: Effect.Effect<Figures, PoolError, JobQueue.JobQueue> = Effect.scoped(Effect.gen(function*() {
  const queue = yield* JobQueue.JobQueue
  const ready = ReadySet.init()
  // Of this thread: collecting garbage beside it costs no dispatch.
  const cpu = () => process.threadCpuUsage().user
  const before = heap()
  // Spread as a random mix would be, and the same in every round.
  const ids = Array.from({ length: jobs }, () => JobId.make(Buffer.from(randomUUID()).toString("latin1")))
  yield* Effect.forkScoped(
    Stream.runForEach(queue.heads, (changes) => Effect.sync(() => void ReadySet.step(ready, changes, 1.5)))
  )
  const began = cpu()
  for (let i = 0; i < jobs; i++) {
    const id = ids[i]
    if (id === undefined) continue
    yield* queue.offer({
      head: {
        id,
        priority: 0,
        tenant: tenants[(i * 7919) % 100] ?? "",
        affinity: keys[(i * 104_729 >>> 4) % 50] ?? "a1:",
        placement: "",
        cost: 5_000.5,
        notBefore: 0
      },
      payload,
      fingerprint: "c1:same"
    })
    if (i % 1024 === 0) yield* Effect.yieldNow
  }
  while (ReadySet.size(ready) < jobs) yield* Effect.yieldNow
  const enqueue = (cpu() - began) / jobs
  ids.length = 0
  const bytes = (heap() - before) / jobs
  let spent = 0
  for (let done = 0; done < claims;) {
    const held: Array<JobQueue.Claim> = []
    const start = cpu()
    for (; held.length < servers; done++) {
      const [head] = ReadySet.take(ready, { now: 1.5, limit: 16 }).candidates
      if (head === undefined) return yield* Effect.die(new Error("the ready set ran dry"))
      const claim = yield* queue.claim(head.id, lease)
      if (Option.isSome(claim)) held.push(claim.value)
      ReadySet.claimed(ready, head)
    }
    spent += cpu() - start
    for (const { head, token } of held) {
      yield* queue.settle(head.id, token, { _tag: "JobSucceeded", ...endingOf(head.id) })
    }
  }
  return { enqueue, claim: spent / claims, bytes }
}))

const rounds = 5
let measured: Promise<ReadonlyArray<Figures>> | undefined

/** All figures come from the same rounds. */
const figures = (): Promise<ReadonlyArray<Figures>> =>
  measured ??= (async () => {
    const all: Array<Figures> = []
    for (let round = 0; round < rounds; round++) {
      const layer = JobQueueMemory.layerMemoryWith({ maxQueued: jobs + 1 })
      all.push(await Effect.runPromise(Effect.provide(run, layer)))
    }
    return all
  })()

const samples = (of: (figures: Figures) => number) => async () =>
  (await figures()).map((one) => ({ ours: of(one), reference: 1, ratio: of(one) }))

const common = { noise: "wide", measure: "samples", rounds }

export const cases = [
  { name: "claim-1m", goal: { maxAbsolute: 2 }, unit: "µs", ...common, samples: samples(({ claim }) => claim) },
  { name: "enqueue-1m", goal: { maxAbsolute: 3 }, unit: "µs", ...common, samples: samples(({ enqueue }) => enqueue) },
  { name: "bytes-1m", goal: { maxAbsolute: 300 }, unit: "B/job", ...common, samples: samples(({ bytes }) => bytes) }
]
