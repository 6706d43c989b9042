/**
 * A node class of the fake server: its declaration, from which object_info, validation and cache keys follow, and what
 * it does, as a function from inputs to a {@link Plan}.
 */
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import { Float, fromJs, isDict, isList, numeric, type Py, toJs } from "./internal/py.ts"
import { str } from "./internal/pyText.ts"
import { Picture } from "./Picture.ts"
import { Link, type Plan } from "./Plan.ts"

/** One declared input: its type in object_info, its options, and how a value becomes what `run` gets. */
export interface Input<A> {
  /** `"INT"`, `"IMAGE"`, `"A,B"`, `"*"`; for a combo its values, or the folder that lists them. */
  readonly type: string | Combo
  readonly options: Readonly<Record<string, unknown>>
  /** An old-style class shows its empty options too, as PreviewAny does, if this is `false`. */
  readonly bare?: boolean
  /** A value that has passed validation. None is a Python error of the node, as with a text where a model belongs. */
  readonly decode: (value: unknown) => Option.Option<A>
}

/** A closed list of values, or the names of a folder of the server (`input`, `checkpoints`, …) at the time of asking. */
export type Combo =
  | { readonly _tag: "Values"; readonly values: ReadonlyArray<string | number | boolean> }
  | { readonly _tag: "Folder"; readonly folder: string; readonly first?: ReadonlyArray<string> }

/** Options that object_info shows beside the type: `default`, `min`, `max`, `step`, `tooltip` and any other. */
export type InputOptions = Readonly<Record<string, unknown>>

const number = (value: unknown): Option.Option<number> => {
  const found = numeric(value)
  return found === undefined ? Option.none() : Option.some(Number(found))
}

/** INT: a `number`, a `bigint` beyond 2^53. */
export const int = (options: InputOptions = {}): Input<number | bigint> => ({
  type: "INT",
  options,
  decode: (value) =>
    typeof value === "bigint" || typeof value === "number"
      ? Option.some(value)
      : Option.map(number(value), Math.trunc)
})

/** FLOAT: a `number`. Whole numbers among the options are shown with their point, as Python does. */
export const float = (options: InputOptions = {}): Input<number> => ({ type: "FLOAT", options, decode: number })

/** STRING. */
export const string = (options: InputOptions = {}): Input<string> => ({
  type: "STRING",
  options,
  decode: (value) => (typeof value === "string" ? Option.some(value) : Option.some(str(fromJs(value))))
})

/** BOOLEAN. */
export const boolean = (options: InputOptions = {}): Input<boolean> => ({
  type: "BOOLEAN",
  options,
  decode: (value) => (typeof value === "boolean" ? Option.some(value) : Option.none())
})

const text = (value: unknown): Option.Option<string> =>
  typeof value === "string" ? Option.some(value) : Option.some(str(fromJs(value)))

/** A choice among fixed values. */
export const combo = (
  values: ReadonlyArray<string | number | boolean>,
  options: InputOptions = {}
): Input<string> => ({ type: { _tag: "Values", values }, options, decode: text })

/** A choice among the files of a folder: `input` or a model folder. `first` names stand before them. */
export const folder = (
  name: string,
  options: InputOptions = {},
  first?: ReadonlyArray<string>
): Input<string> => ({
  type: first === undefined ? { _tag: "Folder", folder: name } : { _tag: "Folder", folder: name, first },
  options,
  decode: text
})

/** IMAGE, by link. */
export const image = (options: InputOptions = {}): Input<Picture> => ({
  type: "IMAGE",
  options,
  decode: (value) => (value instanceof Picture ? Option.some(value) : Option.none())
})

/** MASK, by link. */
export const mask = (options: InputOptions = {}): Input<Picture> => ({ ...image(options), type: "MASK" })

/** Any other type, by link; the value is what the other node returned. `decode` narrows it. */
export const link = <A = unknown>(
  type: string,
  decode: (value: unknown) => Option.Option<A>,
  options: InputOptions = {}
): Input<A> => ({ type, options, decode })

/**
 * An input that is evaluated only if the node asks for it, by {@link Definition.needs}: what leads to it alone may never
 * run. `undefined` until then, and for good if it is not asked for.
 */
