// One node of a prompt and all that it needs, checked as the server does it. Order and quirks are its own: results are
// kept per node, and literals are coerced in place.
import type { Input, NodeClass } from "../NodeClass.ts"
import { comboValues, inputConfig } from "./nodeInfo.ts"
import { type Dict, dict, equal, isDict, isInt, isList, numeric, type Py, truthy, typeName } from "./py.ts"
import { isPyError, type PyError, repr, str, toFloat, toInt } from "./pyText.ts"
import { classOf } from "./signature.ts"
import type { State } from "./state.ts"

interface Checked {
  readonly valid: boolean
  readonly reasons: ReadonlyArray<Dict>
}

const reason = (type: string, message: string, details: string, extra: Dict): Dict =>
  dict({ type, message, details, extra_info: extra })

const typeText = (type: Py): string => (isList(type) ? repr(type) : str(type))

/** A type that the editor settles, and the server takes for any. */
const matchType = "COMFY_MATCHTYPE_V3"

/** Whether an output of this type may go into an input of that one. */
const fits = (received: string, wanted: Py): boolean => {
  if (isList(wanted)) return received === "COMBO" || received === "*"
  if (typeof wanted !== "string" || wanted === "*" || received === "*" || received === wanted) return true
  if (wanted === matchType || received === matchType) return true
  const accepted = new Set(wanted.split(",").map((type) => type.trim()))
  return received.split(",").some((type) => accepted.has(type.trim()))
}

const trace = (state: State, inner: boolean, line: string): ReadonlyArray<string> => [
  `  File "${state.settings.folders.source}/execution.py", line ${inner ? 955 : 1184}, in ` +
  `${inner ? "validate_inputs" : "validate_prompt"}\n    await validate_inputs(...)\n`,
  `  File "${state.settings.folders.source}/execution.py", line 933, in validate_inputs\n    ${line}\n`
]

export class Validation {
  readonly state: State
  readonly prompt: Dict
  /** What is known of each node so far, in the order in which it became known. */
  readonly checked = new Map<string, Checked>()
  /** From the output down to the node that is being looked at. */
  readonly #path: Array<string> = []

  constructor(state: State, prompt: Dict) {
    this.state = state
    this.prompt = prompt
  }

