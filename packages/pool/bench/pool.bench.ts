// @effect-diagnostics asyncFunction:off newPromise:off
// A pool over eight servers against programs that post and listen by themselves: whole jobs, and one job's way to its
// server.
import type * as Pool from "@effect-comfyui/pool/Pool"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import { ok } from "node:assert"
import { randomUUID } from "node:crypto"
import { Agent, request } from "undici"
import { graph, seeded } from "./support/graph.ts"
import { connect, runAll } from "./support/pooled.ts"
import { connectRaw, type Raw, serve } from "./support/start.ts"

const servers = 8

/** Each job has a seed of its own, as real ones have. A job that hangs fails the bench. */
const jobs = (gapMs: number) => async () => {
  const count = 1_000
  const { close: stop, urls } = await serve(servers, gapMs)
  const { close, pool } = await connect(urls)
  const raws: Array<Raw> = []
  for (const url of urls) raws.push(await connectRaw(url))
  let seed = 0
  const workflow = () => Workflow.fromNodes({ "12": { class_type: "Bench", inputs: { seed: ++seed } } })
  return {
    ours: async () => {
      await runAll(pool, Array.from({ length: count }, workflow))
      return count
    },
    reference: async () => {
      let left = count
      await Promise.all(raws.map(async (raw) => {
        while (left-- > 0) await raw.run()
      }))
      return count
    },
    close: async () => {
      await close()
      for (const raw of raws) raw.close()
      stop()
    }
  }
}

interface Seen {
  /** Nanoseconds of the clock that all processes share. */
  readonly seen: ReadonlyArray<string>
  readonly last: string
}

const p95 = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.95)] ?? Number.NaN

/** Milliseconds from `before` until the server had the head of each POST. */
const waits = (before: ReadonlyArray<bigint>, { seen }: Seen): ReadonlyArray<number> => {
  ok(seen.length === before.length)
  return before.map((at, i) => Number(BigInt(seen[i] ?? Number.NaN) - at) / 1e6)
}

/**
 * What a job takes from `submit` until its server sees the POST, by that process's own clock, beyond what a bare POST of
 * the same text takes. One at a time: every job finds all servers idle.
 */
const dispatch = async () => {
  const count = 300
  const rounds = 5
  const { close: stop, urls } = await serve(servers, 0)
  const { close, pool } = await connect(urls)
  const dispatcher = new Agent({ pipelining: 1 })
  const get = async (): Promise<Seen> => {
    const { body } = await request(`${urls[0]}/bench/seen`)
    const text = await body.text()
    return JSON.parse(text)
  }
  const ours = async (job: Workflow.Workflow): Promise<bigint> => {
    const at = process.hrtime.bigint()
    await Effect.runPromise(Effect.flatMap(pool.submit(job), (job: Pool.PoolJob) => job.result))
    return at
  }
  const bare = async (url: string, text: string): Promise<bigint> => {
    const at = process.hrtime.bigint()
    const { body } = await request(`${url}/prompt`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: text,
      dispatcher
    })
    await body.json()
    return at
  }
  const samples = []
  for (let round = -1; round < rounds; round++) {
    const one = []
    const other = []
    await ours(graph)
    // Nobody listens under this name: the server answers and does nothing.
    const text = (await get()).last.replace(/"client_id":\s*"[^"]+"/, `"client_id": "${randomUUID()}"`)
    ok(text.length > 20_000)
    for (let i = 0; i < count; i++) one.push(await ours(seeded(round * count + i)))
    const mine = p95(waits(one, await get()))
    for (let i = 0; i < count; i++) other.push(await bare(urls[i % servers] ?? "", text))
    const reference = p95(waits(other, await get()))
    if (round >= 0) samples.push({ ours: mine - reference, reference, ratio: mine / reference })
  }
  await close()
  await dispatcher.destroy()
  stop()
  return samples
}

const common = { goal: { min: 0.9 }, noise: "wide", measure: "rate", unit: "jobs/s" }

export const cases = [
  { name: "pool-gap-0", ...common, rounds: 15, prepare: jobs(0) },
  { name: "pool-gap-2", ...common, rounds: 15, prepare: jobs(2) },
  { name: "pool-gap-20", ...common, rounds: 7, prepare: jobs(20) },
  {
    name: "dispatch",
    goal: { maxAbsolute: 2 },
    noise: "wide",
    measure: "samples",
    unit: "ms more",
    samples: dispatch
  }
]
