import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { expectTypeOf, it } from "vitest"

it("the union of events is pinned", () => {
  expectTypeOf<ExecutionEvent["_tag"]>().toEqualTypeOf<
    | "Submitted"
    | "Started"
    | "NodesCached"
    | "NodeStarted"
    | "NodeProgress"
    | "NodeText"
    | "Preview"
    | "NodeOutput"
    | "NodeFinished"
    | "Warning"
    | "Gap"
    | "Completed"
    | "Failed"
    | "Cancelled"
  >()
  expectTypeOf<JobEvent["_tag"]>().toEqualTypeOf<
    | "Queued"
    | "Placed"
    | "Transferred"
    | "Attempt"
    | "AttemptEnded"
    | "Collected"
    | "JobSucceeded"
    | "JobFailed"
    | "JobCancelled"
    | "DeadLettered"
  >()
  expectTypeOf<ExecutionEvent["sequence"]>().toEqualTypeOf<number>()
})

it("a switch over it is exhaustive", () => {
  const describe = (event: ExecutionEvent): string => {
    switch (event._tag) {
      case "Submitted":
        return event.promptId
      case "Started":
      case "NodesCached":
      case "NodeStarted":
      case "NodeProgress":
      case "NodeText":
      case "Preview":
      case "NodeOutput":
      case "NodeFinished":
      case "Warning":
      case "Gap":
        return event._tag
      case "Completed":
        return event.via
      case "Failed":
        return event.error.message
      case "Cancelled":
        return event.by
    }
  }
  expectTypeOf(describe).returns.toEqualTypeOf<string>()
})
