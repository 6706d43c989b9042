/**
 * What a fake node does when it runs, as data: steps in time, then an end. The server plays a plan on its own clock, so
 * a sampler of ten minutes is a value, and a test under virtual time sees each of its frames.
 */
import type { Weights } from "./Hardware.ts"
import type { Picture } from "./Picture.ts"

/** Who gets a frame: the socket of the prompt's `client_id` (everyone, if the prompt has none), or every socket. */
export type Audience = "client" | "everyone"

/** One step of a plan. Times are milliseconds of the server's clock, before the server's `speed`. */
export type Step =
  /** Time passes. With `watches` the node looks at the interrupt flag all the while and ends at once. */
  | { readonly _tag: "Wait"; readonly ms: number; readonly watches: boolean }
  /** A progress callback: looks at the interrupt flag, then sends `progress_state`, the preview and `progress`. */
  | { readonly _tag: "Progress"; readonly value: number; readonly max: number; readonly preview?: Preview }
  /** Binary type 3. `node` is another node's id, if not the running one's. */
  | { readonly _tag: "Text"; readonly text: string; readonly to: Audience; readonly node?: string }
  /** An event of a third party: any type, any data, also data that JSON cannot hold (a `Uint8Array`: the server dies). */
  | { readonly _tag: "Event"; readonly type: string; readonly data: unknown; readonly to: Audience }
  /** A binary frame as it is, event type word included. */
  | { readonly _tag: "Binary"; readonly bytes: Uint8Array; readonly to: Audience }
  /** A file that the node writes into a folder of the server; a path out of the folder fails the node. */
  | {
    readonly _tag: "File"
    readonly folder: "input" | "output" | "temp"
    readonly path: string
    readonly bytes: Uint8Array
  }
  /** A line of the server's log. */
  | { readonly _tag: "Log"; readonly text: string }
  /**
   * Models are needed in VRAM, beside `workBytes` of working memory: what is not there is moved, the least recently used
   * ones make room, and the node runs out of memory where that is not enough. Costs nothing on a server without VRAM.
   */
  | { readonly _tag: "Load"; readonly models: ReadonlyArray<Loaded>; readonly workBytes: number }

/** Weights as a node uses them: `variant` names the patches on them (LoRAs), another one means moving them anew. */
export interface Loaded {
  readonly weights: Weights
  readonly variant: string
}

/** A preview picture: JPEG as from a sampler, PNG as from SaveImageWebsocket. */
export interface Preview {
  readonly format: "JPEG" | "PNG"
  readonly picture: Picture
  /** Which image of the picture's batch; 0 by default. */
  readonly index?: number
}

/** How a plan ends. */
export type End =
  /** One value per output; for an output that is a list, an array. `ui` is what `executed` and history show. */
  | {
    readonly _tag: "Return"
    readonly outputs: ReadonlyArray<unknown>
    readonly ui: Readonly<Record<string, unknown>> | undefined
  }
  /** A Python exception: `execution_error`. `message` and `type` as Python would show them. */
  | {
    readonly _tag: "Raise"
    readonly type: string
    readonly message: string
    readonly traceback: ReadonlyArray<string> | undefined
  }
  /** More nodes in the place of this one: see {@link expands}. */
  | {
    readonly _tag: "Expand"
    readonly nodes: Readonly<Record<string, ExpandedNode>>
    readonly outputs: ReadonlyArray<unknown>
    readonly ui: Readonly<Record<string, unknown>> | undefined
  }
  /** An ExecutionBlocker on every output: what follows is skipped, with a warning if there is a message. */
  | { readonly _tag: "Block"; readonly message: string | undefined }
  /** The prompt is interrupted as by `POST /interrupt`. */
  | { readonly _tag: "Interrupt" }
  /** The worker thread ends: prompts are taken and never run from now on, and HTTP is well. */
  | { readonly _tag: "KillWorker" }
  /** The process ends: sockets close with 1006, nothing answers until it is started again. */
  | { readonly _tag: "Exit" }

/** A link to an output of a node that is in the prompt: what an input of {@link NodeClass.rawLink} gets. */
export class Link {
  readonly node: string
  readonly slot: number
  constructor(node: string, slot: number) {
    this.node = node
    this.slot = slot
  }
}

/** An output of a node of the same expansion, by the name that the expansion gives it. */
export class Out {
  readonly name: string
  readonly slot: number
  constructor(name: string, slot: number) {
    this.name = name
    this.slot = slot
  }
}

