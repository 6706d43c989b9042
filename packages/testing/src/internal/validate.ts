// What the server checks before it takes a prompt, with its words. Order and quirks are its own: every failing output
// adds itself to every node that has failed so far.
import { Validation } from "./nodeCheck.ts"
import { type Dict, dict, isDict, isList, type Py } from "./py.ts"
import { str } from "./pyText.ts"
import { classOf } from "./signature.ts"
import type { State } from "./state.ts"

/** A refusal's `error`, or the outputs that will run; `nodeErrors` may come with both. "raised": the answer is a 500. */
type Verdict =
  | { readonly _tag: "Refused"; readonly error: Dict; readonly nodeErrors: Dict }
  | { readonly _tag: "Accepted"; readonly outputs: ReadonlyArray<string>; readonly nodeErrors: Dict }
  | { readonly _tag: "Raised" }

const raised: Verdict = { _tag: "Raised" }

const refused = (type: string, message: string, details: string, extra: Dict = new Map()): Verdict => ({
  _tag: "Refused",
  error: dict({ type, message, details, extra_info: extra }),
  nodeErrors: new Map()
})

/** Whether `partial_execution_targets` names this node: `in` of Python, which searches a text for it. */
const isTarget = (targets: Py, id: string): boolean | undefined => {
  if (isList(targets)) return targets.some((target) => target === id)
  if (typeof targets === "string") return targets.includes(id)
  return isDict(targets) ? targets.has(id) : undefined
}

const unknownClass = (state: State, id: string, struct: Dict): Verdict => {
  const { profile } = state
  const classType = struct.get("class_type")
  if (profile.unknownClass === "invalid_prompt") {
    return classType === undefined
      ? refused(
        "invalid_prompt",
        "Cannot execute because a node is missing the class_type property.",
        `Node ID '#${id}'`
      )
      : refused("invalid_prompt", `Cannot execute because node ${str(classType)} does not exist.`, `Node ID '#${id}'`)
  }
  if (classType === undefined) {
    return refused(
      "missing_node_type",
      `Node 'ID #${id}' has no class_type. The workflow may be corrupted or a custom node is missing.`,
      `Node ID '#${id}'`,
      dict({ node_id: id, class_type: null, node_title: null })
    )
  }
  const meta = struct.get("_meta")
  const title = isDict(meta) ? meta.get("title") ?? classType : classType
  return refused(
    "missing_node_type",
    `Node '${str(title)}' not found. The custom node may not be installed.`,
    `Node ID '#${id}'`,
    dict({ node_id: id, class_type: classType, node_title: title })
  )
}

/** Checks a prompt; literals in it are coerced in place, also where it is refused. */
export const validate = (state: State, given: Py, targets: Py): Verdict => {
  const { profile } = state
  if (!isDict(given)) {
    if (isList(given) && given.length === 0 && !profile.nodeReplacements) {
      return refused("prompt_no_outputs", "Prompt has no outputs", "")
    }
    return raised
  }
  const prompt = given
  const outputs: Array<string> = []
  // Node replacements walk over everything first: a value they cannot look into raises.
  if (profile.nodeReplacements) {
    for (const struct of prompt.values()) {
      if (!isDict(struct) && !isList(struct) && typeof struct !== "string") return raised
    }
  }
  for (const [id, struct] of prompt) {
    if (!isDict(struct)) return raised
    const classType = struct.get("class_type")
    if (isDict(classType) || isList(classType)) return raised
    const node = typeof classType === "string" ? state.nodes.get(classType) : undefined
    if (node === undefined) return unknownClass(state, id, struct)
    if (!node.outputNode) continue
    if (targets !== null) {
      const wanted = isTarget(targets, id)
      if (wanted === undefined) return raised
      if (!wanted) continue
    }
    outputs.push(id)
  }
  if (outputs.length === 0) return refused("prompt_no_outputs", "Prompt has no outputs", "")
  const validation = new Validation(state, prompt)
  const good: Array<string> = []
  const outputErrors: Array<string> = []
  const nodeErrors: Dict = new Map()
  for (const output of outputs) {
    const outcome = validation.output(output)
    if (outcome.valid) {
      good.push(output)
      continue
    }
    for (const one of outcome.reasons) {
      outputErrors.push(`${str(one.get("message") ?? null)}: ${str(one.get("details") ?? null)}`)
    }
    for (const [id, checked] of validation.checked) {
      if (checked.valid || checked.reasons.length === 0) continue
      const known = nodeErrors.get(id)
      const dependent = isDict(known) ? known.get("dependent_outputs") : undefined
      nodeErrors.set(
        id,
        dict({
          errors: checked.reasons,
          dependent_outputs: [...isList(dependent) ? dependent : [], output],
          class_type: classOf(prompt, id)
        })
      )
    }
  }
  if (good.length > 0) return { _tag: "Accepted", outputs: good, nodeErrors }
  return {
    _tag: "Refused",
    error: dict({
      type: "prompt_outputs_failed_validation",
      message: "Prompt outputs failed validation",
      details: outputErrors.join("\n"),
      extra_info: new Map()
    }),
    nodeErrors
  }
}
