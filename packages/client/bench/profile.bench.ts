// @effect-diagnostics asyncFunction:off
// What profiling costs whole runs, one after another against a server that answers at once.
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import * as Ours from "./support/ours.ts"
import { type Way, ways } from "./support/profiled.ts"
import { serve } from "./support/spawn.ts"

const threads = 4
const count = 100

const thread = async (url: string, way: Way): Promise<Worker> => {
  const worker = new Worker(new URL("./support/thread.ts", import.meta.url), { workerData: { url, way } })
  await once(worker, "message")
  return worker
}

/** One thread after the other. */
const inThreads = async (url: string, way: Way) => {
  const workers = await Promise.all(Array.from({ length: threads }, () => thread(url, way)))
  let next = 0
  return {
    work: async () => {
      const worker = workers[next++ % threads]
      if (worker === undefined) return 0
      worker.postMessage(count, [])
      await once(worker, "message")
      return count
    },
    close: () => Promise.all(workers.map((worker) => worker.terminate()))
  }
}

/** This thread, which has the profiling package for both sides. */
const here = async (url: string, way: Way) => {
  const { client, close } = await Ours.connect(url)
  const runs = await ways[way]()
  return { work: () => runs(client, count).then(() => count), close }
}

const beside = (side: typeof here | typeof inThreads, ours: Way, reference: Way) => async () => {
  const server = await serve("gap-0")
  const [one, other] = [await side(server.url, ours), await side(server.url, reference)]
  return {
    ours: one.work,
    reference: other.work,
    close: async () => {
      await one.close()
      await other.close()
      server.close()
    }
  }
}

const common = { measure: "rate", turns: 3 * threads, unit: "runs/s" }

export const cases = [
  // Each side has threads, and so modules, heaps and compiled code of its own; several, because two threads that do the
  // same may differ by a few per cent for as long as they live.
  {
    name: "profile-off",
    goal: { min: 0.97 },
    ...common,
    noise: "close",
    prepare: beside(inThreads, "linked", "result")
  },
  // For who watches runs anyway: what the profile adds.
  { name: "profile-on", goal: { min: 0.95 }, ...common, noise: "close", prepare: beside(here, "profile", "events") },
  // For who wants results only: most of it is that somebody listens to the events.
  {
    name: "profile-on-result",
    goal: { min: 0 },
    ...common,
    noise: "wide",
    rounds: 30,
    prepare: beside(here, "profile", "result")
  }
]
