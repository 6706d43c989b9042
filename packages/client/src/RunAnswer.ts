/** What asking a server about one run can tell. */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Outputs } from "@effect-comfyui/execution/Outputs"

/** How the server says a run ended. */
export type Outcome =
  | { readonly _tag: "Success"; readonly outputs: Outputs }
  | { readonly _tag: "Error"; readonly reason: Reason }
  | { readonly _tag: "Interrupted" }

/**
 * All but `NoAnswer` are answers of ComfyUI's own shape. `serverIdle`: nothing runs there, though this run waits (null:
 * not known). `behind`: the prompt that runs now (null: none, or not known). `authoritative` is false where the server
 * does not keep our ids, so that not knowing one means nothing.
 */
export type Answer =
  | { readonly _tag: "Finished"; readonly outcome: Outcome }
  | { readonly _tag: "Running" }
  | {
    readonly _tag: "Waiting"
    readonly ahead: number | null
    readonly serverIdle: boolean | null
    readonly behind: string | null
  }
  | { readonly _tag: "Unknown"; readonly authoritative: boolean }
  | { readonly _tag: "NoAnswer"; readonly reason: Reason }

/** Why a POST has no answer that tells whether the prompt was queued, and what the run failed of if it was not. */
export interface Doubt {
  readonly by: "network" | "proxy" | "timeout"
  readonly ifAbsent: Reason
}
