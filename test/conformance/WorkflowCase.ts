/** One workflow: the editor's file and the prompt that the real frontend makes of it. */
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { WorkflowError, WorkflowReason } from "@effect-comfyui/workflow/WorkflowError"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import canonicalize from "canonicalize"
import * as Result from "effect/Result"
import { createHash } from "node:crypto"
import { bigIntegers, canonical, equal, membersOf } from "./Exact.ts"
import { flaw, type Graph, isLink, plain, read, write } from "./Graph.ts"
import { listed, possible } from "./ModelTable.ts"
import type { Case, Outcome } from "./Outcome.ts"
import { alike, unlike } from "./Variants.ts"

/** Why a prompt cannot be a workflow, read from its text alone; undefined if it can. */
export const defect = (api: string): WorkflowReason["_tag"] | undefined => {
  const nodes = membersOf(api)
  if (nodes === undefined) return "NotAWorkflow"
  if (nodes.size === 0) return "Empty"
  if ([...nodes.values()].some((node) => membersOf(node)?.get("class_type")?.startsWith("\"") !== true)) {
    return "MissingClassType"
  }
  return flaw(
    new Map(
      read(api).nodes.map(({ id, inputs }) => [id, inputs.flatMap(([, value]) => isLink(value) ? [value[0]] : [])])
    )
  )
}

const reasonOf = (result: Result.Result<unknown, WorkflowError>): string =>
  Result.isFailure(result) ? result.failure.reason._tag : "nothing"

/** What is wrong with the content key. */
const contentProblem = (workflow: Workflow.Workflow, api: string, graph: Graph): string | undefined => {
  const key = Result.getOrUndefined(WorkflowKey.content(workflow))
  const [big] = bigIntegers(api)
  if (big === undefined) {
    const text = canonicalize(plain(graph)) ?? ""
    const reference = `c1:${createHash("sha256").update(text).digest("hex")}`
    return key === reference ? undefined : `the content key is ${key}, not ${reference}`
  }
  const next = Workflow.fromJson(api.replaceAll(big, String(BigInt(big) + 1n)))
  const other = Result.isSuccess(next) ? Result.getOrUndefined(WorkflowKey.content(next.success)) : undefined
  return key !== undefined && other !== undefined && key !== other
    ? undefined
    : `the content key of ${big} is that of ${big} + 1`
}

const affinityOf = (graph: Graph): string | undefined => {
  const workflow = Workflow.fromJson(write(graph))
  return Result.isSuccess(workflow) ? Result.getOrUndefined(WorkflowKey.affinity(workflow.success)) : undefined
}

/** What is wrong with the affinity key. */
const affinityProblem = (graph: Graph): string | undefined => {
  const key = affinityOf(graph)
  if (key === undefined) return "no affinity key"
  const moved = alike(graph).find((variant) => affinityOf(variant.graph) !== key)
  if (moved !== undefined) return `the affinity key changes with ${moved.what}`
  const stuck = unlike(graph).find((variant) => [key, undefined].includes(affinityOf(variant.graph)))
  return stuck === undefined ? undefined : `the affinity key does not change with ${stuck.what}`
}

/** What is wrong with the models: exactly those of the table, and others only by their extension. */
const modelsProblem = (workflow: Workflow.Workflow, graph: Graph): string | undefined => {
  const found = new Set(WorkflowKey.models(workflow))
  const [must, may] = [listed(graph), possible(graph)]
  const missing = [...must].filter((file) => !found.has(file))
  const extra = [...found].filter((file) => !must.has(file) && !may.has(file))
  if (missing.length > 0) return `the models lack ${missing.join(", ")}`
  return extra.length === 0 ? undefined : `${extra.join(", ")} is no model`
}

const problemOf = (api: string): string | undefined => {
  const workflow = Workflow.fromJson(api)
  const expected = defect(api)
  if (expected !== undefined) {
    return reasonOf(workflow) === expected ? undefined : `refused for ${reasonOf(workflow)}, not for ${expected}`
  }
  if (Result.isFailure(workflow)) return workflow.failure.message
  if (!equal(api, Workflow.toJson(workflow.success))) return "the prompt lost a member or a digit"
  const graph = read(api)
  return contentProblem(workflow.success, api, graph) ?? affinityProblem(graph) ??
    modelsProblem(workflow.success, graph)
}

const outcomeOf = (ui: string, api: string): Outcome => {
  const refusal = reasonOf(Workflow.fromJson(ui))
  const problem = refusal === "UiFormat" ? problemOf(api) : `the editor's file is refused for ${refusal}`
  if (problem !== undefined) return { _tag: "Failed", detail: problem }
  const why = defect(api)
  return { _tag: "Passed", detail: why === undefined ? `${membersOf(api)?.size ?? 0} nodes` : `refused: ${why}` }
}

/** The case of a file; none for a file that is no pair of editor's file and prompt. */
export const workflowCases = (file: string, text: string): ReadonlyArray<Case> => {
  const members = membersOf(text)
  const [ui, api] = [members?.get("ui"), members?.get("api")]
  if (ui === undefined || api === undefined) {
    return canonical(text) === undefined
      ? [{ file, name: "workflow", outcome: { _tag: "Failed", detail: "the file is no JSON" } }]
      : []
  }
  return [{ file, name: "workflow", outcome: outcomeOf(ui, api) }]
}
