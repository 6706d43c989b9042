// Runs a program beside a fake server, as a reader of the README does beside a real one: `besideFake.ts PROGRAM`. It finds
// the server at `COMFY_URL`, a workflow in `workflow.json`, and keeps its state beside it.
import { Workflows } from "@effect-comfyui/testing"
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import process from "node:process"

const [file = ""] = process.argv.slice(2)

const run = (url: string) =>
  Effect.callback<number>((resume) => {
    const env = { ...process.env, COMFY_URL: url, XDG_STATE_HOME: join(process.cwd(), `state-${basename(file)}`) }
    const child = spawn(process.execPath, [file], { env, stdio: "inherit" })
    child.on("exit", (code) => resume(Effect.succeed(code ?? 1)))
  })

const program = Effect.gen(function*() {
  writeFileSync("workflow.json", Workflow.toJson(Workflows.textToImage({ steps: 4 })))
  const fake = yield* spawnFake({ instant: true })
  process.exitCode = yield* run(fake.url)
})

await Effect.runPromise(Effect.scoped(program))
