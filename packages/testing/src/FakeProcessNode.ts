#!/usr/bin/env node
/**
 * The command `effect-comfyui-fake`: a fake ComfyUI server as a process of its own, to be killed, stopped and started
 * again. Prints one JSON line `{"url", "port", "pid", "control"}` once it listens, and ends when its standard input does.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import process from "node:process"
import { parseArgs } from "node:util"
import { listen } from "./internal/controlNode.ts"
import * as LoopbackNode from "./LoopbackNode.ts"
import * as TestNodes from "./TestNodes.ts"
import * as VersionProfile from "./VersionProfile.ts"

const help = `effect-comfyui-fake: a fake ComfyUI server

  --port N             port on 127.0.0.1; 0 (default) takes a free one
  --profile V          one of ${Object.keys(VersionProfile.profiles).join(", ")} (default: the last one)
  --seed N             decides ids and pictures (default 1)
  --speed X            times of nodes are multiplied with X (default 1)
  --instant            everything at once: --speed 0 --dequeue-ms 0
  --dequeue-ms N       from the POST to the start of a run (default 1)
  --preview-method M   none (default), auto, latent2rgb, taesd
  --models FILE        JSON: {"checkpoints": ["a.safetensors", {"name": "b.safetensors", "bytes": 1000}], ...}
  --test-nodes         with the classes FakeRaise, FakeSleep, FakeOutOfMemory, ...
  --control-port N     takes commands there: POST /command (Inject, Heal, Stall, ...) as JSON,
                       GET /ledger, /requests, /snapshot; 0: a free one (default: none)
  --detached           goes on when standard input ends
`

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    profile: { type: "string" },
    seed: { type: "string", default: "1" },
    speed: { type: "string", default: "1" },
    instant: { type: "boolean", default: false },
    "dequeue-ms": { type: "string", default: "1" },
    "preview-method": { type: "string", default: "none" },
    models: { type: "string" },
    "control-port": { type: "string" },
    "test-nodes": { type: "boolean", default: false },
    detached: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const profile = values.profile === undefined ? VersionProfile.latest : VersionProfile.find(values.profile)

if (values.help || profile === undefined) {
  process.stdout.write(help)
  process.exit(profile === undefined ? 2 : 0)
}

const scope = Scope.makeUnsafe()
const server = await Effect.runPromise(
  Scope.provide(
    LoopbackNode.make({
      port: Number(values.port),
      version: profile,
      seed: Number(values.seed),
      speed: values.instant ? 0 : Number(values.speed),
      dequeueMs: values.instant ? 0 : Number(values["dequeue-ms"]),
      previewMethod: values["preview-method"],
      models: values.models === undefined ? undefined : JSON.parse(readFileSync(values.models, "utf8")),
      nodes: values["test-nodes"] ? TestNodes.nodes : [],
      onCrash: () => process.exit(1)
    }),
    scope
  )
)

const controlPort = values["control-port"]
const control = controlPort === undefined
  ? undefined
  : await Effect.runPromise(Scope.provide(listen(server, Number(controlPort)), scope))

const stop = (): void => {
  void Effect.runPromise(Scope.close(scope, Exit.void)).then(() => process.exit(0))
}

process.on("SIGTERM", stop)
process.on("SIGINT", stop)
if (!values.detached) {
  process.stdin.on("end", stop)
  process.stdin.on("close", stop)
  process.stdin.resume()
}
process.stdout.write(`${JSON.stringify({ url: server.url, port: server.port, pid: process.pid, control })}\n`)
