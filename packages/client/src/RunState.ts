/** What is known of one run. Owned and updated in place by its driver; made and read here, changed by `Run.step`. */
import type { ChosenSeed, Ending, Executions } from "@effect-comfyui/execution/ExecutionEvent"
import type { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import type { NodeOutput } from "@effect-comfyui/execution/Outputs"
import type { Time } from "@effect-comfyui/execution/Time"
import type { ServerMessage } from "@effect-comfyui/protocol/ServerMessage"
import type { Doubt, Outcome } from "./RunAnswer.ts"
import * as RunNodes from "./RunNodes.ts"
import * as RunWatch from "./RunWatch.ts"

export type Phase = "unsent" | "posting" | "doubted" | "accepted" | "ended"

/** What a run is about. */
export interface Subject {
  readonly runId: RunId
  readonly backend: BackendId
  /** Class type of a node of the prompt. */
  readonly classTypeOf: (nodeId: string) => string | null
}

/** Owned and updated in place by its one driver. */
export interface State {
  readonly subject: Subject
  readonly startedAt: number
  readonly nodes: RunNodes.State
  readonly watch: RunWatch.State
  phase: Phase
  promptId: string
  /** The server has taken the prompt. */
  wasAccepted: boolean
  sequence: number
  /** One registered connection has lived since before the POST. */
  whole: boolean
  /** Frames that came before the answer to the POST: the stream begins with `Submitted`. */
  held: Array<ServerMessage>
  /** A connection has delivered frames since the last gap was told. */
  connected: boolean
  started: boolean
  readonly outputs: Map<string, NodeOutput>
  seeds: ReadonlyArray<ChosenSeed>
  /** What the socket said about the end, until `executing{null}` makes it final; outputs are added then. */
  terminal: Outcome | undefined
  /** Every frame up to the terminal message came. */
  terminalWhole: boolean
  /** `executing{null}` came, but not everything before it. */
  drained: boolean
  /** What HTTP said about the end, until frames on their way have come. */
  settled: Outcome | undefined
  cancelAsked: boolean
  doubt: Doubt | undefined
  executions: Executions
  ending: Ending | undefined
}

/** A run in its first phase: `unsent` where the driver will post it, `accepted` where it is watched from outside. */
export const make = (subject: Subject, phase: Phase, time: Time, options: RunWatch.Options): State => ({
  subject,
  startedAt: time.now,
  nodes: RunNodes.init(),
  watch: RunWatch.init(options, time.now),
  phase,
  promptId: subject.runId,
  wasAccepted: phase === "accepted",
  sequence: -1,
  whole: false,
  held: [],
  connected: false,
  started: false,
  outputs: new Map(),
  seeds: [],
  terminal: undefined,
  terminalWhole: false,
  drained: false,
  settled: undefined,
  cancelAsked: false,
  doubt: undefined,
  executions: { atLeast: 1, atMost: 1 },
  ending: undefined
})

/** Plain figures of a run. */
export const snapshot = (state: State) => ({
  runId: state.subject.runId,
  promptId: state.promptId,
  phase: state.phase,
  whole: state.whole,
  started: state.started,
  running: [...state.nodes.running.keys()],
  sequence: state.sequence,
  cancelAsked: state.cancelAsked,
  ending: state.ending?._tag ?? null
})
