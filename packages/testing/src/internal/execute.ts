// One prompt from its start to its last message: which node runs when, and the frames in the order of the real server.
import { Execution, type NodeResult, type Result } from "./execution.ts"
import { killWorker } from "./lifecycle.ts"
import { logExecuted, logFailure, logInterrupt } from "./logs.ts"
import { runNode } from "./nodeRun.ts"
import { dict, isDict } from "./py.ts"
import { classOf } from "./signature.ts"
import type { Item, Run, State, Wake } from "./state.ts"

const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

/** A node that runs beside others. */
interface Beside {
  readonly id: string
  readonly steps: Generator<Wake, NodeResult, void>
  wake: Wake
}

const soonest = (besides: ReadonlyMap<string, Beside>): Beside | undefined => {
  let best: Beside | undefined
  for (const one of besides.values()) if (best === undefined || one.wake.at < best.wake.at) best = one
  return best
}

interface Ended {
  readonly id: string
  readonly result: NodeResult
}

/** Starts what is ready and lets it go on until one node has ended. */
function* untilOneEnds(
  execution: Execution,
  besides: Map<string, Beside>
): Generator<Wake, Ended, void> {
  const { list, prompt, state } = execution
  for (;;) {
    const id = list.next(besides)
    if (id !== undefined) {
      const steps = runNode(execution, id)
      const first = steps.next()
      if (first.done === true) return { id, result: first.value }
      if (state.nodes.get(classOf(prompt.nodes, id))?.async !== true) {
        yield first.value
        return { id, result: yield* steps }
      }
      besides.set(id, { id, steps, wake: first.value })
      continue
    }
    const first = soonest(besides)
    if (first === undefined) return { id: list.stuck, result: execution.stuck() }
    yield { at: first.wake.at, watches: [...besides.values()].some((one) => one.wake.watches) }
    const next = first.steps.next()
    if (next.done === true) {
      besides.delete(first.id)
      return { id: first.id, result: next.value }
    }
    first.wake = next.value
  }
}

function* runPrompt(execution: Execution): Generator<Wake, void, void> {
  const { item, list, state } = execution
  execution.message("execution_start", dict({ prompt_id: item.id }), false)
  execution.prepare()
  const cached = [...item.prompt.keys()].filter((id) => execution.cached(id) !== undefined)
  execution.message("execution_cached", dict({ nodes: cached, prompt_id: item.id }), false)
  for (const output of item.outputs) {
    // A link under an undeclared name to a node that is not there: raised outside of every handler.
    if (list.add(output) !== undefined) return killWorker(state)
  }
  const besides = new Map<string, Beside>()
  while (list.size > 0) {
    const ended = yield* untilOneEnds(execution, besides)
    const { result } = ended
    if (result._tag === "Gone") return
    if (result._tag === "Pending") continue
    if (result._tag === "Success") {
      list.done(ended.id)
      execution.relieve()
      continue
    }
    execution.result.success = false
    if (result._tag === "Interrupted") {
      logInterrupt(state)
      execution.message("execution_interrupted", result.data, true)
    } else {
      // Python cannot write such a message to its log: the worker dies of it before anybody is told.
      if (loneSurrogate.test(result.error.message)) return killWorker(state)
      logFailure(state, result.error, result.traceback)
      execution.message("execution_error", result.data, false)
    }
    for (const record of execution.open) execution.close(record, "lost")
    return
  }
  execution.message("execution_success", dict({ prompt_id: item.id }), false)
}

/** A run of a prompt that was just taken from the queue. Its first step happens at the first `next()`. */
export const begin = (state: State, item: Item, finish: (result: Result) => void): Run => {
  const asked = isDict(item.extraData) ? item.extraData.get("client_id") : undefined
  const client = typeof asked === "string" ? asked : undefined
  const execution = new Execution(state, item, client)
  function* steps(): Generator<Wake, void, void> {
    const startedAt = state.now
    state.interrupt = false
    state.client = client
    yield* runPrompt(execution)
    if (state.profile.historyFromCache && state.settings.cache !== "none") execution.outputsFromCache()
    if (state.worker.dead || state.doom?.at === state.now) return
    finish(execution.result)
    logExecuted(state, state.now - startedAt)
  }
  return { item, client, steps: steps(), wake: { at: state.now, watches: false }, open: execution.open }
}