  /** An output with all that it needs; what is raised on the way is its error. */
  output(id: string): Checked {
    const outcome = this.#node(id)
    if (!isPyError(outcome)) return outcome
    const extra = dict({
      exception_type: outcome.type,
      traceback: trace(this.state, false, "o_class_type = prompt[o_id]['class_type']")
    })
    return this.#keep(id, {
      valid: false,
      reasons: [reason("exception_during_validation", "Exception when validating node", outcome.message, extra)]
    })
  }

  /** A node with all that it needs; a PyError is what Python would raise here. */
  #node(id: string): Checked | PyError {
    const known = this.checked.get(id)
    if (known !== undefined) return known
    const { cycleErrors } = this.state.profile
    const start = this.#path.indexOf(id)
    if (start >= 0) return cycleErrors ? this.#cycle(start) : silentCycle
    if (this.#path.length > 900) return recursion
    const struct = this.prompt.get(id)
    if (!isDict(struct)) return { type: "KeyError", message: repr(id) }
    const inputs = struct.get("inputs")
    if (inputs === undefined) return { type: "KeyError", message: "'inputs'" }
    const node = this.state.nodes.get(classOf(this.prompt, id))
    if (node === undefined) return { type: "KeyError", message: repr(struct.get("class_type") ?? null) }
    if (!isDict(inputs)) {
      return isList(inputs) || typeof inputs === "string"
        ? this.#keep(id, this.#missing(node))
        : { type: "TypeError", message: `argument of type '${typeName(inputs)}' is not iterable` }
    }
    this.#path.push(id)
    const outcome = this.#inputs(node, inputs)
    this.#path.pop()
    if (isPyError(outcome)) return outcome
    // A cycle that was found below has already said what is wrong here.
    return this.checked.get(id) ?? this.#keep(id, outcome)
  }

  #keep(id: string, outcome: Checked): Checked {
    this.checked.set(id, outcome)
    return outcome
  }

  #missing(node: NodeClass): Checked {
    return {
      valid: false,
      reasons: Object.keys(node.required).map((name) =>
        reason("required_input_missing", "Required input is missing", name, dict({ input_name: name }))
      )
    }
  }

  #cycle(start: number): Checked {
    const nodes = this.#path.slice(start)
    const text = [...nodes, nodes[0] ?? ""].map((id) => `${id} (${classOf(this.prompt, id)})`).join(" -> ")
    for (const id of nodes) {
      this.#keep(id, {
        valid: false,
        reasons: [
          reason("dependency_cycle", "Dependency cycle detected", text, dict({ node_id: id, cycle_nodes: nodes }))
        ]
      })
    }
    return { valid: false, reasons: [] }
  }

  #inputs(node: NodeClass, inputs: Dict): Checked | PyError {
    const errors: Array<Dict> = []
    let valid = true
    const { optional, required } = node.declare?.(inputs) ?? node
    for (const [section, declared] of [["required", required], ["optional", optional]] as const) {
      for (const [name, input] of Object.entries(declared)) {
        const value = inputs.get(name)
        if (value === undefined) {
          if (section === "required") {
            errors.push(
              reason("required_input_missing", "Required input is missing", name, dict({ input_name: name }))
            )
          }
          continue
        }
        const config = inputConfig(this.state, node, input)
        if (isList(value)) {
          const outcome = this.#link(name, value, config)
          if (outcome === false) valid = false
          else if (outcome !== true) {
            if (isPyError(outcome)) return outcome
            errors.push(outcome)
          }
        } else {
          const error = this.#literal(node, name, input, value, config, inputs)
          if (error !== undefined) errors.push(error)
        }
      }
    }
    if (node.validate !== undefined) errors.push(...this.#custom(node, node.validate, inputs))
    return { valid: valid && errors.length === 0, reasons: errors }
  }

  /** true: good; false: something further up is bad; a dict: this input's error; a PyError: raised. */
  #link(name: string, value: ReadonlyArray<Py>, config: readonly [Py, Dict]): boolean | Dict | PyError {
    if (value.length !== 2) {
      return reason(
        "bad_linked_input",
        "Bad linked input, must be a length-2 list of [node_id, slot_index]",
        name,
        dict({ input_name: name, input_config: config, received_value: value })
      )
    }
    const [id = null, slot = null] = value
    if (isList(id) || isDict(id)) return { type: "TypeError", message: `unhashable type: '${typeName(id)}'` }
    const struct = typeof id === "string" ? this.prompt.get(id) : undefined
    if (typeof id !== "string" || !isDict(struct)) return { type: "KeyError", message: repr(id) }
    const from = this.state.nodes.get(classOf(this.prompt, id))
    if (from === undefined) return { type: "KeyError", message: repr(struct.get("class_type") ?? null) }
    if (!isInt(slot) && typeof slot !== "boolean") {
      return { type: "TypeError", message: `tuple indices must be integers or slices, not ${typeName(slot)}` }
    }
    const index = Number(slot)
    const received = from.outputs[index < 0 ? index + from.outputs.length : index]?.type
    if (received === undefined) return { type: "IndexError", message: "tuple index out of range" }
    if (!fits(received, config[0])) {
      return reason(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        `${name}, received_type(${received}) mismatch input_type(${typeText(config[0])})`,
        dict({ input_name: name, input_config: config, received_type: received, linked_node: value })
      )
    }
    const inner = this.#node(id)
    if (!isPyError(inner)) return inner.valid
    // Without a reason of their own, old releases lose a cycle: nothing is kept, and the output alone is invalid.
    if (inner === silentCycle) return false
    this.#keep(id, {
      valid: false,
      reasons: [
        reason(
          "exception_during_inner_validation",
          "Exception when validating inner node",
          inner.message,
          dict({
            input_name: name,
            input_config: config,
            exception_message: inner.message,
            exception_type: inner.type,
            traceback: trace(this.state, true, "o_class_type = prompt[o_id]['class_type']"),
            linked_node: value
          })
        )
      ]
    })
    return false
  }

  #literal(
    node: NodeClass,
    name: string,
    input: Input<unknown>,
    given: Py,
    config: readonly [Py, Dict],
    inputs: Dict
  ): Dict | undefined {
    let value = isDict(given) && given.has("__value__") ? given.get("__value__") ?? null : given
    if (value !== given) inputs.set(name, value)
    const coerced = coerce(input.type, value)
    if (isPyError(coerced)) {
      return reason(
        "invalid_input_type",
        `Failed to convert an input value to a ${typeText(config[0])} value`,
        `${name}, ${str(value)}, ${coerced.message}`,
        dict({
          input_name: name,
          input_config: config,
          received_value: value,
          exception_message: coerced.message
        })
      )
    }
    if (coerced !== undefined) {
      value = coerced
      inputs.set(name, value)
    }
    if (node.validates.includes(name)) return undefined
    const extra = (received: Py, shown: Py): Dict =>
      dict({ input_name: name, input_config: shown, received_value: received })
    const size = numeric(value)
    const { max, min } = input.options
    const smallest = numeric(min)
    const biggest = numeric(max)
    if (smallest !== undefined && size !== undefined && size < smallest) {
      return reason(
        "value_smaller_than_min",
        `Value ${str(value)} smaller than min of ${str(config[1].get("min") ?? null)}`,
        name,
        extra(value, config)
      )
    }
    if (biggest !== undefined && size !== undefined && size > biggest) {
      return reason(
        "value_bigger_than_max",
        `Value ${str(value)} bigger than max of ${str(config[1].get("max") ?? null)}`,
        name,
        extra(value, config)
      )
    }
    if (typeof input.type === "string") return undefined
    const options = comboValues(this.state, input.type)
    if (options.some((option) => equal(option, value))) return undefined
    const long = options.length > 20
    return reason(
      "value_not_in_list",
      "Value not in list",
      `${name}: ${repr(value)} not in ${long ? `(list of length ${options.length})` : repr(options)}`,
      extra(value, long ? null : config)
    )
  }

  #custom(node: NodeClass, validate: NonNullable<NodeClass["validate"]>, inputs: Dict): ReadonlyArray<Dict> {
    const errors: Array<Dict> = []
    for (const name of node.validates) {
      const value = inputs.get(name)
      if (value === undefined || isList(value)) continue
      const verdict = validate(name, value, { readFile: (file) => this.state.files.read(file) })
      if (verdict === true) continue
      errors.push(
        reason(
          "custom_validation_failed",
          "Custom validation failed for node",
          verdict === "" ? name : `${name} - ${verdict}`,
          dict({ input_name: name })
        )
      )
    }
    return errors
  }
}

const silentCycle: PyError = { type: "RecursionError", message: "" }
const recursion: PyError = { type: "RecursionError", message: "maximum recursion depth exceeded" }

/** The value as the input's type has it; undefined where the server coerces nothing. */
const coerce = (type: Input<unknown>["type"], value: Py): Py | PyError | undefined => {
  switch (type) {
    case "INT":
      return toInt(value)
    case "FLOAT":
      return toFloat(value)
    case "STRING":
      return str(value)
    case "BOOLEAN":
      return truthy(value)
    default:
      return undefined
  }
}
