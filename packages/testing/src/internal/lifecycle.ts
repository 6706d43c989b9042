// The end of the process and of the worker thread.
import type { NodeRecord, PromptRecord, State } from "./state.ts"

const endPrompt = (state: State, record: PromptRecord): void => {
  if (record.endedAt !== undefined) return
  record.endedAt = state.now
  record.outcome = "lost"
}

const endNodes = (state: State, open: Iterable<NodeRecord>): void => {
  for (const record of open) {
    record.endedAt = state.now
    record.outcome = "lost"
  }
}

/** The worker thread ends: what it ran stays in `queue_running` for ever, and HTTP is well. */
export const killWorker = (state: State): void => {
  if (!state.up) return
  const run = state.worker.run
  if (run !== undefined) {
    endNodes(state, run.open)
    endPrompt(state, run.item.ledger)
  }
  state.worker.run = undefined
  state.worker.dead = true
}

/** The process ends: every socket breaks without a close frame, and everything in memory is gone. */
export const crash = (state: State, reason: string): void => {
  if (!state.up) return
  killWorker(state)
  for (const item of state.running.values()) endPrompt(state, item.ledger)
  for (const item of state.heap) endPrompt(state, item.ledger)
  for (const conn of state.conns.keys()) state.out.push({ _tag: "SocketClosed", conn, code: 1006, reason: "" })
  state.up = false
  state.doom = undefined
  state.heap = []
  state.running = new Map()
  state.history = new Map()
  state.cache.clear()
  state.objects = new Map()
  state.vram = new Map()
  state.conns = new Map()
  state.sockets = new Map()
  state.flags = new Map()
  state.client = undefined
  state.lastNode = undefined
  state.interrupt = false
  state.freeMemory = false
  state.unloadModels = false
  state.logSubscribers = new Set()
  state.out.push({ _tag: "Crash", reason })
}

/** How long a process lives on once its publish loop has failed. */
const doomMs = 2_000

/** The publish loop fails: no frame goes out any more, and the process ends a little later. */
export const doom = (state: State, reason: string, ms = doomMs): void => {
  if (state.doom === undefined || state.doom.at > state.now + ms) state.doom = { at: state.now + ms, reason }
}

/** A new process on the same folders: numbers from 0, temp empty, no former id known. */
export const start = (state: State): void => {
  if (state.up) return
  state.up = true
  state.boots++
  state.number = 0
  state.log = []
  state.files.clear("temp")
  state.worker = { dead: false, readyAt: state.now, run: undefined }
}
