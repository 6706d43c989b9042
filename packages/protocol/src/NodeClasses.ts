/** The classes of a server as edits and keys of `@effect-comfyui/workflow` want to know them. */
import type { Classes, ClassInfo, ClassInput } from "@effect-comfyui/workflow/ClassInfo"
import * as Json from "@effect-comfyui/workflow/Json"
import * as NodeInputs from "./NodeInputs.ts"
import * as ObjectInfo from "./ObjectInfo.ts"

/** Types for which the editor shows a field; every other one has a socket. */
const widgets: ReadonlySet<string> = new Set(["INT", "FLOAT", "STRING", "BOOLEAN", "COLOR"])

const union = (types: ReadonlyArray<string>): string => types.length === 0 ? "*" : types.join(",")

const classInputs = (prefix: string) => (input: NodeInputs.Input): ReadonlyArray<ClassInput> => {
  const { kind } = input
  const name = prefix + input.name
  const socket = (types: ReadonlyArray<string>): ClassInput => ({
    name,
    type: union(types),
    widget: false,
    options: []
  })
  const below = (inputs: ReadonlyArray<NodeInputs.Input>) => inputs.flatMap(classInputs(`${name}.`))
  switch (kind._tag) {
    case "Plain": {
      const [type = "*"] = kind.types
      const forced = Json.get(input.options, "forceInput") === true
      return [{ ...socket(kind.types), widget: kind.types.length === 1 && widgets.has(type) && !forced }]
    }
    case "Combo":
      return [{ name, type: "COMBO", widget: true, options: kind.options }]
    case "Autogrow": {
      const [template] = kind.template
      return template === undefined
        ? []
        : kind.names.flatMap((grown) => classInputs(`${name}.`)({ ...template, name: grown }))
    }
    case "DynamicCombo": {
      const key: ClassInput = { name, type: "COMBO", widget: true, options: kind.branches.map((branch) => branch.key) }
      // Branches may name the same input: the first one's stands for all.
      const byName = new Map<string, ClassInput>()
      for (const one of kind.branches.flatMap((branch) => below(branch.inputs))) {
        if (!byName.has(one.name)) byName.set(one.name, one)
      }
      return [key, ...byName.values()]
    }
    case "DynamicSlot":
      return [socket(kind.types), ...below(kind.inputs)]
    case "MatchType":
    case "Unknown":
      return [socket(kind._tag === "MatchType" ? kind.types : [])]
  }
}

/** One class: inputs in the order of the editor, dynamic ones under every name that a prompt may use. */
export const classInfo = (info: ObjectInfo.NodeInfo): ClassInfo => ({
  inputs: NodeInputs.inputs(info).flatMap(classInputs("")),
  outputs: ObjectInfo.outputs(info).map((output) => output.type)
})

/** All classes of a server; each is read when it is first asked for. Keeps `info`, which can be megabytes. */
export const fromObjectInfo = (info: ObjectInfo.ObjectInfo): Classes => {
  const known = new Map<string, ClassInfo>()
  return (classType) => {
    const before = known.get(classType)
    if (before !== undefined) return before
    const found = ObjectInfo.find(info, classType)
    if (found === undefined) return undefined
    const made = classInfo(found)
    known.set(classType, made)
    return made
  }
}
