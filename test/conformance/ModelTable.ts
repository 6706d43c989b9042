/** A second reading of which model files a graph names, from the table of the fixtures alone. */
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Graph, Value } from "./Graph.ts"

const decode = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.String)))
)

/** `class type → input → folder`, as measured against a real server. */
const table = decode(readFileSync(join(import.meta.dirname, "../fixtures/model-inputs.json"), "utf8"))

/** Values of listed inputs that name no file. */
const builtIn: ReadonlySet<string> = new Set(["pixel_space", "taesd", "taesdxl", "taesd3", "taef1", "taef2", "[None]"])

/** Whether an input names a model file, by the table. */
export const isListed = (classType: string, input: string): boolean =>
  Object.hasOwn(table, classType) && Object.hasOwn(table[classType] ?? {}, input)

/** The files that the table says a graph loads. */
export const listed = (graph: Graph): ReadonlySet<string> =>
  new Set(
    graph.nodes.flatMap(({ classType, inputs }) =>
      inputs.flatMap(([name, value]) =>
        typeof value === "string" && isListed(classType, name) && !builtIn.has(value) ? [value] : []
      )
    )
  )

const extension = /\.(safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx|pkl|npz|engine|trt)$/i

const leaves = (value: Value): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(leaves) : []
}

/** Every text of an input that the table does not list and that ends like a model file: these may be named, too. */
export const possible = (graph: Graph): ReadonlySet<string> =>
  new Set(
    graph.nodes.flatMap(({ classType, inputs }) =>
      inputs.flatMap(([name, value]) =>
        isListed(classType, name) ? [] : leaves(value).filter((text) => extension.test(text))
      )
    )
  )
