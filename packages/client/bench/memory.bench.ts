// @effect-diagnostics asyncFunction:off
// What idle clients and many runs leave in memory, against `ws` alone; each side in a process of its own.
import { serve, start } from "./support/spawn.ts"

const kib = 1024
const mb = 1_000_000

const figures = async (program: string, args: ReadonlyArray<string>): Promise<Readonly<Record<string, number>>> => {
  const { line } = await start(program, args, ["--expose-gc"])
  return JSON.parse(line)
}

/** One side, then the other, against a server of their own each. */
const both = async (mode: string, program: string, args: ReadonlyArray<string>) => {
  const one = async (side: string) => {
    const server = await serve(mode)
    const measured = await figures(program, [side, server.url, ...args])
    server.close()
    return measured
  }
  return { ours: await one("ours"), raw: await one("raw") }
}

const difference = (ours: number | undefined, raw: number | undefined): number =>
  (ours ?? Number.NaN) - (raw ?? Number.NaN)

const links = async (): Promise<number> => {
  const count = 1_000
  const { ours, raw } = await both("idle", "links.ts", [`${count}`])
  return difference(ours["bytes"], raw["bytes"]) / count / kib
}

const leakHeap = async (): Promise<number> => {
  const server = await serve("gap-0")
  const { heap } = await figures("leak.ts", ["ours", server.url, "2000", "20000"])
  server.close()
  return (heap ?? Number.NaN) / mb
}

const leakRss = async (): Promise<number> => {
  const { ours, raw } = await both("gap-0", "leak.ts", ["2000", "20000"])
  return difference(ours["rss"], raw["rss"]) / mb
}

const common = { noise: "wide", measure: "figure", rounds: 5 }

export const cases = [
  { name: "links", goal: { maxAbsolute: 36 }, unit: "KiB each over ws", ...common, figure: links },
  { name: "leak-heap", goal: { maxAbsolute: 1 }, unit: "MB", ...common, figure: leakHeap },
  { name: "leak-rss", goal: { maxAbsolute: 10 }, unit: "MB over raw", ...common, figure: leakRss }
]
