// Everything that one fake server holds. `step` owns it and changes it in place; nothing in an output points into it.
import type { Figures, Weights } from "../Hardware.ts"
import type { NodeClass } from "../NodeClass.ts"
import type { VersionProfile } from "../VersionProfile.ts"
import type { AssetStore } from "./assets.ts"
import type { Files } from "./files.ts"
import type { CacheMode, NodeCache } from "./nodeCache.ts"
import type { Dict, Py } from "./py.ts"
import type { Trouble } from "./trouble.ts"
import type { Resident } from "./vram.ts"

/** What the server says to the outside; the driver carries it out in order. */
export type Output =
  | {
    readonly _tag: "HttpResponse"
    readonly id: number
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: Uint8Array
  }
  | { readonly _tag: "HttpAborted"; readonly id: number; readonly reason: "refused" | "reset" }
  | { readonly _tag: "SocketAccepted"; readonly conn: number }
  | {
    readonly _tag: "SocketRefused"
    readonly conn: number
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: Uint8Array
  }
  | { readonly _tag: "SocketSend"; readonly conn: number; readonly frame: string | Uint8Array<ArrayBuffer> }
  | { readonly _tag: "SocketClosed"; readonly conn: number; readonly code: number; readonly reason: string }
  | { readonly _tag: "Crash"; readonly reason: string }

export interface ModelInfo {
  readonly bytes: number
  readonly metadata: Readonly<Record<string, string>> | undefined
}

export interface Settings {
  readonly profile: VersionProfile
  readonly seed: number
  readonly epochMs: number
  readonly speed: number
  readonly dequeueMs: number
  readonly hardware: Figures
  readonly cache: CacheMode
  readonly previewMethod: string
  readonly previewSize: number
  readonly maxUploadBytes: number
  readonly maxHistory: number
  readonly maxLedger: number
  readonly maxFiles: number
  readonly cors: string | undefined
  readonly compress: boolean
  readonly argv: ReadonlyArray<string>
  readonly models: ReadonlyMap<string, ReadonlyMap<string, ModelInfo>>
  readonly inputFiles: ReadonlyMap<string, Uint8Array>
  readonly folders: { readonly base: string; readonly source: string }
}

/** One entry of the queue; `task` tells two entries of one id apart. */
export interface Item {
  readonly task: number
  readonly number: Py
  readonly id: string
  readonly prompt: Dict
  readonly extraData: Py
  readonly outputs: ReadonlyArray<string>
  /** Keys that were taken out of `extraData` before anybody could see them. */
  readonly secrets: Dict
  readonly ledger: PromptRecord
}

/** What one node showed: the ui, and where it came from. */
export interface NodeUi {
  readonly meta: Dict
  readonly output: Dict
}

export interface HistoryEntry {
  readonly item: Item
  readonly outputs: ReadonlyMap<string, NodeUi>
  readonly status: Dict
}

export type PromptOutcome = "success" | "error" | "interrupted" | "removed" | "lost"
export type NodeOutcome = "success" | "error" | "interrupted" | "blocked" | "lost"

/** One accepted prompt, in monotonic milliseconds; `endedAt` and `outcome` are there once it ended. */
export interface PromptRecord {
  readonly promptId: string
  readonly number: number
  readonly acceptedAt: number
  startedAt: number | undefined
  endedAt: number | undefined
  outcome: PromptOutcome | undefined
}

/** One run of one node: cached nodes have none. */
export interface NodeRecord {
  readonly promptId: string
  readonly nodeId: string
  readonly classType: string
  readonly startedAt: number
  endedAt: number | undefined
  outcome: NodeOutcome | undefined
}

interface LedgerState {
  prompts: Array<PromptRecord>
  nodes: Array<NodeRecord>
  dropped: number
}

/** Where a run waits: until a time, or until the interrupt flag is set if it `watches`. */
export interface Wake {
  readonly at: number
  readonly watches: boolean
}

export interface Run {
  readonly item: Item
  readonly client: string | undefined
  readonly steps: Generator<Wake, void, void>
  wake: Wake
  /** The node records that have no end yet. */
  readonly open: Set<NodeRecord>
}

interface Conn {
  readonly id: number
  readonly sid: string
  /** No JSON object has come yet. */
  first: boolean
}

/** A line of the log with its line end, and when it was written: wall clock, milliseconds. */
export interface LogLine {
  readonly at: number
  readonly text: string
}

export interface State {
  readonly settings: Settings
  readonly profile: VersionProfile
  readonly nodes: ReadonlyMap<string, NodeClass>
  readonly files: Files
  now: number
  random: number
  out: Array<Output>
  ledger: LedgerState
  log: Array<LogLine>
  /** The process: nothing below outlives it. */
  up: boolean
  boots: number
  /** Something that JSON cannot hold was to be sent: nothing is sent any more, and the process ends at this time. */
  doom: { readonly at: number; readonly reason: string } | undefined
  number: number
  tasks: number
  heap: Array<Item>
  running: Map<number, Item>
  history: Map<string, HistoryEntry>
  worker: { dead: boolean; readyAt: number; run: Run | undefined }
  interrupt: boolean
  /** What `/free` asked for while a prompt ran. */
  freeMemory: boolean
  unloadModels: boolean
  readonly cache: NodeCache
  /** The state of node objects by id and class; `root` is the node of the prompt that they came from. */
  objects: Map<string, { readonly letters: string; readonly root: string }>
  /** Models in VRAM, the least recently used first. */
  vram: Map<Weights, Resident>
  conns: Map<number, Conn>
  /** The table by client id: the newest socket. */
  sockets: Map<string, number>
  flags: Map<string, Py>
  /** The client and node that a socket of this id is told about when it opens. */
  client: string | undefined
  lastNode: string | undefined
  users: Map<string, Py>
  userFiles: Map<string, { readonly bytes: Uint8Array; readonly created: number; readonly modified: number }>
  logSubscribers: Set<string>
  /** Only with `--enable-assets`; they outlive the process. */
  assets: AssetStore | undefined
  /** The faults of {@link FaultyComfy}; a server by itself has none. */
  trouble?: Trouble
}

/** A wall-clock time in whole milliseconds, as the server stamps it. */
export const wallMs = (state: State): number =>
  Math.floor(state.settings.epochMs + state.now + (state.trouble?.skewMs(state.now) ?? 0))

/** A number from 0 to 2^32 − 1; the only randomness there is. */
const random = (state: State): number => {
  let x = state.random
  x ^= x << 13
  x ^= x >>> 17
  x ^= x << 5
  state.random = x
  return x >>> 0
}

export const hex = (state: State, digits: number): string => {
  let out = ""
  while (out.length < digits) out += random(state).toString(16).padStart(8, "0")
  return out.slice(0, digits)
}

export const uuid = (state: State): string => {
  const h = hex(state, 32)
  const variant = "89ab".charAt(random(state) & 3)
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-${variant}${h.slice(17, 20)}-${h.slice(20)}`
}

const lettersOf = "abcdefghijklmnopqrstuvxyz"

export const letters = (state: State, count: number): string => {
  let out = ""
  for (let i = 0; i < count; i++) out += lettersOf.charAt(random(state) % lettersOf.length)
  return out
}
