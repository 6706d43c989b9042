/**
 * What a workflow is, for machines: `content` tells whether two are the same job, `affinity` whether they want the same
 * models in memory, `models` which files those are. All of it of the nodes that are sent.
 */
import * as Result from "effect/Result"
import type { Classes } from "./ClassInfo.ts"
import { sha256 } from "./Digest.ts"
import { canonical } from "./internal/canonical.ts"
import { digest } from "./internal/wiring.ts"
import { namedBy } from "./ModelInputs.ts"
import type { Workflow } from "./Workflow.ts"
import { WorkflowError } from "./WorkflowError.ts"

/** `c1:` and 64 hexadecimal digits. */
export type ContentKey = `c1:${string}`

/** `a1:` and 64 hexadecimal digits. */
export type AffinityKey = `a1:${string}`

/**
 * SHA-256 of the RFC 8785 text of `{id: {class_type, inputs}}`: equal for the same ids, classes and inputs, whatever the
 * order of keys, titles and other members. `8` and `8.0` are one number. Beyond the RFC, integers past ±(2^53 − 1) are
 * their exact decimal digits, so seeds that differ by 1 differ. Fails with `NotHashable` and the path: NaN, an infinity,
 * a lone surrogate, more than 1,000 levels.
 */
export const content = (workflow: Workflow): Result.Result<ContentKey, WorkflowError> => {
  const text = canonical(workflow.nodes)
  return text instanceof Uint8Array
    ? Result.succeed<ContentKey>(`c1:${sha256(text)}`)
    : Result.fail(new WorkflowError({ reason: { _tag: "NotHashable", path: text } }))
}

/**
 * SHA-256 over classes, links, names of model files and the settings of their loaders (`type`, and names that end in
 * `dtype`, `device`, `precision`, `quantization`, `attention`). Independent of ids, seeds, texts, sizes, strengths and
 * the order of keys: jobs with one key run well on a server that has just run another of them. A loader that two nodes
 * share and two copies of it differ. Fails with `DanglingLink` and `Cycle`.
 */
export const affinity = (workflow: Workflow): Result.Result<AffinityKey, WorkflowError> =>
  Result.match(digest(workflow.nodes), {
    onFailure: (reason) => Result.fail(new WorkflowError({ reason })),
    onSuccess: (text) => Result.succeed<AffinityKey>(`a1:${sha256(text)}`)
  })

/**
 * The model files that the workflow names, each once and sorted: of ComfyUI's own loaders by a table, of other classes by
 * what `classes` says of them, else by extension. Nodes that are never reached count; `embedding:…` in a text does not.
 */
export const models = (workflow: Workflow, classes?: Classes): ReadonlyArray<string> => {
  const files = new Set<string>()
  for (const { class_type, inputs } of Object.values(workflow.nodes)) {
    for (const [inputName, value] of Object.entries(inputs)) {
      for (const file of namedBy(class_type, inputName, value, classes)) files.add(file)
    }
  }
  return [...files].toSorted()
}
