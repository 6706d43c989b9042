// A program that a signal ends: `signalled.ts URL DRAIN SECONDS`. Says `running` when its job runs, and what it hears.
import { createComfy } from "@effect-comfyui/runtime/CreateComfyNode"
import { Workflows } from "@effect-comfyui/testing"
import { writeSync } from "node:fs"

const [url = "", drain = "", seconds = "1"] = process.argv.slice(2)

const say = (line: string) => void writeSync(1, `${line}\n`)

const comfy = await createComfy(
  { servers: [{ id: "gpu", url }], queue: { kind: "memory" }, logging: { level: "None" } },
  { signals: { drain: drain === "1 hour" ? "1 hour" : "200 millis" } }
)
// Whoever listens beside the library is left alone, and is called after it.
process.once("SIGINT", () => say("heard"))
const run = comfy.run(Workflows.slow({ seconds: Number(seconds) }))
run.then(() => say("done"), ({ reason }: { readonly reason: string }) => say(reason))
for await (const event of run) if (event._tag === "Attempt" && event.event._tag === "Started") say("running")