export const lazy = <A>(input: Input<A>): Input<A | undefined> => ({
  ...input,
  options: { ...input.options, lazy: true },
  decode: (value) => value === null || value === undefined ? Option.some(undefined) : input.decode(value)
})

/** The link itself in the place of what comes over it: `rawLink` of nodes that copy parts of the prompt. */
export const rawLink = (type: string, options: InputOptions = {}): Input<Link> =>
  link(type, (value) => (value instanceof Link ? Option.some(value) : Option.none()), { ...options, rawLink: true })

/** `*`: whatever comes, literal or link; Python floats, dicts and lists arrive as JavaScript's. */
export const any = (options: InputOptions = {}): Input<unknown> => ({
  type: "*",
  options,
  decode: (value) => Option.some(value instanceof Float || isDict(value) || isList(value) ? toJs(value) : value)
})

/** One declared output. */
export interface Output {
  readonly type: string
  /** Its name in object_info; the type, if absent. */
  readonly name?: string
  /** The node returns an array, and what follows runs once per item. */
  readonly list?: boolean
}

/** A whole number that the server holds and writes as a float: `1.0`. */
export const asFloat = (value: number): unknown => new Float(value)

/** Hidden inputs that a class asks for: they stand in object_info and in the inputs of an error. */
export type Hidden = "PROMPT" | "EXTRA_PNGINFO" | "UNIQUE_ID" | "DYNPROMPT"

/** Where a picture is saved. */
export interface SaveRequest {
  readonly picture: Picture
  readonly prefix: string
  readonly folder: "output" | "temp"
  readonly text?: Readonly<Record<string, string>>
  /** One file of another kind in the place of a PNG per image; `picture` then only says how large it is. */
  readonly file?: { readonly extension: string; readonly bytes: Uint8Array }
}

/** A file as `ui.images` names it. */
export interface SavedFile {
  readonly filename: string
  readonly subfolder: string
  readonly type: string
}

/** What a running node sees of its server besides its inputs. */
export interface NodeContext {
  readonly promptId: string
  readonly nodeId: string
  /** How often this node runs within this execution because an input is a list: 0 for the first item. */
  readonly item: number
  /** Five letters that stay with a node of this id as long as successive prompts have it. */
  readonly letters: string
  /** `extra_data` of the prompt, as JavaScript values. */
  readonly extraData: unknown
  /** The whole prompt with its nodes in their order; what SaveImage writes into its files. */
  readonly prompt: ReadonlyMap<string, unknown>
  /** A node by its id, also one that an expansion brought in; links among its inputs are {@link Link}s. */
  readonly nodeAt: (
    id: string
  ) => { readonly class: string; readonly inputs: Readonly<Record<string, unknown>> } | undefined
  /** The keys that the server took out of `extra_data`: hidden inputs of paid nodes. */
  readonly secrets: ReadonlyMap<string, string>
  /** Bytes of a model file in a folder; undefined if the server has no such file. */
  readonly modelBytes: (folder: string, name: string) => number | undefined
  /** What reading these bytes from disk costs, and one evaluation of a sampler on so many pixels, in milliseconds. */
  readonly diskMs: (bytes: number) => number
  readonly stepMs: (pixels: number) => number
  /** Working memory for so many pixels, bytes. */
  readonly workBytes: (pixels: number) => number
  /** Whether previews are asked for, and the longest side they may have. */
  readonly previews: { readonly enabled: boolean; readonly size: number }
  /** A file by the name that LoadImage gets, with folder and ` [type]` behind it. */
  readonly readFile: (annotated: string) => Option.Option<Uint8Array>
  /** Saves each image of a batch under the next free numbers; fails with Python's text if the prefix leaves the folder. */
  readonly save: (request: SaveRequest) => Result.Result<ReadonlyArray<SavedFile>, string>
}

