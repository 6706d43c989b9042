// The one worker thread: takes prompts in order, lets their runs go on when their time has come, writes history.
import { promptEnded } from "./afflict.ts"
import { announceScan } from "./assets.ts"
import { begin } from "./execute.ts"
import type { Result } from "./execution.ts"
import { crash, killWorker } from "./lifecycle.ts"
import { dict } from "./py.ts"
import { quote } from "./pyJson.ts"
import { take } from "./queue.ts"
import { publish, publishStatus } from "./sockets.ts"
import type { HistoryEntry, Item, State } from "./state.ts"
import { release } from "./vram.ts"

const endingOf = (result: Result): "success" | "error" | "interrupted" => {
  if (result.success) return "success"
  const last = result.messages.at(-1)
  return Array.isArray(last) && last[0] === "execution_interrupted" ? "interrupted" : "error"
}

const finish = (state: State, item: Item, result: Result): void => {
  const entry: HistoryEntry = {
    item,
    outputs: result.outputs,
    status: dict({
      status_str: result.success ? "success" : "error",
      completed: result.success,
      messages: result.messages
    })
  }
  if (state.history.size > state.settings.maxHistory) {
    for (const oldest of state.history.keys()) {
      state.history.delete(oldest)
      break
    }
  }
  state.running.delete(item.task)
  state.history.set(item.id, entry)
  promptEnded(state)
  item.ledger.endedAt = state.now
  item.ledger.outcome = endingOf(result)
  state.lastNode = undefined
  publishStatus(state)
  const client = state.client
  if (client !== undefined) {
    publish(
      state,
      client,
      () => `{"type": "executing", "data": {"node": null, "prompt_id": ${quote(item.id)}}}`
    )
  }
  release(state)
  const made = [...state.assets?.byId.values() ?? []].filter((asset) => asset.jobId === item.id).length
  if (made > 0) announceScan(state, made, undefined)
}

/** When the worker wants to go on: undefined if there is nothing to wait for. */
export const workerWake = (state: State): number | undefined => {
  if (!state.up || state.worker.dead) return undefined
  const { run } = state.worker
  if (run !== undefined) return run.wake.watches && state.interrupt ? state.now : run.wake.at
  return state.heap.length > 0 ? Math.max(state.worker.readyAt, state.now) : undefined
}

const startNext = (state: State): void => {
  const item = take(state)
  if (item === undefined) return
  if (item === "broken") {
    killWorker(state)
    return
  }
  state.running.set(item.task, item)
  item.ledger.startedAt = state.now
  publishStatus(state)
  state.worker.run = begin(state, item, (result) => finish(state, item, result))
}

/** Lets everything happen that is due by `now`, each at its own time. */
export const advance = (state: State, now: number): void => {
  for (;;) {
    const { doom } = state
    const wake = workerWake(state)
    const next = doom !== undefined && (wake === undefined || doom.at <= wake) ? doom.at : wake
    if (!state.up || next === undefined || next > now) break
    state.now = Math.max(state.now, next)
    if (doom !== undefined && doom.at <= state.now) {
      crash(state, doom.reason)
      break
    }
    const { run } = state.worker
    if (run === undefined) startNext(state)
    else {
      const step = run.steps.next()
      if (step.done === true) {
        if (state.worker.run === run) state.worker.run = undefined
        state.worker.readyAt = state.now
      } else run.wake = step.value
    }
  }
  state.now = Math.max(state.now, now)
}
