// @effect-diagnostics asyncFunction:off
// What the durable queue does in a second where every commit waits for the disk: a dispatcher claims for 64 servers and
// settles what they ran (`sqlite-claims`), and for one server, each claim and ending a commit of its own (`sqlite-alone`).
// The reference is a bare loop of node:sqlite over the same tables and statements, as many a commit. The slower the disk,
// the nearer they are: 0.5 where it answers in 0.2 ms, 0.8 in 2 ms.
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { seeded } from "./support/graph.ts"

// Internal, and of another project: loaded by its address.
const tables = new URL("../src/internal/sqliteTables.ts", import.meta.url).href
const Tables: { readonly claim: string; readonly settle: string } = await import(tables)

interface Size {
  readonly servers: number
  readonly perRound: number
}

const rounds = 9
/** Those to warm up, too. */
const jobsOf = ({ perRound }: Size): number => (rounds + 3) * perRound

const endingOf = (jobId: string) => ({
  _tag: "JobSucceeded" as const,
  jobId: JobId.make(jobId),
  sequence: 0,
  at: 0,
  server: BackendId.make("gpu-1"),
  outputs: {},
  receipts: [],
  executions: { atLeast: 1, atMost: 1 }
})

const fill = (count: number) =>
  Effect.gen(function*() {
    const queue = yield* JobQueue
    const offer = (i: number) =>
      queue.offer({
        head: {
          id: JobId.make(`job-${i}`),
          priority: 0,
          tenant: "tenant",
          affinity: "a1:key",
          placement: "",
          cost: 5_000,
          notBefore: 0
        },
        payload: { workflow: seeded(i), options: null, attachments: [] },
        fingerprint: `${i}`
      })
    yield* Effect.forEach(Array.from({ length: count }, (_, i) => i), offer, { concurrency: 256, discard: true })
  })

/** Each server has its next job once its last one is settled. */
const drain = (next: () => string, { perRound, servers }: Size) =>
  Effect.gen(function*() {
    const queue = yield* JobQueue
    const one = Effect.gen(function*() {
      const id = JobId.make(next())
      const claim = yield* queue.claim(id, "1 minute")
      if (Option.isNone(claim)) return yield* Effect.die(new Error(`${id} was not there`))
      yield* queue.settle(id, claim.value.token, endingOf(id))
    })
    yield* Effect.forEach(Array.from({ length: perRound }), () => one, { concurrency: servers, discard: true })
    return perRound
  })

const bare = (file: string, next: () => string, { perRound, servers }: Size) => {
  const db = new DatabaseSync(file)
  db.exec("PRAGMA synchronous = FULL")
  const begin = db.prepare("BEGIN IMMEDIATE")
  const commit = db.prepare("COMMIT")
  const claim = db.prepare(Tables.claim)
  const settle = db.prepare(Tables.settle)
  const work = (): number => {
    for (let done = 0; done < perRound; done += servers) {
      begin.get()
      const held = Array.from({ length: servers }, () => {
        const row = claim.get(60_000, null, null, next(), null)
        if (row === undefined) throw new Error("nothing was claimed")
        return { id: String(row["id"]), token: Number(row["token"]), workflow: JSON.parse(String(row["workflow"])) }
      })
      commit.get()
      begin.get()
      for (const { id, token } of held) settle.get("succeeded", JSON.stringify(endingOf(id)), id, token)
      commit.get()
    }
    return perRound
  }
  return { work, close: () => db.close() }
}

const counter = () => {
  let i = 0
  return () => `job-${i++}`
}

const prepare = (size: Size) => async () => {
  const folder = mkdtempSync(join(tmpdir(), "comfy-queue-"))
  const open = async (file: string) => {
    const runtime = ManagedRuntime.make(JobQueueSqliteNode.layerFile(file))
    await runtime.runPromise(fill(jobsOf(size)))
    return runtime
  }
  const runtime = await open(join(folder, "ours.db"))
  await open(join(folder, "bare.db")).then((other) => other.dispose())
  const next = counter()
  const reference = bare(join(folder, "bare.db"), counter(), size)
  return {
    ours: () => runtime.runPromise(drain(next, size)),
    reference: reference.work,
    close: async () => {
      reference.close()
      await runtime.dispose()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const common = { noise: "wide", rounds, measure: "rate", unit: "jobs/s" } as const

export const cases = [
  {
    ...common,
    name: "sqlite-claims",
    goal: { minAbsolute: 3_000 },
    prepare: prepare({ servers: 64, perRound: 1_024 })
  },
  { ...common, name: "sqlite-alone", goal: { min: 0.4 }, prepare: prepare({ servers: 1, perRound: 128 }) }
]