/** A node class without its types: what a server holds. */
export interface NodeClass {
  readonly class: string
  readonly required: Readonly<Record<string, Input<unknown>>>
  readonly optional: Readonly<Record<string, Input<unknown>>>
  readonly hidden: Readonly<Record<string, Hidden>>
  readonly outputs: ReadonlyArray<Output>
  readonly outputNode: boolean
  /** Gets every input as the whole list. */
  readonly inputIsList: boolean
  /** Runs beside other nodes of the same prompt. */
  readonly async: boolean
  /** Names of the lazy inputs. */
  readonly lazy: ReadonlySet<string>
  /** Which of them it wants evaluated, given those that have been; asked again until it names no other. */
  readonly needs: ((inputs: ReadonlyMap<string, unknown>) => ReadonlyArray<string>) | undefined
  /** Part of the cache key: a text that changes with what the inputs do not show; `never` is never cached. */
  readonly changed: ((inputs: ReadonlyMap<string, unknown>, context: FileContext) => string | "never") | undefined
  /** Names of inputs that are checked by `validate` alone: no minimum, maximum or list counts for them. */
  readonly validates: ReadonlyArray<string>
  readonly validate: ((name: string, value: unknown, context: FileContext) => true | string) | undefined
  readonly info: NodeInfo
  /**
   * What is declared given the values in a prompt, where that depends on them: a list that grows, a choice that brings
   * further inputs. Absent: `required` and `optional`.
   */
  readonly declare?: (inputs: ReadonlyMap<string, unknown>) => Declared
  /** What object_info shows in the place of what follows from the rest: an entry of another server's. */
  readonly signature?: object
  readonly run: (inputs: ReadonlyMap<string, unknown>, context: NodeContext) => Plan
}

/** Inputs by their names in a prompt. */
export interface Declared {
  readonly required: Readonly<Record<string, Input<unknown>>>
  readonly optional: Readonly<Record<string, Input<unknown>>>
}

/** What a class may look at before a run. */
export type FileContext = Pick<NodeContext, "readFile">

/** How object_info describes a class. `style` is the way it is written in Python: V3 shows every key. */
export interface NodeInfo {
  readonly style: "V1" | "V3"
  readonly displayName: string | null
  readonly category: string
  readonly module: string
  readonly description: string
  readonly searchAliases: ReadonlyArray<string> | undefined
  readonly essentials: string | undefined
  readonly deprecated: boolean
  /** Calls a paid partner: `api_node` in object_info. */
  readonly paid: boolean
  /** Other names in releases before the given one, oldest first. */
  readonly before: ReadonlyArray<{
    readonly version: string
    readonly displayName?: string | null
    readonly category?: string
    readonly outputs?: ReadonlyArray<Output>
    readonly style?: "V1" | "V3"
  }>
}

type Values<Inputs extends Readonly<Record<string, Input<unknown>>>> = {
  readonly [K in keyof Inputs]: Inputs[K] extends Input<infer A> ? A : never
}

type Lists<Inputs extends Readonly<Record<string, Input<unknown>>>> = {
  readonly [K in keyof Inputs]: Inputs[K] extends Input<infer A> ? ReadonlyArray<A> : never
}

/** A typed definition, see {@link define}. */
export interface Definition<
  Required extends Readonly<Record<string, Input<unknown>>>,
  Optional extends Readonly<Record<string, Input<unknown>>>,
  ListMode extends boolean
> {
  readonly class: string
  readonly required?: Required
  readonly optional?: Optional
  readonly hidden?: Readonly<Record<string, Hidden>>
  readonly outputs?: ReadonlyArray<Output | string>
  readonly outputNode?: boolean
  readonly inputIsList?: ListMode
  readonly async?: boolean
  /**
   * `check_lazy_status`: names of {@link lazy} inputs that are to be evaluated, given those that have been. Asked again
   * with them until it names no other; without it lazy inputs are never evaluated.
   */
  readonly needs?: (
    inputs: ListMode extends true ? Lists<Required> & Partial<Lists<Optional>>
      : Values<Required> & Partial<Values<Optional>>
  ) => ReadonlyArray<string>
  readonly changed?: (inputs: ReadonlyMap<string, unknown>, context: FileContext) => string | "never"
  readonly validates?: ReadonlyArray<string>
  readonly validate?: (name: string, value: unknown, context: FileContext) => true | string
  readonly info?: Partial<NodeInfo>
  readonly run: (
    inputs: ListMode extends true ? Lists<Required> & Partial<Lists<Optional>>
      : Values<Required> & Partial<Values<Optional>>,
    context: NodeContext
  ) => Plan
}

