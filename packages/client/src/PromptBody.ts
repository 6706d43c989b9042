/** The body of `POST /prompt`, as text: what is sent is what was read, digit for digit. */
import * as Json from "@effect-comfyui/workflow/Json"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Redacted from "effect/Redacted"
import type { Notice } from "./Run.ts"

/** What a prompt may say beside its graph. */
export interface PromptOptions {
  /** Explicit place in the queue: the lowest runs first, equal ones in the order of their ids. */
  readonly number?: number
  /** Before everything that waits now. Ignored with `number`. */
  readonly front?: boolean
  /** Run only what these output nodes need (0.3.48 and later). */
  readonly targets?: ReadonlyArray<string>
  /** Latent previews of this prompt (0.5 and later). */
  readonly previewMethod?: "default" | "none" | "auto" | "latent2rgb" | "taesd"
  /** The editor's document, to be embedded in the pictures. Everybody who can read the queue can read it, and it stays
   * in the server's memory with the history: left out unless asked for. */
  readonly uiWorkflow?: Json.JsonObject
  /**
   * Further members of `extra_data`. **Every client of the server can read them** in queue, history and jobs: no
   * secrets. A name that looks like one leads to a `Warning`.
   */
  readonly extraData?: Json.JsonObject
}

/** What is known when the prompt goes out. */
export interface PromptEnvelope {
  readonly workflow: Workflow
  readonly promptId: string
  readonly clientId: string
  /** Sent under the one name that servers strip from what they show. */
  readonly comfyOrgApiKey: Redacted.Redacted<string> | undefined
}

/** Servers from 0.14 to 0.33 fail on a replaced node without it. */
const withMeta = ({ nodes }: Workflow): Json.JsonObject =>
  Object.fromEntries(
    Object.entries(nodes).map(([id, node]) => [
      id,
      node._meta === undefined ? { ...node, _meta: { title: node.class_type } } : node
    ])
  )

const extraData = (
  { comfyOrgApiKey }: PromptEnvelope,
  { extraData, previewMethod, uiWorkflow }: PromptOptions
): Json.JsonObject => ({
  ...extraData,
  ...(previewMethod === undefined ? {} : { preview_method: previewMethod }),
  // Omitted, never null: a null here breaks the job list of the server for everybody.
  ...(uiWorkflow === undefined ? {} : { extra_pnginfo: { workflow: uiWorkflow } }),
  ...(comfyOrgApiKey === undefined ? {} : { api_key_comfy_org: Redacted.value(comfyOrgApiKey) })
})

/** The text to post. It may hold the key: it goes nowhere but into the request. */
export const make = (envelope: PromptEnvelope, options: PromptOptions): string => {
  const extra = extraData(envelope, options)
  return Json.stringify({
    prompt: withMeta(envelope.workflow),
    prompt_id: envelope.promptId,
    client_id: envelope.clientId,
    ...(options.number === undefined ? {} : { number: options.number }),
    ...(options.front === undefined ? {} : { front: options.front }),
    ...(options.targets === undefined ? {} : { partial_execution_targets: options.targets }),
    ...(Object.keys(extra).length === 0 ? {} : { extra_data: extra })
  })
}

const secretName = /pass(word|wd)?$|secret|token|api_?key|credential|authori[sz]ation|cookie/i

/** Warnings about members of `extra_data` that look like secrets and would be readable for everybody. */
export const secretWarnings = ({ extraData = {} }: PromptOptions): ReadonlyArray<Notice> =>
  Object.keys(extraData).filter((name) => secretName.test(name)).map((name) => ({
    code: "secret-in-extra-data",
    message: `extra_data.${name} looks like a secret, and every client of the server can read it`,
    nodeIds: []
  }))
