// `npm run soak -- [--minutes N] [--servers N] [--seed S]`: real clients and processes under faults of every kind, and a
// table of what came of it. `npm run soak -- --faults [--runs N] [--seed S]`: the rows of the fault table that need real
// sockets and processes, with many scenarios each. Ends with 1 where something was lost, hung or ran twice unsaid.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { faults } from "./faults.ts"
import { run } from "./Soak.ts"
import { isFine, lines } from "./Tally.ts"

const usage = "npm run soak -- [--minutes N] [--servers N] [--seed S] | --faults [--runs N] [--seed S]"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    servers: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "100" },
    faults: { type: "boolean", default: false }
  }
})

const seed = Number(values.seed)
const minutes = Number(values.minutes)

const failed = Effect.sync(() => {
  process.exitCode = 1
})

const table = Effect.gen(function*() {
  const report = yield* run({ seconds: minutes * 60, servers: Number(values.servers), seed }, Console.log)
  for (const line of lines(report)) yield* Console.log(line)
  if (!isFine(report)) yield* failed
})

const rows = Effect.flatMap(
  faults({ numRuns: Number(values.runs), seed, limitMs: 60 * 60_000 }, Console.log),
  (passed) => passed ? Effect.void : failed
)

const program = [seed, minutes, Number(values.servers), Number(values.runs)].every((value) => value > 0)
  ? values.faults ? rows : table
  : Effect.andThen(Console.error(usage), failed)

// Interrupted by a signal, it closes its scopes first: no process is left behind.
NodeRuntime.runMain(program)
