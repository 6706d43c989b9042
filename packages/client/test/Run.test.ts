import * as Run from "@effect-comfyui/client/Run"
import type { Answer, Outcome } from "@effect-comfyui/client/RunAnswer"
import * as RunState from "@effect-comfyui/client/RunState"
import * as RunWatch from "@effect-comfyui/client/RunWatch"
import { type ExecutionEvent, isEnding, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const runId = RunId.make("0b5c5f1e-6f0a-4d0e-9c39-0d4f5d9c1f11")
const subject: RunState.Subject = { runId, backend: BackendId.make("gpu-1"), classTypeOf: () => null }

const frame = (type: string, data: object): string => JSON.stringify({ type, data: { prompt_id: runId, ...data } })

const images = { images: [{ filename: "a.png", subfolder: "", type: "output" }] }

const state = (node: string, at: string, value: number) => ({
  [node]: { value, max: 3, state: at, node_id: node, prompt_id: runId, display_node_id: node, parent_node_id: null }
})

const opening = [
  frame("execution_start", { timestamp: 1 }),
  frame("execution_cached", { nodes: ["0"], timestamp: 2 }),
  frame("progress_state", { nodes: state("1", "running", 0) }),
  frame("executing", { node: "1", display_node: "1" }),
  frame("progress", { node: "1", value: 1, max: 3 }),
  frame("progress_state", { nodes: { ...state("1", "finished", 3), ...state("2", "running", 0) } }),
  frame("executing", { node: "2", display_node: "2" })
]
const drained = frame("executing", { node: null })

interface Truth {
  readonly outcome: Outcome
  readonly frames: ReadonlyArray<ServerMessage.ServerMessage>
}

const decode = (frames: ReadonlyArray<string>) => frames.flatMap((one) => ServerMessage.decodeBatch([one]))

const error = { node_id: "2", node_type: "X", exception_type: "ValueError", exception_message: "no", traceback: [] }

const truths: ReadonlyArray<Truth> = [
  {
    outcome: { _tag: "Success", outputs: Outputs.fromRecords({ "2": images }) },
    frames: decode([
      ...opening,
      frame("executed", { node: "2", display_node: "2", output: images }),
      frame("progress_state", { nodes: { ...state("1", "finished", 3), ...state("2", "finished", 1) } }),
      frame("execution_success", { timestamp: 3 }),
      drained
    ])
  },
  {
    outcome: {
      _tag: "Error",
      reason: {
        _tag: "NodeFailed",
        nodeId: "2",
        classType: "X",
        exceptionType: "ValueError",
        message: "no",
        traceback: []
      }
    },
    frames: decode([...opening, frame("execution_error", { ...error, executed: ["1"] }), drained])
  },
  {
    outcome: { _tag: "Interrupted" },
    frames: decode([
      ...opening,
      frame("execution_interrupted", { node_id: "2", node_type: "X", executed: ["1"] }),
      drained
    ])
  }
]

/** A machine with everything that it has said, and laws that hold after every step. */
class Machine {
  readonly state: RunState.State
  readonly events: Array<ExecutionEvent> = []
  now = 0

  constructor() {
    this.state = RunState.make(subject, "unsent", this.time(), RunWatch.defaults)
  }

  time() {
    return { now: this.now, at: 1_000_000 + this.now }
  }

  give(input: Run.Input): void {
    const before = this.state.phase
    const said = Run.step(this.state, input, this.time())
    if (before === "ended") assert.deepStrictEqual(said, [], "nothing is said after the end")
    this.events.push(...said)
  }

  post(whole: boolean): void {
    this.give({ _tag: "Posting", whole, seeds: [] })
  }

  accept(): void {
    this.give({ _tag: "Accepted", promptId: runId, number: 0, warnings: [] })
  }

  /** Does what the driver does, with a server that tells the truth, until the run has ended. */
  settle(answer: () => Answer): void {
    for (let turn = 0; this.state.phase !== "ended"; turn++) {
      assert.isBelow(turn, 1_000, "it comes to an end")
      const agenda = RunWatch.agenda(this.state.watch)
      this.now = Math.max(this.now, agenda.at)
      this.give(agenda.ask ? { _tag: "Asked", answer: answer() } : { _tag: "Tick" })
    }
  }

  check(): void {
    const lifecycle = this.events.filter((event) => !isTransient(event))
    assert.deepStrictEqual(lifecycle.map((event) => event.sequence), lifecycle.map((_, index) => index))
    const endings = this.events.filter(isEnding)
    assert.strictEqual(endings.length, 1)
    assert.strictEqual(this.events.at(-1), endings[0])
    assert.isAtMost(this.events.filter((event) => event._tag === "Submitted").length, 1)
    assert.isAtMost(this.events.filter((event) => event._tag === "Started").length, 1)
    let last = -1
    for (const event of this.events) {
      if (isTransient(event)) assert.strictEqual(event.sequence, last)
      else last = event.sequence
      assert.isAtLeast(event.elapsed, 0)
    }
  }
}

const tagOf = ({ outcome }: Truth): string =>
  outcome._tag === "Success" ? "Completed" : outcome._tag === "Error" ? "Failed" : "Cancelled"

const endsAs = (machine: Machine, truth: Truth): void => {
  const { ending } = machine.state
  assert.strictEqual(ending?._tag, tagOf(truth))
  if (ending?._tag === "Completed" && truth.outcome._tag === "Success") {
    assert.deepStrictEqual(ending.outputs, truth.outcome.outputs)
  }
  if (ending?._tag === "Failed" && truth.outcome._tag === "Error") {
    assert.deepStrictEqual(ending.error.reason, truth.outcome.reason)
  }
}

const aTruth = fc.constantFrom(...truths)

const anAnswer: fc.Arbitrary<Answer> = fc.oneof(
  aTruth.map((truth): Answer => ({ _tag: "Finished", outcome: truth.outcome })),
  fc.constantFrom<Answer>(
    { _tag: "Running" },
    { _tag: "Waiting", ahead: 1, serverIdle: false, behind: "other" },
    { _tag: "Waiting", ahead: 0, serverIdle: true, behind: null },
    { _tag: "Unknown", authoritative: true },
    { _tag: "Unknown", authoritative: false },
    { _tag: "NoAnswer", reason: { _tag: "Unreachable", by: "network", status: null, cause: "x" } }
  )
)

const anInput: fc.Arbitrary<Run.Input> = fc.oneof(
  {
    weight: 6,
    arbitrary: aTruth.chain((truth) => fc.subarray([...truth.frames], { minLength: 1 })).map(
      (messages): Run.Input => ({ _tag: "Frames", messages })
    )
  },
  {
    weight: 3,
    arbitrary: aTruth.chain((truth) => fc.shuffledSubarray([...truth.frames], { minLength: 1 })).map(
      (messages): Run.Input => ({ _tag: "Frames", messages: [...messages, ...messages] })
    )
  },
  { weight: 4, arbitrary: anAnswer.map((answer): Run.Input => ({ _tag: "Asked", answer })) },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Run.Input>(
      { _tag: "LinkLost" },
      { _tag: "Tick" },
      { _tag: "CancelAsked" },
      {
        _tag: "Doubted",
        doubt: { by: "proxy", ifAbsent: { _tag: "Unreachable", by: "proxy", status: 504, cause: "x" } }
      },
      { _tag: "Posting", whole: true, seeds: [] },
      { _tag: "Accepted", promptId: runId, number: 1, warnings: [] }
    )
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Run.Input>(
      { _tag: "Closed" },
      { _tag: "Removed", via: "http" },
      { _tag: "Refused", via: "http", reason: { _tag: "DuplicateRun" } }
    )
  }
)

