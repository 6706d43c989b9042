// @effect-diagnostics asyncFunction:off newPromise:off
// Frames from the socket to typed events, against `ws` and JSON.parse.
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { ok } from "node:assert"
import * as Ours from "./support/ours.ts"
import * as Raw from "./support/raw.ts"
import { serve } from "./support/spawn.ts"

interface Tally {
  count: number
  sum: number
}

const connect = async (mode: string) => {
  const server = await serve(mode)
  const [ours, raw] = [await Ours.connect(server.url), await Raw.connect(server.url)]
  return {
    ours,
    raw,
    close: async () => {
      await ours.close()
      raw.close()
      server.close()
    }
  }
}

/** What a subscriber makes of progress: a number that is right only if it got every event. */
const frames = (subscribers: number) => async () => {
  const count = 200_000
  const { close, ours, raw } = await connect("frames")
  const check = ({ count: seen, sum }: Tally): void => ok(seen === count && sum === count * (count + 1) / 2)
  return {
    ours: async () => {
      const tallies = Array.from({ length: subscribers }, (): Tally => ({ count: 0, sum: 0 }))
      await Ours.watched(ours.client, subscribers, (events, index) => {
        const tally = tallies[index]
        if (tally === undefined) return
        for (const event of events) {
          if (event._tag !== "NodeProgress") continue
          tally.count++
          tally.sum += event.value
        }
      })
      tallies.forEach(check)
      return count
    },
    reference: async () => {
      const tally: Tally = { count: 0, sum: 0 }
      await raw.run((message) => {
        if (message.type !== "progress") return
        tally.count++
        tally.sum += Number(message.data["value"])
      })
      check(tally)
      return count
    },
    close
  }
}

/** Frames of `progress_state`, each of which repeats the whole graph so far. */
const states = (mode: string, count: number) => async () => {
  const { close, ours, raw } = await connect(mode)
  return {
    ours: async () => {
      let last = ""
      await Ours.watched(ours.client, 1, (events) => {
        for (const event of events) if (event._tag === "NodeStarted") last = event.nodeId
      })
      ok(last === "1000")
      return count
    },
    reference: async () => {
      let size = 0
      await raw.run((message) => {
        if (message.type === "progress_state") size = Object.keys(message.data["nodes"] ?? {}).length
      })
      ok(size === 1_000)
      return count
    },
    close
  }
}

const megabytes = (count: number): number => (count * 65_536) / 1_000_000

const previews = async () => {
  const count = 2_000
  const { close, ours, raw } = await connect("previews")
  const isWhole = (event: ExecutionEvent): boolean => event._tag === "Preview" && event.image.byteLength === 65_536
  return {
    ours: async () => {
      let seen = 0
      await Ours.watched(ours.client, 1, (events) => {
        for (const event of events) if (isWhole(event)) seen++
      })
      ok(seen === count)
      return megabytes(count)
    },
    reference: async () => {
      let seen = 0
      await raw.run((message) => {
        const { image } = message.data
        if (image instanceof Uint8Array && image.byteLength === 65_536) seen++
      })
      ok(seen === count)
      return megabytes(count)
    },
    close
  }
}

export const cases = [
  { name: "frames", goal: { max: 1.15 }, noise: "close", measure: "cpu", unit: "ns/frame", prepare: frames(4) },
  { name: "frames-1", goal: { max: 1.05 }, noise: "close", measure: "cpu", unit: "ns/frame", prepare: frames(1) },
  {
    name: "progress-state",
    goal: { max: 0.3 },
    noise: "wide",
    measure: "cpu",
    unit: "ns/frame",
    prepare: states("states", 1_000)
  },
  {
    name: "progress-state-paced",
    goal: { max: 1.05 },
    noise: "close",
    measure: "cpu",
    unit: "ns/frame",
    prepare: states("states-paced", 200)
  },
  { name: "previews", goal: { min: 0.95 }, noise: "close", measure: "rate", unit: "MB/s", prepare: previews }
]
