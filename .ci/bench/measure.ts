// Taking the samples of one case, in this process.
import { setImmediate as turn } from "node:timers/promises"
import type { Case, Compared, Sample, Work } from "./contract.ts"
import { median, rounds } from "./statistics.ts"

const cpu = async (work: Work): Promise<number> => {
  const before = process.cpuUsage()
  const units = await work()
  const { system, user } = process.cpuUsage(before)
  return (user + system) * 1000 / units
}

const rate = async (work: Work): Promise<number> => {
  const before = performance.now()
  const units = await work()
  return units * 1000 / (performance.now() - before)
}

const compared = async (one: Compared): Promise<ReadonlyArray<Sample>> => {
  const figure = one.measure === "cpu" ? cpu : rate
  const sides = await one.prepare()
  const samples: Array<Sample> = []
  const warmUp = 3
  try {
    for (let round = -warmUp; round < rounds(one); round++) {
      await turn()
      // The side that goes first changes every round.
      const first = round % 2 === 0 ? await figure(sides.ours) : undefined
      const reference = await figure(sides.reference)
      const ours = first ?? await figure(sides.ours)
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
