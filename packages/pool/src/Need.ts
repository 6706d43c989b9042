/** What a job asks of the server that runs it, and whether a server has it: facts about pairs, not failures. */
import type { Capabilities } from "@effect-comfyui/execution/Backend"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import type { Checked } from "./JobOptions.ts"

/** A model file that an input of a class names: `class/input`, as {@link Capabilities.files} has it. */
export interface NeededFile {
  readonly input: string
  readonly name: string
}

/** What one job asks for. Values: jobs of one placement share it. */
export interface Need {
  readonly exclude: ReadonlySet<BackendId>
  readonly prefer: ReadonlySet<BackendId>
  readonly tags: ReadonlyArray<string>
  readonly vramBytes: number
  readonly classes: ReadonlySet<string>
  readonly files: ReadonlyArray<NeededFile>
  /** Model files that options name without an input: any list may have them. */
  readonly models: ReadonlyArray<string>
  /** What the job says of its own time, milliseconds warm; counts until runs say more. */
  readonly estimateMs: number | null
}

/** The options that say something of servers. */
type Asking = Pick<Checked, "exclude" | "prefer" | "requires" | "limits">

/** What a workflow and its options ask for. */
export const of = (
  workflow: Workflow.Workflow,
  options: Asking
): Need => {
  const models = new Set(WorkflowKey.models(workflow))
  const classes = new Set<string>(options.requires.classes)
  const files: Array<NeededFile> = []
  for (const node of Object.values(workflow.nodes)) {
    classes.add(node.class_type)
    for (const [name, value] of Object.entries(node.inputs)) {
      if (typeof value === "string" && models.has(value)) {
        files.push({ input: `${node.class_type}/${name}`, name: value })
      }
    }
  }
  return {
    exclude: new Set(options.exclude),
    prefer: new Set(options.prefer),
    tags: options.requires.tags,
    vramBytes: options.requires.vramBytes,
    classes,
    files,
    models: options.requires.models,
    estimateMs: options.limits.estimateMs
  }
}

/** What is asked of servers beside the workflow's classes and files, as text: `""` for nothing, which is the common case. */
export const placementOf = ({ exclude, limits, prefer, requires }: Asking): string => {
  const { classes, models, tags, vramBytes } = requires
  const estimateMs = limits.estimateMs ?? 0
  const lists = [exclude, prefer, tags, classes, models]
  if (estimateMs + vramBytes === 0 && lists.every((one) => one.length === 0)) return ""
  return JSON.stringify([...lists.map((one) => one.toSorted()), vramBytes, estimateMs])
}

/** What a pool knows of a server beside its state. Unknown figures speak against nobody. */
export interface Offered {
  readonly id: BackendId
  readonly tags: ReadonlySet<string>
  readonly vramBytes: number | undefined
  readonly capabilities: Capabilities | undefined
  /** A refusal said lately that it has no class or file of this name. */
  readonly isMissing: (name: string) => boolean
}

const few = (names: ReadonlyArray<string>): string =>
  names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "")

const hasModel = ({ files }: Capabilities, name: string): boolean => {
  for (const names of files.values()) if (names.includes(name)) return true
  return false
}

/** Why this server cannot run the job; undefined where nothing is known that speaks against it. */
export const lacks = (need: Need, server: Offered): string | undefined => {
  if (need.exclude.has(server.id)) return "excluded by the job"
  const tags = need.tags.filter((tag) => !server.tags.has(tag))
  if (tags.length > 0) return `has no tag ${few(tags)}`
  if (server.vramBytes !== undefined && server.vramBytes < need.vramBytes) {
    return `has ${server.vramBytes} of ${need.vramBytes} bytes of VRAM`
  }
  const { capabilities, isMissing } = server
  const classes = [...need.classes].filter((name) => isMissing(name) || capabilities?.classes.has(name) === false)
  if (classes.length > 0) return `has no class ${few(classes)}`
  const files = need.files.filter(({ input, name }) =>
    isMissing(name) || capabilities?.files.get(input)?.includes(name) === false
  )
  const models = need.models.filter((name) =>
    isMissing(name) || (capabilities !== undefined && !hasModel(capabilities, name))
  )
  const missing = [...files.map(({ name }) => name), ...models]
  return missing.length > 0 ? `has no file ${few(missing)}` : undefined
}
