/** Compares what clients were told with what servers did, while it goes on: nothing is kept of a run that was judged. */
import type { FakeComfy } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import { judgeRun, type Permits } from "../fire/Judge.ts"
import type { Host } from "../fire/real/Host.ts"
import { gone } from "../fire/rows/Row.ts"
import type { Observed } from "../fire/World.ts"
import * as Tally from "./Tally.ts"

/** A run that is over, or counts as hung. */
export interface Ended {
  readonly run: Observed
  /** A process died while it was open, or was about to. */
  readonly wasKilled: boolean
  /** Frames came out of order meanwhile. */
  readonly wasShuffled: boolean
}

/** What is to be judged on one server. */
export interface Audit {
  /** Runs that are under way. */
  readonly open: Set<string>
  readonly end: (ended: Ended) => void
  /** Judges what has ended. */
  readonly look: Effect.Effect<void>
}

/** Nodes fail because they are made to; prompts are refused because somebody answers in the server's place. */
const ordinary: Permits = {
  nodeFailures: ["NodeFailed", "OutOfMemory", "GpuPoisoned", "DiskFull", "StorageFailed"],
  refusals: ["Unreachable", "RateLimited", "SubmitAmbiguous"],
  toldWithinMs: Number.POSITIVE_INFINITY
}

const died: Permits = { ...ordinary, reasons: gone, unknowable: true }

/** A server whose worker is dead knows prompts that never end. */
const stuck = (record: FakeComfy.Ledger["prompts"][number] | undefined): Permits =>
  record !== undefined && record.outcome !== "success" && record.outcome !== "error"
    ? { ...ordinary, reasons: ["WorkerStuck"] }
    : ordinary

/** The server of `host`, called `name`. */
export const make = (host: Pick<Host, "ledger" | "forget">, name: string, tally: Tally.Tally): Audit => {
  const open = new Set<string>()
  let waiting: Array<Ended> = []
  /** Runs that were judged as never taken: nothing of them may run afterwards. */
  const absent = new Set<string>()
  const complain = (about: "hung" | "doubled" | "untrue", text: string): void => {
    if (about === "hung") tally.hung++
    else if (about === "doubled") tally.doubled++
    else tally.lost++
    Tally.keep(tally.complaints, text)
  }

  const judge = ({ run, wasKilled, wasShuffled }: Ended, ledger: FakeComfy.Ledger): void => {
    const record = ledger.prompts.find(({ promptId }) => promptId === run.runId)
    const permits = { ...wasKilled ? died : stuck(record), outputsMayLack: wasShuffled }
    const last = run.seen.events.at(-1)
    const told = last?._tag === "Failed" ? `; told after ${Math.round(last.elapsed)} ms: ${last.error.message}` : ""
    for (const { about, text } of judgeRun(run, ledger, permits)) complain(about, `${name} ${text}${told}`)
    tally.runs++
    tally.executions += ledger.nodes.filter(({ promptId }) => promptId === run.runId).length
    const ending = run.wasLeft ? "left by its consumer" : Tally.nameOf(last)
    Tally.count(tally.endings, ending)
    const isOpen = record === undefined ? ending !== "Failed(Unreachable)" : record.outcome === undefined
    if (wasKilled && isOpen) tally.unknowable++
    // Of a dead process nobody can say whether it knew.
    if (record === undefined && !wasKilled && !run.wasLeft) absent.add(run.runId)
  }

  const risen = (now: FakeComfy.Ledger): void => {
    for (const { promptId } of now.prompts) {
      if (absent.delete(promptId)) complain("untrue", `${name} ${promptId} was taken after all`)
    }
  }

  const look = Effect.gen(function*() {
    // First these, then the ledger: what it says of them is final.
    const now = waiting
    waiting = []
    const ledger = yield* host.ledger
    risen(ledger)
    for (const ended of now) judge(ended, ledger)
    host.forget((promptId) => open.has(promptId) || waiting.some(({ run }) => run.runId === promptId))
  })

  return {
    open,
    end: (ended) => {
      open.delete(ended.run.runId)
      waiting.push(ended)
    },
    look
  }
}
