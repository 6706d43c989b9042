/** Rows 17 to 24: what happens to frames, clocks and event loops. */
import { Fault } from "@effect-comfyui/testing"
import * as BadFrames from "@effect-comfyui/testing/BadFrames"
import { inject, type Row, share } from "./Row.ts"

const foreign: ReadonlyArray<string> = [
  ...BadFrames.foreignRun("00000000-0000-4000-8000-ffffffffffff"),
  BadFrames.executingWithoutPrompt("1"),
  BadFrames.executingWithoutPrompt(null)
]

export const frames: ReadonlyArray<Row> = [
  {
    row: 17,
    name: "texts that are no messages",
    strike: inject(({ dial }) => [
      Fault.insertFrames(
        Fault.anyFrame,
        BadFrames.malformed.filter((frame) => typeof frame === "string"),
        dial % 2 === 0 ? "before" : "after",
        { probability: 0.5, times: 50 }
      )
    ])
  },
  {
    row: 17,
    name: "members are missing or of other types",
    strike: inject(({ dial }) => [
      Fault.omitField(Fault.event("progress", "progress_state", "executed"), ["data", "prompt_id"], {
        probability: 0.5
      }),
      Fault.setField(Fault.event("executing", "progress"), ["data", "node"], dial, { probability: 0.5 })
    ])
  },
  {
    row: 18,
    name: "bytes that are no messages",
    strike: inject(({ dial }) => [
      Fault.insertFrames(
        Fault.anyFrame,
        BadFrames.malformed.filter((frame) => typeof frame !== "string"),
        dial % 2 === 0 ? "before" : "after",
        { probability: 0.5, times: 50 }
      )
    ])
  },
  {
    row: 18,
    name: "frames are cut short",
    strike: inject(({ dial }) => [Fault.truncateFrames(Fault.anyFrame, dial, { probability: 0.3 })])
  },
  {
    row: 20,
    name: "every frame twice, and whole runs again",
    strike: inject(({ dial }) => [
      Fault.duplicateFrames(Fault.anyFrame, 1 + (dial % 3)),
      Fault.replayFrames(Fault.event("execution_success", "execution_error"))
    ])
  },
  {
    row: 21,
    name: "frames out of order",
    strike: inject(({ dial }) => [
      Fault.reorderFrames(Fault.anyFrame, { window: 2 + (dial % 7), withinMs: 50 + dial * 10 })
    ]),
    // TCP keeps the order: what is asked here is that the run ends once and rightly.
    permits: { outputsMayLack: true }
  },
  {
    row: 21,
    name: "frames are late",
    strike: inject((now) => [Fault.delayFrames(share(now, 10, 20_000))])
  },
  {
    row: 21,
    name: "frames that repeat what others say are lost",
    strike: inject((now) => [
      Fault.dropFrames(Fault.event("progress", "progress_state", "status"), { probability: share(now, 0.05, 0.95) })
    ])
  },
  {
    row: 21,
    name: "from some frame on all are lost",
    strike: inject(({ dial }) => [Fault.dropFrames(Fault.anyFrame, { skip: dial % 20 })])
  },
  {
    row: 22,
    name: "events of other people's prompts",
    strike: inject(() => [Fault.insertFrames(Fault.anyFrame, foreign, "after", { probability: 0.5, times: 100 })])
  },
  {
    row: 23,
    name: "the server's clock jumps by an hour",
    strike: inject(({ dial }) => [Fault.skewClock(dial % 2 === 0 ? 3_600_000 : -3_600_000)])
  },
  {
    row: 24,
    name: "the event loop stands still",
    strike: (server, now) => server.stall(Math.ceil(share(now, 1_000, 50_000))),
    permits: { toldWithinMs: 3 * 60_000 }
  }
]
