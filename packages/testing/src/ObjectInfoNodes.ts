/**
 * The node classes of a real server, from the JSON of its `/object_info`: a fake that takes what that server takes, with
 * the custom nodes of whoever runs it.
 */
import * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import * as Wire from "@effect-comfyui/protocol/Wire"
import type { Json } from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as CoreNodes from "./CoreNodes.ts"
import { classOfEntry, computedBy } from "./internal/signatureClass.ts"
import { folderOf } from "./internal/signatureInputs.ts"
import type { NodeClass } from "./NodeClass.ts"
import { ObjectInfoError, type ObjectInfoReason } from "./ObjectInfoError.ts"

/** How classes are made. */
export interface Options {
  /**
   * Whether classes that the fake computes by itself (`LoadImage`, `ImageScale`, `KSampler` …) run by rule too. Default
   * false: they show the given signature and compute as ever, where inputs and outputs still are what they know.
   */
  readonly replace?: boolean | undefined
}

/** More classes than this are refused; the largest known servers have about 5,000. */
export const maxClasses = 20_000
/** Values in one entry, nested ones counted; and how deep they may nest. */
const maxValues = 200_000
const maxLevels = 64
const maxInputs = 1_000
const maxOutputs = 1_000

const failure = (reason: ObjectInfoReason): Result.Result<never, ObjectInfoError> =>
  Result.fail(new ObjectInfoError({ reason }))

const tooLarge = (name: string, what: "values" | "levels" | "inputs" | "outputs", limit: number) =>
  failure({ _tag: "TooLarge", class: name, what, limit })

const bad = (name: string, problem: string) => failure({ _tag: "BadClass", class: name, problem })

/** Which limit an entry breaks, found without recursion. */
const excess = (entry: unknown): "values" | "levels" | undefined => {
  let values = 0
  let row: ReadonlyArray<unknown> = [entry]
  for (let level = 0; row.length > 0; level++) {
    if (level > maxLevels) return "levels"
    const next: Array<unknown> = []
    for (const value of row) {
      if (typeof value !== "object" || value === null) continue
      for (const member of Object.values(value)) next.push(member)
    }
    values += next.length
    if (values > maxValues) return "values"
    row = next
  }
  return undefined
}

interface Read {
  readonly info: ObjectInfo.NodeInfo
  readonly inputs: ReadonlyArray<NodeInputs.Input>
}

const read = (name: string, entry: Json): Result.Result<Read, ObjectInfoError> => {
  const limit = excess(entry)
  if (limit !== undefined) return tooLarge(name, limit, limit === "values" ? maxValues : maxLevels)
  const decoded = ObjectInfo.NodeInfo.decode(entry)
  if (Result.isFailure(decoded)) {
    const { excerpt, expected, path } = decoded.failure
    return bad(name, `at ${path.join(".") || "its start"}: expected ${expected}, found ${excerpt}`)
  }
  const info = decoded.success
  if (info.input === undefined || info.input === null) return bad(name, "has no input")
  if (!Array.isArray(info.output)) return bad(name, "has no list of outputs")
  if (typeof info.output_node !== "boolean") return bad(name, "does not say whether it is an output node")
  if (info.output.length > maxOutputs) return tooLarge(name, "outputs", maxOutputs)
  const inputs = NodeInputs.inputs(info)
  if (inputs.length > maxInputs) return tooLarge(name, "inputs", maxInputs)
  const unknown = inputs.find(({ kind }) => kind._tag === "Unknown")
  return unknown === undefined
    ? Result.succeed({ info, inputs })
    : bad(name, `its input ${unknown.name} has no type`)
}

const Classes = Schema.decodeUnknownOption(Schema.Record(Schema.String, Wire.json))

const readAll = (info: unknown): Result.Result<ReadonlyMap<string, Read>, ObjectInfoError> => {
  const classes = Array.isArray(info) ? undefined : Classes(info)
  if (classes === undefined || classes._tag === "None") return failure({ _tag: "NotAnObject" })
  const names = Object.keys(classes.value)
  if (names.length > maxClasses) {
    return failure({ _tag: "TooLarge", class: null, what: "classes", limit: maxClasses })
  }
  const out = new Map<string, Read>()
  for (const name of names) {
    const entry = read(name, classes.value[name] ?? null)
    if (Result.isFailure(entry)) return Result.fail(entry.failure)
    out.set(name, entry.success)
  }
  return Result.succeed(out)
}

/**
 * As {@link fromObjectInfo}, but a failure is a value: `NotAnObject`, `BadClass` (with the class) or `TooLarge` (more
 * than 20,000 classes; an entry of more than 200,000 values, 64 levels, 1,000 inputs or outputs).
 */
export const decode = (
  info: unknown,
  options: Options = {}
): Result.Result<ReadonlyArray<NodeClass>, ObjectInfoError> =>
  Result.map(readAll(info), (classes) => {
    const own = new Map(options.replace === true ? [] : CoreNodes.computing.map((node) => [node.class, node]))
    return Array.from(classes, ([name, entry]) => {
      const simulated = classOfEntry(name, entry.info, entry.inputs)
      const computed = own.get(name)
      return computed === undefined ? simulated : computedBy(simulated, computed) ?? simulated
    })
  })

/**
 * Classes with exactly the signatures of a real server's `/object_info`: they are shown as given, validate as given
 * (choices, limits, lists that grow, choices that bring inputs), and run by rule.
 *
 * - Loaders take the time of reading the files that their inputs name; sizes are those of the server's `models`.
 * - Samplers, which have `steps` or get SIGMAS, send a frame per step with the models in VRAM.
 * - Savers write files of their kind, the same bytes for the same inputs: images are real PNGs, SVG, text, GLB and
 *   safetensors whole; video and sound begin as such files do and cannot be played. Their `ui` is that of the real
 *   class: `images`, `images` with `animated`, `audio`, `3d`, `result`, `gifs`, `latents`, `text`.
 * - Switches, primitives and reroutes give on what comes in; lazy inputs run only if chosen.
 * - Everything else takes a little time, a partner's class two seconds, and gives values of its output types that follow
 *   from all that went in.
 *
 * Numbers that `JSON.parse` rounded (`18446744073709551615`) are exact again. What object_info does not tell is not
 * checked: rules of a class's own, other than that uploads exist. Throws an {@link ObjectInfoError}; {@link decode} does
 * not.
 *
 * ```ts
 * const info = JSON.parse(readFileSync("object_info.json", "utf8"))
 * ComfyTest.layer({ nodes: ObjectInfoNodes.fromObjectInfo(info), models: ObjectInfoNodes.modelFiles(info) })
 * ```
 */
export const fromObjectInfo = (info: unknown, options: Options = {}): ReadonlyArray<NodeClass> =>
  Result.getOrThrow(decode(info, options))

/**
 * The model files that an `object_info` lists, by folder, for the option `models` of a fake server: names alone, as
 * sizes do not stand there. Throws as {@link fromObjectInfo} does.
 */
export const modelFiles = (info: unknown): Readonly<Record<string, ReadonlyArray<string>>> => {
  const folders = new Map<string, Set<string>>()
  for (const [name, { inputs }] of Result.getOrThrow(readAll(info))) {
    for (const input of inputs) {
      const folder = folderOf(name, input)
      if (folder === undefined || input.kind._tag !== "Combo") continue
      const files = folders.get(folder) ?? new Set()
      for (const option of input.kind.options) if (typeof option === "string") files.add(option)
      folders.set(folder, files)
    }
  }
  return Object.fromEntries([...folders].map(([folder, files]) => [folder, [...files].toSorted()]))
}
