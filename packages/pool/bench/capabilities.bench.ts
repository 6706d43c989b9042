// @effect-diagnostics asyncFunction:off
// What a pool keeps of sixty servers that have three sets of node packs between them, each 20 MB as `/object_info`.
import { ok } from "node:assert"
import { measured, started } from "./support/start.ts"

const samples = async () => {
  const { close, ports } = await started("packs.ts", ["60", "3", "20"])
  const line = await measured("learned.ts", [JSON.stringify(ports)])
  close()
  const { alive, kept, peak }: { readonly alive: boolean; readonly kept: number; readonly peak: number } = JSON.parse(
    line
  )
  ok(alive)
  return [{ ours: kept, reference: peak, ratio: kept / peak }]
}

export const cases = [
  {
    name: "capabilities-60",
    goal: { maxAbsolute: 100 },
    noise: "wide",
    measure: "samples",
    unit: "MB kept (peak)",
    samples
  }
]
