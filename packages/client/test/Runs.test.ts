import * as Run from "@effect-comfyui/client/Run"
import * as RunEntry from "@effect-comfyui/client/RunEntry"
import * as Runs from "@effect-comfyui/client/Runs"
import * as RunState from "@effect-comfyui/client/RunState"
import * as RunWatch from "@effect-comfyui/client/RunWatch"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import { assert, describe, it } from "@effect/vitest"

const first = RunId.make("00000000-0000-4000-8000-00000000000a")
const second = RunId.make("00000000-0000-4000-8000-00000000000b")
const time = { now: 0, at: 0 }

const open = (runs: Runs.Runs, runId: RunId) => {
  const subject = { runId, backend: BackendId.make("gpu-1"), classTypeOf: () => null }
  const entry = RunEntry.make(RunState.make(subject, "unsent", time, RunWatch.defaults), "cancel")
  Runs.add(runs, entry)
  RunEntry.publish(entry, Run.step(entry.state, { _tag: "Posting", whole: true, seeds: [] }, time))
  RunEntry.publish(
    entry,
    Run.step(entry.state, { _tag: "Accepted", promptId: runId, number: 0, warnings: [] }, time)
  )
  return entry
}

const frames = (...texts: ReadonlyArray<{ readonly type: string; readonly data: object }>) =>
  texts.flatMap((text) => ServerMessage.decodeBatch([JSON.stringify(text)]))

const start = (id: string | undefined) => ({ type: "execution_start", data: { prompt_id: id, timestamp: 1 } })
const executing = (id: string | undefined, node: string) => ({ type: "executing", data: { prompt_id: id, node } })

const told = (entry: RunEntry.RunEntry) =>
  entry.log.kept.flatMap((event) => event._tag === "NodeStarted" ? [event.nodeId] : [event._tag])

describe("frames find their run", () => {
  it("interleaved in one batch, in order for each", () => {
    const runs = Runs.make()
    const [a, b] = [open(runs, first), open(runs, second)]
    const rest = Runs.dispatch(
      runs,
      frames(
        start(first),
        executing(first, "1"),
        start(second),
        executing(first, "2"),
        executing("00000000-0000-4000-8000-0000000000ff", "9"),
        executing(second, "3"),
        { type: "crystools.monitor", data: {} }
      ),
      true,
      time
    )
    assert.deepStrictEqual(told(a), ["Submitted", "Started", "1", "NodeFinished", "2"])
    assert.deepStrictEqual(told(b), ["Submitted", "Started", "3"])
    assert.deepStrictEqual(rest.messages.map((message) => message._tag), ["Extension"])
  })

  it("without a name only where one run alone can be meant", () => {
    const runs = Runs.make()
    const a = open(runs, first)
    Runs.dispatch(runs, frames(start(first), executing(undefined, "1")), true, time)
    assert.deepStrictEqual(told(a), ["Submitted", "Started", "1"])
    const b = open(runs, second)
    Runs.dispatch(runs, frames(start(second), executing(undefined, "2")), true, time)
    assert.deepStrictEqual(told(a), ["Submitted", "Started", "1"])
    assert.deepStrictEqual(told(b), ["Submitted", "Started"])
  })

  it("of a prompt given up are a sign to cancel it, once", () => {
    const runs = Runs.make()
    const entry = open(runs, first)
    Runs.remove(runs, entry, true, time)
    assert.isTrue(Runs.isTaken(runs, entry.state.subject.runId))
    const risen = () => Runs.dispatch(runs, frames(start(first)), true, time).risen
    assert.deepStrictEqual(risen(), [first])
    assert.deepStrictEqual(risen(), [])
  })

  it("early ones are kept for a run whose server names it otherwise", () => {
    const runs = Runs.make()
    const subject = { runId: first, backend: BackendId.make("gpu-1"), classTypeOf: () => null }
    const entry = RunEntry.make(RunState.make(subject, "unsent", time, RunWatch.defaults), "cancel")
    Runs.add(runs, entry)
    RunEntry.publish(entry, Run.step(entry.state, { _tag: "Posting", whole: true, seeds: [] }, time))
    Runs.dispatch(runs, frames(start("theirs"), executing("theirs", "1")), true, time)
    Runs.rename(runs, entry, "theirs", time)
    RunEntry.publish(
      entry,
      Run.step(entry.state, { _tag: "Accepted", promptId: "theirs", number: 0, warnings: [] }, time)
    )
    Runs.dispatch(runs, frames(executing("theirs", "2")), true, time)
    assert.deepStrictEqual(told(entry), ["Submitted", "Started", "1", "NodeFinished", "2"])
  })
})