describe("the machine of a run", () => {
  it("ends exactly once and counts without holes, whatever it is told in whatever order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anInput, fc.nat(20_000)), { maxLength: 40 }),
        aTruth,
        (inputs, truth) => {
          const machine = new Machine()
          machine.post(true)
          for (const [input, wait] of inputs) {
            machine.now += wait
            machine.give(input)
          }
          if (machine.state.phase === "posting") machine.accept()
          machine.settle(() => ({ _tag: "Finished", outcome: truth.outcome }))
          machine.check()
          for (const [input] of inputs) machine.give(input)
          assert.isTrue(machine.events.length > 0)
        }
      ),
      { numRuns: 1_000 }
    )
  })

  it("tells the truth however the connection breaks, and announces each loss", () => {
    fc.assert(
      fc.property(
        aTruth,
        fc.boolean(),
        fc.array(fc.record({ length: fc.nat(5), lost: fc.boolean(), missed: fc.nat(3) }), { maxLength: 6 }),
        fc.nat(8),
        (truth, whole, stretches, early) => {
          const machine = new Machine()
          machine.post(whole)
          let at = 0
          let losses = 0
          const take = (count: number) => {
            const messages = truth.frames.slice(at, at + count)
            at += messages.length
            machine.now += 10
            if (messages.length > 0) machine.give({ _tag: "Frames", messages })
          }
          // Some come before the answer to the POST.
          if (whole) take(early)
          machine.accept()
          for (const stretch of stretches) {
            take(stretch.length)
            if (!stretch.lost || machine.state.phase === "ended") continue
            machine.give({ _tag: "LinkLost" })
            if (whole || stretch.length > 0) losses++
            at += stretch.missed
          }
          machine.settle(() =>
            at < truth.frames.length - 1 && machine.now < 60_000
              ? { _tag: "Running" }
              : { _tag: "Finished", outcome: truth.outcome }
          )
          machine.check()
          endsAs(machine, truth)
          const gaps = machine.events.filter((event) => event._tag === "Gap").length
          if (!whole || losses > 0) assert.isAbove(gaps, 0)
          assert.isTrue(gaps === 0 || machine.state.ending?.via === "http")
        }
      ),
      { numRuns: 1_000 }
    )
  })

  it("a whole connection needs no question", () => {
    for (const truth of truths) {
      const machine = new Machine()
      machine.post(true)
      machine.accept()
      machine.give({ _tag: "Frames", messages: truth.frames })
      machine.check()
      endsAs(machine, truth)
      assert.strictEqual(machine.state.ending?.via, "socket")
    }
  })

  it("a success with a node that never ended is asked for: its outputs may be missing", () => {
    const [success] = truths
    assert.isDefined(success)
    const machine = new Machine()
    machine.post(true)
    machine.accept()
    machine.give({
      _tag: "Frames",
      messages: success.frames.filter((message) =>
        message._tag !== "Executed" && !(message._tag === "ProgressState" && message.nodes["2"]?.state === "finished")
      )
    })
    machine.settle(() => ({ _tag: "Finished", outcome: success.outcome }))
    machine.check()
    endsAs(machine, success)
    assert.deepStrictEqual(machine.events.slice(-2).map((event) => event._tag), ["Gap", "Completed"])
  })

  it("a frame that nobody can read makes the connection doubtful: HTTP says how it ends, after one Gap", () => {
    for (const truth of truths) {
      const machine = new Machine()
      machine.post(true)
      machine.accept()
      machine.give({ _tag: "Frames", messages: truth.frames.slice(0, 3) })
      machine.give({ _tag: "Doubtful" })
      machine.give({ _tag: "Doubtful" })
      machine.give({ _tag: "Frames", messages: truth.frames.slice(3) })
      machine.settle(() => ({ _tag: "Finished", outcome: truth.outcome }))
      machine.check()
      endsAs(machine, truth)
      assert.strictEqual(machine.state.ending?.via, "http")
      assert.strictEqual(machine.events.filter((event) => event._tag === "Gap").length, 1)
    }
  })

  it("an ending that no frame told, on a connection that seemed whole, comes after a Gap", () => {
    for (const truth of truths) {
      const machine = new Machine()
      machine.post(true)
      machine.accept()
      machine.settle(() => ({ _tag: "Finished", outcome: truth.outcome }))
      machine.check()
      endsAs(machine, truth)
      assert.deepStrictEqual(machine.events.map((event) => event._tag).slice(0, 2), ["Submitted", "Gap"])
    }
  })

  it("what a new connection says without a name may be about another run: silence is counted from there", () => {
    const machine = new Machine()
    machine.post(true)
    machine.accept()
    machine.give({ _tag: "LinkLost" })
    for (let i = 0; i < 8; i++) {
      machine.now += 1_000
      machine.give({ _tag: "Asked", answer: { _tag: "Running" } })
    }
    machine.give({
      _tag: "Frames",
      messages: decode([JSON.stringify({ type: "executing", data: { node: "2", display_node: "2" } })])
    })
    assert.deepStrictEqual(RunWatch.agenda(machine.state.watch), { at: machine.now + 10_000, ask: true })
  })

  it("without the last frame it asks after a second, and only then", () => {
    for (const truth of truths) {
      const machine = new Machine()
      machine.post(true)
      machine.accept()
      machine.give({ _tag: "Frames", messages: truth.frames.slice(0, -1) })
      assert.deepStrictEqual(RunWatch.agenda(machine.state.watch), { at: 1_000, ask: true })
      machine.settle(() => ({ _tag: "Finished", outcome: truth.outcome }))
      machine.check()
      endsAs(machine, truth)
    }
  })

  it("two answers that it is unknown, apart in time, are needed to call it lost", () => {
    const machine = new Machine()
    machine.post(false)
    machine.accept()
    machine.give({ _tag: "Asked", answer: { _tag: "Unknown", authoritative: true } })
    machine.now += 1_000
    machine.give({ _tag: "Asked", answer: { _tag: "Unknown", authoritative: true } })
    assert.isFalse(machine.events.some(isEnding))
    machine.now += 1_000
    machine.give({ _tag: "Asked", answer: { _tag: "Unknown", authoritative: true } })
    assert.strictEqual(machine.state.ending?._tag, "Failed")
  })

  it("calls it lost when the second answer comes exactly when it was due, whatever rounding says", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e12 }), (micros) => {
        const at = micros / 1_000_000
        const watch = RunWatch.init(RunWatch.defaults, at)
        const unknown: Answer = { _tag: "Unknown", authoritative: true }
        assert.strictEqual(RunWatch.answered(watch, unknown, false, at)._tag, "Wait")
        assert.strictEqual(RunWatch.answered(watch, unknown, false, RunWatch.agenda(watch).at)._tag, "Gone")
      }),
      { numRuns: 5_000, examples: [[130_373_501_237]] }
    )
  })

  it("holds a bounded number of frames before the answer to the POST, and loses none", () => {
    const machine = new Machine()
    machine.post(true)
    const progress = decode([frame("progress", { node: "1", value: 1, max: 3 })])
    for (let i = 0; i < 5_000; i++) machine.give({ _tag: "Frames", messages: progress })
    assert.isAtMost(machine.state.held.length, 4_096)
    machine.accept()
    assert.strictEqual(machine.events.filter((event) => event._tag === "NodeProgress").length, 5_000)
  })
})