/** One node that an expansion adds. */
export interface ExpandedNode {
  /** A class of the server; its inputs are not validated. */
  readonly class: string
  /**
   * Literals, values of any kind (a picture that came over a link), a {@link Link}, an {@link Out}. A node that is given
   * a value which is no literal is never served from the cache, nor is what hangs on it.
   */
  readonly inputs: Readonly<Record<string, unknown>>
  /** Id of the node that stands for this one in `display_node`; the expanding node, if absent. */
  readonly display?: string
}

/** What a node does: its steps in order, then its end. */
export interface Plan {
  readonly steps: ReadonlyArray<Step>
  readonly end: End
}

const noSteps: ReadonlyArray<Step> = []

/** Returns these outputs, after these steps. */
export const returns = (
  outputs: ReadonlyArray<unknown>,
  options?: { readonly ui?: Readonly<Record<string, unknown>>; readonly steps?: ReadonlyArray<Step> }
): Plan => ({ steps: options?.steps ?? noSteps, end: { _tag: "Return", outputs, ui: options?.ui } })

/** Raises a Python exception. `type` is its full name, `ValueError` or `torch.OutOfMemoryError`. */
export const raises = (
  type: string,
  message: string,
  options?: { readonly traceback?: ReadonlyArray<string>; readonly steps?: ReadonlyArray<Step> }
): Plan => ({ steps: options?.steps ?? noSteps, end: { _tag: "Raise", type, message, traceback: options?.traceback } })

/**
 * Puts other nodes in the place of this one, as a subgraph or one pass of a loop does. A node of the name `n` gets the id
 * `<id of this node>.<item>.0.n`; `outputs` are values, or an {@link out} of one of the new nodes that this node then
 * gives on as its own. Output nodes among the new ones run, others where something needs them.
 *
 * ```ts
 * run: ({ image }) => Plan.expands({
 *   nodes: {
 *     blur: { class: "ImageBlur", inputs: { image, blur_radius: 4, sigma: 1 } },
 *     invert: { class: "ImageInvert", inputs: { image: Plan.out("blur") } }
 *   },
 *   outputs: [Plan.out("invert")]
 * })
 * ```
 */
export const expands = (expansion: {
  readonly nodes: Readonly<Record<string, ExpandedNode>>
  readonly outputs: ReadonlyArray<unknown>
  readonly ui?: Readonly<Record<string, unknown>>
  readonly steps?: ReadonlyArray<Step>
}): Plan => ({
  steps: expansion.steps ?? noSteps,
  end: { _tag: "Expand", nodes: expansion.nodes, outputs: expansion.outputs, ui: expansion.ui }
})

/** Output `slot` (0 by default) of a node of the same expansion. */
export const out = (name: string, slot = 0): Out => new Out(name, slot)

/** Models that the node needs in VRAM from here on, and its working memory in bytes. Costs nothing without VRAM. */
export const load = (
  models: ReadonlyArray<{ readonly weights: Weights | undefined; readonly key: string }>,
  workBytes = 0
): Step => {
  const loaded: Array<Loaded> = []
  for (const { key, weights } of models) if (weights !== undefined) loaded.push({ weights, variant: key })
  return { _tag: "Load", models: loaded, workBytes }
}

/** Runs out of memory as torch says it. */
export const outOfMemory = (options?: { readonly message?: string; readonly steps?: ReadonlyArray<Step> }): Plan =>
  raises(
    "torch.OutOfMemoryError",
    options?.message ?? "Allocation on device 0 would exceed allowed memory. (out of memory)",
    options
  )

/** Ends otherwise: blocker, interrupt, the worker's or the process's death. */
export const ends = (end: End, steps: ReadonlyArray<Step> = noSteps): Plan => ({ steps, end })

/** Time passes; with `watches` an interrupt ends it at once. */
export const wait = (ms: number, options?: { readonly watches?: boolean }): Step => ({
  _tag: "Wait",
  ms,
  watches: options?.watches ?? false
})

/** The node writes a file, of which its `ui` may tell: what a node for videos or sound does. */
export const file = (folder: "input" | "output" | "temp", path: string, bytes: Uint8Array): Step => ({
  _tag: "File",
  folder,
  path,
  bytes
})

/** `count` equal steps, each: time, then progress, with a preview where `preview` gives one. */
export const progress = (options: {
  readonly count: number
  readonly ms: number
  readonly preview?: (step: number) => Preview | undefined
}): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  for (let value = 1; value <= options.count; value++) {
    if (options.ms > 0) steps.push(wait(options.ms))
    const preview = options.preview?.(value)
    steps.push(
      preview === undefined
        ? { _tag: "Progress", value, max: options.count }
        : { _tag: "Progress", value, max: options.count, preview }
    )
  }
  return steps
}
