// @effect-diagnostics asyncFunction:off
// What 100,000 waiting jobs hold, which are one graph with a seed of their own each.
import { measured } from "./support/start.ts"

const jobs = 100_000
const rounds = 3

/** Every round is a process of its own; the figure hardly differs between them. The reference is the text of one job. */
const samples = async () => {
  const all = []
  for (let round = 0; round < rounds; round++) {
    const { bytes, text }: { readonly bytes: number; readonly text: number } = JSON.parse(
      await measured("queued.ts", [`${jobs}`])
    )
    all.push({ ours: bytes / 1024, reference: text / 1024, ratio: bytes / text })
  }
  return all
}

export const cases = [
  { name: "memory-100k", goal: { maxAbsolute: 1.5 }, noise: "wide", measure: "samples", unit: "KB/job", samples }
]
