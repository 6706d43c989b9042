/** Nodes for texts and numbers, which really compute. */
import * as Option from "effect/Option"
import { valueText } from "./internal/failure.ts"
import { Float, fromJs, isDict, isInt, isList } from "./internal/py.ts"
import { dumps } from "./internal/pyJson.ts"
import * as NodeClass from "./NodeClass.ts"
import { Picture } from "./Picture.ts"
import * as Plan from "./Plan.ts"

const string = "comfy_extras.nodes_string"
const primitive = "comfy_extras.nodes_primitive"

const stringConcatenate = NodeClass.define({
  class: "StringConcatenate",
  required: {
    string_a: NodeClass.string({ multiline: true }),
    string_b: NodeClass.string({ multiline: true }),
    delimiter: NodeClass.string({ default: "", multiline: false })
  },
  outputs: ["STRING"],
  info: {
    style: "V3",
    displayName: "Concatenate Text",
    category: "text",
    module: string,
    searchAliases: [
      "concatenate",
      "text concat",
      "join text",
      "merge text",
      "combine strings",
      "string concat",
      "append text",
      "combine text"
    ],
    before: [
      { version: "0.20.0", displayName: "Concatenate", category: "utils/string" },
      { version: "0.28.0", displayName: "Concatenate Text", category: "text" }
    ]
  },
  run: ({ delimiter, string_a, string_b }) => Plan.returns([`${string_a}${delimiter}${string_b}`])
})

const stringLength = NodeClass.define({
  class: "StringLength",
  required: { string: NodeClass.string({ multiline: true }) },
  outputs: [{ type: "INT", name: "length" }],
  info: {
    style: "V3",
    displayName: "Text Length",
    category: "text",
    module: string,
    before: [{ version: "0.20.0", displayName: "Length", category: "utils/string" }]
  },
  run: ({ string }) => Plan.returns([Array.from(string).length])
})

const maxInt = 9_223_372_036_854_775_807n

const primitiveInt = NodeClass.define({
  class: "PrimitiveInt",
  required: {
    value: NodeClass.int({ min: -maxInt, max: maxInt, control_after_generate: "fixed" })
  },
  outputs: ["INT"],
  info: { style: "V3", displayName: "Int", category: "utilities/primitive", module: primitive },
  run: ({ value }) => Plan.returns([value])
})

const primitiveString = NodeClass.define({
  class: "PrimitiveString",
  required: { value: NodeClass.string({ multiline: false }) },
  outputs: ["STRING"],
  info: { style: "V3", displayName: "Text", category: "utilities/primitive", module: primitive },
  run: ({ value }) => Plan.returns([value])
})

/** A value as PreviewAny writes it: texts and numbers as they are, the rest as JSON if it can be, else as printed. */
const shown = (value: unknown): string => {
  if (typeof value === "string") return value
  if (value instanceof Float || isInt(value) || typeof value === "boolean" || value === null) return valueText(value)
  if (value instanceof Picture) return valueText(value)
  const py = fromJs(value)
  return isDict(py) || isList(py) ? Option.getOrElse(dumps(py), () => valueText(value)) : valueText(value)
}

const previewAny = NodeClass.define({
  class: "PreviewAny",
  required: { source: { ...NodeClass.link("*", Option.some), bare: false } },
  outputs: ["STRING"],
  outputNode: true,
  info: {
    displayName: "Preview as Text",
    category: "utilities",
    module: "comfy_extras.nodes_preview_any",
    before: [{ version: "0.20.0", displayName: "Preview Any", category: "utils", outputs: [] }]
  },
  run: ({ source }) => {
    const text = shown(source)
    return Plan.returns([text], { ui: { text: [text] } })
  }
})

/** StringConcatenate, StringLength, PrimitiveInt, PrimitiveString, PreviewAny. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  stringConcatenate,
  stringLength,
  primitiveInt,
  primitiveString,
  previewAny
]
