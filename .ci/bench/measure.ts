// Taking the samples of one case, in this process.
import { setImmediate as turn } from "node:timers/promises"
import type { Case, Compared, Sample, Work } from "./contract.ts"
import { median, rounds } from "./statistics.ts"

/** Units that were done, and what they took. */
interface Spent {
  readonly units: number
  readonly took: number
}

/** Nanoseconds of CPU time. */
const cpu = async (work: Work): Promise<Spent> => {
  const before = process.cpuUsage()
  const units = await work()
  const { system, user } = process.cpuUsage(before)
  return { units, took: (user + system) * 1000 }
}

/** Seconds by the clock. */
const rate = async (work: Work): Promise<Spent> => {
  const before = performance.now()
  const units = await work()
  return { units, took: (performance.now() - before) / 1000 }
}

const add = (one: Spent, other: Spent): Spent => ({ units: one.units + other.units, took: one.took + other.took })

const nothing: Spent = { units: 0, took: 0 }

const compared = async (one: Compared): Promise<ReadonlyArray<Sample>> => {
  const spend = one.measure === "cpu" ? cpu : rate
  const figure = ({ took, units }: Spent) => one.measure === "cpu" ? took / units : units / took
  const sides = await one.prepare()
  const samples: Array<Sample> = []
  const warmUp = 3
  const { turns = 1 } = one
  let oursIsFirst = false
  try {
    for (let round = -warmUp; round < rounds(one); round++) {
      await turn()
      const sums = { ours: nothing, reference: nothing }
      for (let i = 0; i < turns; i++) {
        // The side that goes first changes every time.
        oursIsFirst = !oursIsFirst
        for (const side of oursIsFirst ? ["ours", "reference"] as const : ["reference", "ours"] as const) {
          sums[side] = add(sums[side], await spend(sides[side]))
        }
      }
      const [ours, reference] = [figure(sums.ours), figure(sums.reference)]
      if (round >= 0) samples.push({ ours, reference, ratio: ours / reference })
    }
  } finally {
    await sides.close?.()
  }
  return samples
}

const frame = `{"type": "progress", "data": {"value": 7, "prompt_id": "${"0".repeat(36)}", "node": "123"}}`

/** The nanoseconds of one JSON.parse of a fixed frame of 110 bytes: how fast this machine is. */
export const jsonParse = (): number => {
  const count = 20_000
  const times = Array.from({ length: 11 }, () => {
    const start = performance.now()
    let parsed = 0
    for (let i = 0; i < count; i++) if (JSON.parse(frame) !== null) parsed++
    return (performance.now() - start) * 1e6 / parsed
  })
  return median(times)
}

const single = async (one: Case & { readonly measure: "figure" }): Promise<ReadonlyArray<Sample>> => {
  const reference = jsonParse()
  const samples: Array<Sample> = []
  for (let round = 0; round < rounds(one); round++) {
    const ours = await one.figure()
    samples.push({ ours, reference, ratio: ours / reference })
  }
  return samples
}

export const measure = (one: Case): Promise<ReadonlyArray<Sample>> | ReadonlyArray<Sample> =>
  one.measure === "samples" ? one.samples() : one.measure === "figure" ? single(one) : compared(one)
