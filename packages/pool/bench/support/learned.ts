// @effect-diagnostics asyncFunction:off newPromise:off globalTimers:off
// What a pool keeps of what its servers can run, in a process of its own: `learned.ts PORTS`. Prints how many megabytes
// its memory has grown by, when all is read and what reading left behind was collected.
import { setTimeout as sleep } from "node:timers/promises"
import { connect } from "./pooled.ts"

const [ports = "[]"] = process.argv.slice(2)
const numbers: ReadonlyArray<number> = JSON.parse(ports)

const collected = async (): Promise<number> => {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.()
    await sleep(300)
  }
  return process.memoryUsage.rss()
}

process.stdin.on("end", () => process.exit(0)).resume()
// Everything that has to be loaded, and one server, are there before.
const first = await connect([])
const before = await collected()
let peak = before
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss())
}, 20)
const { pool } = await connect(numbers.map((port) => `http://127.0.0.1:${port}`), { socket: "none" })
clearInterval(watch)
const after = await collected()
const figures = {
  kept: (after - before) / 1e6,
  peak: (peak - before) / 1e6,
  alive: pool !== undefined && first !== undefined
}
process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit(0))