const pythonTypeError = (name: string, value: unknown): Plan => ({
  steps: [],
  end: {
    _tag: "Raise",
    type: "AttributeError",
    message: `'${value instanceof Picture ? "Tensor" : pyTypeOf(value)}' object has no attribute '${name}'`,
    traceback: undefined
  }
})

const pyTypeOf = (value: unknown): string => {
  const py: Py = fromJs(value)
  if (py === null) return "NoneType"
  return typeof py === "string" ? "str" : isDict(py) ? "dict" : isList(py) ? "list" : "int"
}

/**
 * A node class with typed inputs. `run` is called once per execution (once per item where an input is a list) when the
 * node starts, and returns what happens from then on as a {@link Plan}; it must not keep or change anything outside.
 *
 * ```ts
 * const shout = NodeClass.define({
 *   class: "Shout",
 *   required: { text: NodeClass.string({ default: "hello" }) },
 *   outputs: ["STRING"],
 *   run: ({ text }) => Plan.returns([text.toUpperCase()])
 * })
 * ```
 */
export const define = <
  Required extends Readonly<Record<string, Input<unknown>>> = {},
  Optional extends Readonly<Record<string, Input<unknown>>> = {},
  ListMode extends boolean = false
>(definition: Definition<Required, Optional, ListMode>): NodeClass => {
  const required: Readonly<Record<string, Input<unknown>>> = definition.required ?? {}
  const optional: Readonly<Record<string, Input<unknown>>> = definition.optional ?? {}
  type Given = Parameters<typeof definition.run>[0]
  const lazyNames = new Set<string>()
  for (const [name, input] of Object.entries({ ...required, ...optional })) {
    if (input.options["lazy"] === true) lazyNames.add(name)
  }
  /** The inputs with their types, or the plan of the Python error that one of them is. */
  const typed = (inputs: ReadonlyMap<string, unknown>): { readonly given: Given } | { readonly error: Plan } => {
    const given: Record<string, unknown> = {}
    for (const [name, value] of inputs) {
      const input = Object.hasOwn(required, name)
        ? required[name]
        : Object.hasOwn(optional, name)
        ? optional[name]
        : undefined
      if (input === undefined) continue
      if (definition.inputIsList === true && Array.isArray(value)) {
        const items: Array<unknown> = []
        for (const item of value) {
          const decoded = input.decode(item)
          if (Option.isNone(decoded)) return { error: pythonTypeError(name, item) }
          items.push(decoded.value)
        }
        given[name] = items
      } else {
        const decoded = input.decode(value)
        if (Option.isNone(decoded)) return { error: pythonTypeError(name, value) }
        given[name] = decoded.value
      }
    }
    return { given: given as Given }
  }
  const run = (inputs: ReadonlyMap<string, unknown>, context: NodeContext): Plan => {
    const found = typed(inputs)
    return "error" in found ? found.error : definition.run(found.given, context)
  }
  const { needs } = definition
  return {
    class: definition.class,
    required,
    optional,
    hidden: definition.hidden ?? {},
    outputs: (definition.outputs ?? []).map((output) => (typeof output === "string" ? { type: output } : output)),
    outputNode: definition.outputNode ?? false,
    inputIsList: definition.inputIsList ?? false,
    async: definition.async ?? false,
    lazy: lazyNames,
    needs: needs === undefined ? undefined : (inputs) => {
      const found = typed(inputs)
      return "error" in found ? [] : needs(found.given)
    },
    changed: definition.changed,
    validates: definition.validates ?? [],
    validate: definition.validate,
    info: {
      style: "V1",
      displayName: definition.class,
      category: "fake",
      module: "custom_nodes.fake",
      description: "",
      searchAliases: undefined,
      essentials: undefined,
      deprecated: false,
      paid: false,
      before: [],
      ...definition.info
    },
    run
  }
}
