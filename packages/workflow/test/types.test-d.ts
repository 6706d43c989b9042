import type * as Edit from "@effect-comfyui/workflow/Edit"
import type { Json } from "@effect-comfyui/workflow/Json"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { WorkflowError } from "@effect-comfyui/workflow/WorkflowError"
import type * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import type * as Result from "effect/Result"
import { describe, expectTypeOf, it } from "vitest"

describe("types", () => {
  it("make nodes and links JSON", () => {
    expectTypeOf<Workflow.Node>().toExtend<Json>()
    expectTypeOf<Workflow.Link>().toExtend<Json>()
    expectTypeOf<Workflow.Nodes>().toExtend<Json>()
  })

  it("say what a slot may be", () => {
    expectTypeOf<Workflow.Link[1]>().toEqualTypeOf<number | bigint | boolean>()
  })

  it("keep the two keys apart, and let both be texts", () => {
    expectTypeOf<WorkflowKey.ContentKey>().not.toExtend<WorkflowKey.AffinityKey>()
    expectTypeOf<WorkflowKey.ContentKey>().toExtend<string>()
  })

  it("give every edit one shape of answer", () => {
    expectTypeOf<ReturnType<typeof Edit.removeNode>>().toEqualTypeOf<Result.Result<Workflow.Workflow, WorkflowError>>()
  })
})
