/** Starts `effect-comfyui-fake` as a child process for the lifetime of a scope: what kill -9 and SIGSTOP are tested on. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type * as FakeComfy from "./FakeComfy.ts"
import type { FakeServer } from "./FakeServer.ts"
import type { FaultData } from "./Fault.ts"
import type { Hardware } from "./Hardware.ts"
import { remote } from "./internal/remoteNode.ts"
import type * as VersionProfile from "./VersionProfile.ts"

/** As the options of the command; see `effect-comfyui-fake --help`. */
export interface SpawnOptions {
  readonly port?: number
  readonly profile?: VersionProfile.Version
  readonly seed?: number
  readonly speed?: number
  readonly instant?: boolean
  readonly dequeueMs?: number
  readonly previewMethod?: string
  readonly testNodes?: boolean
  readonly models?: Readonly<Record<string, ReadonlyArray<FakeComfy.ModelFile>>>
  readonly hardware?: Hardware
  readonly cache?: FakeComfy.CacheMode
  readonly assets?: boolean
  readonly compress?: boolean
}

/** A running process. */
export interface FakeProcess {
  /**
   * What every door offers: faults, ledger, commands. It speaks to the process that runs now over a port of its own, also
   * while the fake server stalls; faults and ledger end with the process. `kill` is SIGKILL, `restart` a new process.
   * Whatever is asked of a process that is gone, or stopped for good, dies: a test's own mistake.
   */
  readonly server: FakeServer<FaultData>
  /** Where commands go to: `http://127.0.0.1:port`, another one after each restart. */
  readonly control: Effect.Effect<string>
  /** `http://127.0.0.1:port`; stays over restarts. */
  readonly url: string
  readonly port: number
  /** Of the process that runs now. */
  readonly pid: Effect.Effect<number>
  /** Sends a signal and waits for the process's end. */
  readonly kill: (signal?: "SIGKILL" | "SIGTERM") => Effect.Effect<void>
  /** Waits for the end of the process that runs now. */
  readonly ended: Effect.Effect<void>
  /** SIGSTOP: connections stay open, and nothing comes out of them. */
  readonly stop: Effect.Effect<void>
  /** SIGCONT. */
  readonly continue: Effect.Effect<void>
  /** A new process on the same port; kills the old one first, if it lives. */
  readonly restart: Effect.Effect<void>
}

const argumentsOf = (options: SpawnOptions, port: number): ReadonlyArray<string> => {
  const out = ["--port", String(port), "--control-port", "0"]
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) out.push(name, String(value))
  }
  add("--profile", options.profile)
  add("--seed", options.seed)
  add("--speed", options.speed)
  add("--dequeue-ms", options.dequeueMs)
  add("--preview-method", options.previewMethod)
  if (options.models !== undefined) add("--models", JSON.stringify(options.models))
  if (options.hardware !== undefined) add("--hardware", JSON.stringify(options.hardware))
  add("--cache", typeof options.cache === "object" ? options.cache.lru : options.cache)
  if (options.assets === true) out.push("--assets")
  if (options.compress === true) out.push("--compress")
  if (options.instant === true) out.push("--instant")
  if (options.testNodes === true) out.push("--test-nodes")
  return out
}

const fromSource = import.meta.url.endsWith(".ts")
const program = fileURLToPath(new URL(fromSource ? "./FakeProcessNode.ts" : "./FakeProcessNode.js", import.meta.url))

interface Running {
  readonly child: ChildProcess
  readonly port: number
  readonly control: number
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const ended = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (hasEnded(child)) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
  })

/** What the process says once it listens. */
const decodeLine = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Struct({ port: Schema.Int, control: Schema.Int }))
)

const start = (options: SpawnOptions, port: number): Effect.Effect<Running> =>
  Effect.callback((resume) => {
    const conditions = fromSource ? ["--conditions=@effect-comfyui/source"] : []
    // Its standard input is a pipe of ours: when this process ends, however it ends, so does the child.
    const child = spawn(process.execPath, [...conditions, program, ...argumentsOf(options, port)], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("exit", () => resume(Effect.die(new Error("effect-comfyui-fake ended before it listened"))))
    createInterface({ input: child.stdout }).once(
      "line",
      (line) => resume(Effect.sync(() => ({ child, ...decodeLine(line) })))
    )
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  })

/**
 * Starts the process and waits until it listens. Closing the scope kills it. Dies if it cannot start.
 */
export const spawnFake: (options?: SpawnOptions) => Effect.Effect<FakeProcess, never, Scope.Scope> = Effect.fnUntraced(
  function*(options: SpawnOptions = {}) {
    let running = yield* start(options, options.port ?? 0)
    const { port } = running
    const kill = (name: "SIGKILL" | "SIGTERM" = "SIGKILL"): Effect.Effect<void> =>
      Effect.suspend(() => {
        const { child } = running
        if (!hasEnded(child)) {
          // A stopped process takes no SIGTERM.
          if (name === "SIGTERM") child.kill("SIGCONT")
          child.kill(name)
        }
        return ended(child)
      })
    yield* Effect.addFinalizer(() => kill())
    const signal = (name: "SIGSTOP" | "SIGCONT"): Effect.Effect<void> =>
      Effect.sync(() => {
        running.child.kill(name)
      })
    const url = `http://127.0.0.1:${port}`
    const control = Effect.sync(() => `http://127.0.0.1:${running.control}`)
    const restart = Effect.andThen(
      kill(),
      Effect.map(start(options, port), (next) => {
        running = next
      })
    )
    return {
      url,
      port,
      control,
      server: { ...remote(url, control), kill: Effect.suspend(() => kill()), restart },
      pid: Effect.sync(() => running.child.pid ?? 0),
      kill,
      ended: Effect.suspend(() => ended(running.child)),
      stop: signal("SIGSTOP"),
      continue: signal("SIGCONT"),
      restart
    }
  }
)
