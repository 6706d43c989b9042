import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as JobQueueContract from "@effect-comfyui/testing/JobQueueContract"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe } from "vitest"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "comfy-queue-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

// One after the other: their leases are short, and a commit holds the thread.
describe("in a file", { concurrent: false }, () => {
  JobQueueContract.suite(
    "the queue in SQLite",
    Layer.unwrap(Effect.map(folder, (path) => JobQueueSqliteNode.layerFile(join(path, "queue.db")))),
    { live: true }
  )
})
