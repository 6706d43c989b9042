// Faults where a server's own code meets them: nodes that are about to run, interrupts, writes, the end of a prompt.
import * as Option from "effect/Option"
import type { NodeAction, NodeMoment } from "../FaultData.ts"
import type { End, Plan, Step } from "../Plan.ts"
import type { Dict } from "./py.ts"
import { dumps, quote } from "./pyJson.ts"
import { classOf, inputsOf } from "./signature.ts"
import type { Item, State, Wake } from "./state.ts"

const raises = (type: string, message: string): End => ({ _tag: "Raise", type, message, traceback: undefined })

const cudaError: End = raises(
  "torch.AcceleratorError",
  "CUDA error: an illegal memory access was encountered\n" +
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be " +
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n" +
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)

/** Milliseconds in which a node fails on a GPU that is broken. */
const poisonedMs = 2

const cutPlan = (plan: Plan, end: End, when: NodeMoment): Plan => {
  if (when === "before") return { steps: [], end }
  if (when === "after") return { steps: plan.steps, end }
  let seen = 0
  const last = plan.steps.findIndex((step) => step._tag === "Progress" && ++seen === when.progress)
  return last < 0 ? plan : { steps: plan.steps.slice(0, last + 1), end }
}

const eachWait = (plan: Plan, change: (wait: Extract<Step, { readonly _tag: "Wait" }>) => Step): Plan => ({
  steps: plan.steps.map((step) => step._tag === "Wait" ? change(step) : step),
  end: plan.end
})

const change = (plan: Plan, action: NodeAction): Plan => {
  switch (action._tag) {
    case "Slower":
      return eachWait(plan, (step) => ({ ...step, ms: step.ms * action.factor }))
    case "Uninterruptible":
      return eachWait(plan, (step) => ({ ...step, watches: false }))
    case "Raise":
      return cutPlan(plan, raises(action.type, action.message), action.when)
    case "PoisonGpu":
      return cutPlan(plan, cudaError, action.when)
    case "KillProcess":
      return cutPlan(plan, { _tag: "Exit" }, action.when)
    case "KillWorker":
      return cutPlan(plan, { _tag: "KillWorker" }, action.when)
    case "Silent":
    case "StallServer":
      return plan
  }
}

/** Inputs as JSON; those of expanded nodes that are no literals are left out. */
const inputsText = (nodes: Dict, id: string): string =>
  `{${
    [...inputsOf(nodes, id) ?? []].flatMap(([name, value]) =>
      Option.match(dumps(value), { onNone: () => [], onSome: (text) => [`${quote(name)}: ${text}`] })
    ).join(", ")
  }}`

/** What a node does in the end, after what comes before it: silence. Faults strike at the first of a node's items. */
export function* afflict(
  state: State,
  item: Item,
  nodes: Dict,
  id: string,
  index: number,
  plan: Plan
): Generator<Wake, Plan, void> {
  const { trouble } = state
  if (trouble === undefined) return plan
  if (trouble.takeNoSpace()) return { steps: [], end: raises("OSError", "[Errno 28] No space left on device") }
  if (trouble.poisoned) {
    yield { at: state.now + poisonedMs, watches: false }
    return { steps: [], end: cudaError }
  }
  if (index > 0 || !trouble.watchesNodes) return plan
  const node = { promptId: item.id, nodeId: id, classType: classOf(nodes, id), inputs: inputsText(nodes, id) }
  let out = plan
  for (const action of trouble.onNode(node, state.now)) {
    if (action._tag === "Silent") yield { at: state.now + action.ms, watches: false }
    if (action._tag === "PoisonGpu") trouble.poisoned = true
    out = change(out, action)
  }
  return out
}

/** Whether a node looks at no interrupt, whatever its class does. */
export const isDeaf = (state: State, item: Item, id: string): boolean => state.trouble?.isDeaf(item.id, id) ?? false

/** Somebody wants what runs to end: the flag goes up, unless that gets lost. */
export const raiseInterrupt = (state: State): void => {
  if (state.trouble?.losesInterrupt(state.now) !== true) state.interrupt = true
}

/** Whether a write finds no space on the disk. */
export const refusesWrite = (state: State): boolean => state.trouble?.refusesWrite(state.now) ?? false

/** The same for a picture that a node saves. */
export const refusesSave = (state: State): boolean => state.trouble?.refusesSave(state.now) ?? false

/** A prompt has ended, and nobody was told yet. */
export const promptEnded = (state: State): void => {
  if (state.trouble?.deletesOutputs(state.now) === true) state.files.clear("output")
}
