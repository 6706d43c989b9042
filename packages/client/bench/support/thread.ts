// `thread.ts`: runs in one of their ways, in a thread. A thread loads modules for itself, so that the profiling package is in
// one and not in the other. Takes how many to run, answers when they have ended.
import { parentPort, workerData } from "node:worker_threads"
import * as Ours from "./ours.ts"
import { type Way, ways } from "./profiled.ts"

const { url, way }: { readonly url: string; readonly way: Way } = workerData
const runs = await ways[way]()
const { client } = await Ours.connect(url)
parentPort?.on("message", (count: number) => {
  void runs(client, count).then(() => parentPort?.postMessage(count, []))
})
parentPort?.postMessage(0, [])
