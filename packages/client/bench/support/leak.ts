// @effect-diagnostics asyncFunction:off newPromise:off
// Many runs of one client in a process of their own: `leak.ts SIDE URL WARM MORE`. Prints what the later runs left behind.
import { setTimeout as sleep } from "node:timers/promises"
import * as Ours from "./ours.ts"
import * as Raw from "./raw.ts"

const [side = "", url = "", warm = "0", more = "0"] = process.argv.slice(2)

const settled = async () => {
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.()
    await sleep(50)
  }
  return { heap: process.memoryUsage().heapUsed, rss: process.memoryUsage.rss() }
}

const runner = async (): Promise<(count: number) => Promise<void>> => {
  if (side === "ours") {
    const { client } = await Ours.connect(url)
    return (count) => Ours.runs(client, count)
  }
  const raw = await Raw.connect(url)
  return async (count) => {
    for (let i = 0; i < count; i++) await raw.run()
  }
}

const run = await runner()
await run(Number(warm))
const before = await settled()
await run(Number(more))
const after = await settled()
const left = { heap: after.heap - before.heap, rss: after.rss - before.rss }
process.stdout.write(`${JSON.stringify(left)}\n`, () => process.exit(0))
