/** The one change to a workflow that makes a server write its files anew, and nothing else again. */
import * as Edit from "@effect-comfyui/workflow/Edit"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Result from "effect/Result"

/** A `%` would begin or end a pattern of the server (`%date%`), a slash a folder. */
const notInTag = /[^A-Za-z0-9_-]/g

/**
 * A server reads the last part of the path as the beginning of the name, slashes at its end aside. One that ends in `..`
 * means a folder by another way: it is left alone.
 */
const tagged = (prefix: string, tag: string): string | undefined => {
  const base = prefix.replace(/([/\\]\.?)+$/, "")
  if (/(^|[/\\])\.\.$/.test(base)) return undefined
  return base === "" || base === "." ? tag : `${base}-${tag}`
}

/**
 * The workflow with `-tag` after every `filename_prefix` that is a text: its folder and its patterns stay, the server's
 * cache does not know these nodes, and knows all before them. Of the tag, letters, digits, `_` and `-` count. Null if
 * nothing would be changed: no such input, or no such character.
 */
export const changedPrefix = (workflow: Workflow, tag: string): Workflow | null => {
  const safe = tag.replace(notInTag, "")
  const changes = Object.entries(workflow.nodes).flatMap(([nodeId, { inputs }]) => {
    const prefix = inputs["filename_prefix"]
    const changed = typeof prefix === "string" ? tagged(prefix, safe) : undefined
    return changed === undefined ? [] : [[nodeId, { filename_prefix: changed }] as const]
  })
  if (safe === "" || changes.length === 0) return null
  return Result.getOrElse(Edit.setInputs(workflow, Object.fromEntries(changes)), () => null)
}
