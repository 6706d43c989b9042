// A process that works on a queue in a file: `sqliteChild.ts offer|claim FILE [JOBS]`. Prints the ids of the jobs that it has
// the queue's word for, one a line, at once; whoever claims says first that it is there, and ends when so many have ended.
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import { JobQueue, type Offer } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { writeSync } from "node:fs"

const [mode, file = "", jobs = "0"] = process.argv.slice(2)

const offerOf = (name: string): Offer => ({
  head: {
    id: JobId.make(name),
    priority: 0,
    tenant: "tenant",
    affinity: "a1:key",
    placement: "",
    cost: 1_000,
    notBefore: 0
  },
  payload: {
    workflow: Workflow.fromNodes({ "1": { class_type: "EmptyImage", inputs: { text: "x".repeat(2_000) } } }),
    options: { name },
    attachments: []
  },
  fingerprint: name
})

const say = (line: string) => Effect.sync(() => void writeSync(1, `${line}\n`))

/** Offers until somebody ends the process. */
const offerAll = Effect.gen(function*() {
  const queue = yield* JobQueue
  for (let round = 0;; round++) {
    const names = Array.from({ length: 8 }, (_, i) => `job-${round * 8 + i}`)
    yield* Effect.forEach(names, (name) => Effect.andThen(queue.offer(offerOf(name)), say(name)), {
      concurrency: "unbounded"
    })
  }
})

/** Claims what it is told of, and ends it, until all have ended, whoever did it. */
const claimAll = Effect.gen(function*() {
  const queue = yield* JobQueue
  const take = Effect.fnUntraced(function*(id: JobId) {
    const claim = yield* queue.claim(id, "1 minute")
    if (Option.isNone(claim)) return
    const { head, token } = claim.value
    yield* queue.settle(head.id, token, {
      _tag: "JobSucceeded",
      jobId: head.id,
      sequence: 1,
      at: 1,
      server: BackendId.make("gpu-1"),
      outputs: {},
      receipts: [],
      executions: { atLeast: 1, atMost: 1 }
    })
    yield* say(head.id)
  })
  yield* say("ready")
  // What the other one ends is announced to nobody: it is looked for.
  const looks = Stream.as(Stream.tick("100 millis"), [])
  yield* Stream.runForEachWhile(Stream.merge(queue.heads, looks), (changes) =>
    Effect.gen(function*() {
      const ids = changes.flatMap((change) => change._tag === "Ready" ? [change.head.id] : [])
      yield* Effect.forEach(ids, take, { concurrency: 64, discard: true })
      const { ended } = yield* queue.stats
      return ended < Number(jobs)
    }))
})

await Effect.runPromise(
  Effect.provide(mode === "offer" ? offerAll : claimAll, JobQueueSqliteNode.layerFile(file, { poll: "50 millis" }))
)
