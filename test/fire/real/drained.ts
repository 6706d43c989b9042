/** Row 38: a process that has a pool is told to end while jobs run. They finish, nothing new is claimed, and it ends well. */
import * as Effect from "effect/Effect"
import { spawn as spawnProcess } from "node:child_process"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { long, share } from "../fleet/Row.ts"
import { pace, type RealFleetRow, spawn } from "./FleetRow.ts"

const program = fileURLToPath(new URL("./drainedMain.ts", import.meta.url))

/** What became of the process, and what it said. */
interface Ended {
  readonly code: number | null
  readonly lines: ReadonlyArray<string>
}

interface Child {
  /** It said this many lines of this kind. */
  readonly said: (word: string) => number
  readonly terminate: Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

const start = (urls: ReadonlyArray<string>, jobs: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawnProcess(
        process.execPath,
        ["--conditions=@effect-comfyui/source", program, String(jobs), ...urls],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
      const lines: Array<string> = []
      createInterface({ input: child.stdout }).on("line", (line) => void lines.push(line))
      const hasEnded = () => child.exitCode !== null || child.signalCode !== null
      const ended = Effect.callback<Ended>((resume) => {
        const done = () => resume(Effect.succeed({ code: child.exitCode, lines }))
        if (hasEnded()) return done()
        child.once("close", done)
      })
      const handle: Child = {
        said: (word) => lines.filter((line) => line.startsWith(word)).length,
        terminate: Effect.sync(() => void child.kill("SIGTERM")),
        ended
      }
      return { child, handle, hasEnded }
    }),
    ({ child, handle, hasEnded }) =>
      Effect.suspend(() => {
        if (hasEnded()) return Effect.void
        child.kill("SIGKILL")
        return Effect.asVoid(handle.ended)
      })
  ).pipe(Effect.map(({ handle }) => handle))

const jobs = 8

export const drained: RealFleetRow = {
  row: 38,
  name: "a process with a pool is told to end while jobs run",
  shape: { ...long, servers: [2, 3], maxJobs: 2 },
  complaints: (scenario) =>
    Effect.scoped(Effect.gen(function*() {
      const hosts = yield* spawn(scenario, { speed: 1 })
      const child = yield* start(hosts.map(({ process: { url } }) => url), jobs)
      const ledgers = Effect.map(
        Effect.forEach(hosts, ({ ledger }) => ledger),
        (all) => all.flatMap(({ prompts }) => prompts)
      )
      const began = yield* Effect.timeoutOption(
        Effect.repeat(Effect.delay(ledgers, "10 millis"), { until: (prompts) => prompts.length >= hosts.length }),
        "20 seconds"
      )
      if (began._tag === "None") return ["nothing began"]
      yield* Effect.sleep(share(scenario, 0, 1_500) * pace * 10)
      yield* child.terminate
      const ended = yield* Effect.timeoutOption(child.ended, "20 seconds")
      if (ended._tag === "None") return ["it did not end"]
      const after = yield* ledgers
      const { code, lines } = ended.value
      const late = lines.flatMap((line) => line.startsWith("late ") ? [Number(line.slice(5))] : [])
      return [
        ...code === 0 ? [] : [`it ended with ${code}`],
        ...child.said("draining") === 1 ? [] : ["it did not drain"],
        ...child.said("claimed") === 0 ? [] : [`${child.said("claimed")} jobs were claimed after it was told`],
        ...after.flatMap(({ outcome = "open" }) => outcome === "success" ? [] : [`a running prompt was ${outcome}`]),
        ...child.said("JobSucceeded") === after.length
          ? []
          : [`${child.said("JobSucceeded")} successes of ${after.length}: ${lines}`],
        ...child.said("JobSucceeded") + child.said("JobFailed") === jobs ? [] : [`not every job has ended: ${lines}`],
        ...late.every((ms) => ms < 1_000) && late.length === 1 ? [] : [`it ended ${late} ms after its last job`]
      ]
    }))
}
