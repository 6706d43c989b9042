// The table of reasons in docs/failover-and-timeouts.md, against `attributions` and what the default policy does first.
import { attributions, type Reason } from "@effect-comfyui/execution/ExecutionError"
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Failover from "@effect-comfyui/pool/Failover"
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const page = readFileSync(new URL("../../docs/failover-and-timeouts.md", import.meta.url), "utf8")

const raised = { nodeId: "1", classType: "KSampler", exceptionType: "RuntimeError", message: "it does not fit" }

/** One of each kind, of a run that its server had taken; complete by its type. */
const examples: { readonly [Tag in Reason["_tag"]]: Extract<Reason, { readonly _tag: Tag }> } = {
  Rejected: { _tag: "Rejected", by: "server", type: "", message: "", complaints: [] },
  MissingCapability: { _tag: "MissingCapability", classes: ["KSampler"], models: [] },
  AttachmentFailed: { _tag: "AttachmentFailed", name: "a.png", cause: "" },
  NodeFailed: { _tag: "NodeFailed", ...raised, traceback: [] },
  OutOfMemory: { _tag: "OutOfMemory", ...raised },
  GpuPoisoned: { _tag: "GpuPoisoned", ...raised },
  DiskFull: { _tag: "DiskFull", ...raised },
  StorageFailed: { _tag: "StorageFailed", ...raised },
  WorkerStuck: { _tag: "WorkerStuck", evidence: "" },
  Lost: { _tag: "Lost", evidence: "" },
  SubmitAmbiguous: { _tag: "SubmitAmbiguous", promptId: "1", cause: "" },
  StartTimeout: { _tag: "StartTimeout", limitMs: 1 },
  NodeTimeout: { _tag: "NodeTimeout", nodeId: "1", limitMs: 1 },
  TotalTimeout: { _tag: "TotalTimeout", limitMs: 1 },
  DeadlineExceeded: { _tag: "DeadlineExceeded", deadline: 1 },
  Unreachable: { _tag: "Unreachable", by: "network", status: null, cause: "" },
  RateLimited: { _tag: "RateLimited", retryAfterMs: null },
  Unauthorized: { _tag: "Unauthorized", status: 401 },
  ProtocolViolation: { _tag: "ProtocolViolation", kind: "", excerpt: "" },
  CannotCancelSafely: { _tag: "CannotCancelSafely", version: "0.3.40" },
  DuplicateRun: { _tag: "DuplicateRun" },
  Closed: { _tag: "Closed" },
  Cancelled: { _tag: "Cancelled", by: "elsewhere" }
}

/** Reasons of attempts that never got as far as a server's queue. */
const neverAccepted: ReadonlySet<Reason["_tag"]> = new Set(["AttachmentFailed", "RateLimited", "Unauthorized"])

/** What follows the first failure of this kind. */
const followsIn = (reason: Reason, accepted: boolean): string => {
  const attempt: Failover.Attempt = {
    server: BackendId.make("gpu-1"),
    reason,
    accepted,
    paid: false,
    anotherKeyBefore: false,
    storageOut: false
  }
  const verdict = Failover.decide(attempt, Failover.record(Failover.empty, attempt), Failover.defaults, 0)
  switch (verdict._tag) {
    case "GiveUp":
      return "the end"
    case "DeadLetter":
      return "a person"
    case "Retry":
      return `${verdict.on === "same-server" ? "same server" : "another server"}${verdict.repeats ? "" : ", free"}`
  }
}

/** | `Lost` | server | another-server | server | another server | in words | */
const row = /^\| `(\w+)` +\| ([\w-]+) +\| ([\w-]+) +\| (server|key|none) +\| ([^|]*?) +\| .*\|$/gm

describe("the table of reasons", () => {
  it("has every reason once, read as the code reads it, and what follows it first", () => {
    const rows = [...page.matchAll(row)].map((cells) => cells.slice(1))
    const inCode = Object.values(examples).map((reason) => {
      const { breaker, category, verdict } = attributions[reason._tag]
      return [reason._tag, category, verdict, breaker, followsIn(reason, !neverAccepted.has(reason._tag))]
    })
    assert.deepStrictEqual(rows.toSorted(), inCode.toSorted())
  })
})
