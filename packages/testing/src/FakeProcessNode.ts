#!/usr/bin/env node
/**
 * The command `effect-comfyui-fake`: a fake ComfyUI server as a process of its own, to be killed, stopped and started
 * again. Prints one JSON line `{"url", "port", "pid", "control"}` once it listens, and ends when its standard input does.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import process from "node:process"
import { parseArgs } from "node:util"
import type * as FakeComfy from "./FakeComfy.ts"
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
  --models JSON|FILE   {"checkpoints": ["a.safetensors", {"name": "b.safetensors", "bytes": 1000}], ...}
  --hardware JSON|FILE {"vramBytes": 8000000000, "diskBytesPerSecond": 500000000, "stepMsPerMegapixel": 50, ...}
  --cache MODE         classic, ram, none, or a number N for --cache-lru N (default: that of the release)
  --assets             with /api/assets, where the release has it
  --compress           as --enable-compress-response-body
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
    hardware: { type: "string" },
    cache: { type: "string" },
    assets: { type: "boolean", default: false },
    compress: { type: "boolean", default: false },
    "control-port": { type: "string" },
    "test-nodes": { type: "boolean", default: false },
    detached: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const quantity = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

const Models = Schema.Record(
  Schema.String,
  Schema.Array(
    Schema.Union([
      Schema.String,
      Schema.Struct({
        name: Schema.String,
        bytes: quantity,
        metadata: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
      })
    ])
  )
)

const HardwareFigures = Schema.Struct({
  vramBytes: Schema.optionalKey(quantity),
  ramBytes: Schema.optionalKey(quantity),
  diskBytesPerSecond: Schema.optionalKey(quantity),
  busBytesPerSecond: Schema.optionalKey(quantity),
  stepMsPerMegapixel: Schema.optionalKey(quantity),
  workBytesPerMegapixel: Schema.optionalKey(quantity),
  offload: Schema.optionalKey(Schema.Boolean),
  name: Schema.optionalKey(Schema.String)
})

/** Ends the process: what was asked for cannot be had. */
const refuse = (problem: string): never => {
  process.stderr.write(`${problem}\n\n${help}`)
  return process.exit(2)
}

/** An option that is JSON, or the name of a file with it. */
const json = <A>(name: string, schema: Schema.Codec<A, unknown>, given: string | undefined): A | undefined => {
  if (given === undefined) return undefined
  const read = Result.flatMap(
    Result.try({ try: () => given.startsWith("{") ? given : readFileSync(given, "utf8"), catch: String }),
    (text) =>
      Result.mapError(
        Schema.decodeResult(Schema.fromJsonString(schema))(text, { onExcessProperty: "error" }),
        String
      )
  )
  return Result.isSuccess(read) ? read.success : refuse(`--${name}: ${read.failure}`)
}

const cacheMode = (given: string | undefined): FakeComfy.CacheMode | undefined => {
  if (given === undefined || given === "classic" || given === "ram" || given === "none") return given
  const lru = Number(given)
  return Number.isInteger(lru) && lru > 0 ? { lru } : refuse(`--cache: ${given} is no mode and no number of results`)
}

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
      models: json("models", Models, values.models),
      hardware: json("hardware", HardwareFigures, values.hardware),
      cache: cacheMode(values.cache),
      assets: values.assets,
      compress: values.compress,
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
