/**
 * A service that is killed in the middle of fifty jobs, without a chance to say goodbye, and started again: it finishes all
 * of them, each once, with the pictures in `./out`. What its queue is told it has on disk; runs that went on meanwhile are
 * found where they are. The service itself is `support/studio.ts`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import * as Fleet from "./support/fleet.ts"

const studio = join(import.meta.dirname, "support/studio.ts")

/** The service in a process of its own, which ends with the scope. */
const start = (args: ReadonlyArray<string>, hear: (line: string) => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const flags = ["--disable-warning=ExperimentalWarning", "--conditions=@effect-comfyui/source"]
      const child = spawn(process.execPath, [...flags, studio, ...args], { stdio: ["ignore", "pipe", "inherit"] })
      createInterface({ input: child.stdout }).on("line", hear)
      return child
    }),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )

const program = Effect.gen(function*() {
  const servers = yield* Fleet.servers
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "comfy-studio-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const out = resolve("out")
  const done = new Map<string, number>()
  const hear = (line: string): void => {
    const [word, order = "", executions] = line.split(" ")
    if (word === "done") done.set(order, Number(executions))
  }
  const args = [out, join(folder, "queue.db"), ...servers.map(({ url }) => url)]
  const areDone = (count: number) => Effect.repeat(Effect.sleep("50 millis"), { until: () => done.size >= count })

  const first = yield* start(args, hear)
  yield* areDone(15)
  first.kill("SIGKILL")
  yield* Console.log(`killed after ${done.size} of 50 orders; three servers go on with what they have`)
  yield* Effect.sleep("1 second")
  yield* start(args, hear)
  yield* areDone(50)

  const ledgers = yield* Effect.forEach(
    servers,
    ({ fake }) => fake === undefined ? Effect.undefined : fake.server.ledger
  )
  const runs = ledgers.reduce((sum, ledger) => sum + (ledger?.prompts.length ?? 0), 0)
  const pictures = readdirSync(out).filter((name) => name.startsWith("order-"))
  yield* Console.log(`all 50 are done, and ${pictures.length} have their pictures in ./out`)
  if (ledgers.some((ledger) => ledger !== undefined)) yield* Console.log(`${runs} prompts were run for them`)
})

NodeRuntime.runMain(Effect.scoped(program))
