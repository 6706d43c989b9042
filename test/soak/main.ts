// `npm run soak -- [--minutes N] [--servers N] [--seed S]`: real clients and processes under faults of every kind, and a
// table of what came of it. `npm run soak -- --faults [--runs N] [--seed S]`: the rows of the fault table that need real
// sockets and processes, with many scenarios each. `npm run soak -- --night [--seed S] [--hours N] [--servers N]`: a fleet
// for a night, in virtual time. `npm run soak -- --pool [--minutes N] [--seed S]`: the pool's model, three pools beside
// each other, then a pool over processes that are killed; with `--durable` dispatchers on one file, which are killed and
// stopped. Ends with 1 where something was lost, hung or ran twice unsaid.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import * as DurableSoak from "./durable/DurableSoak.ts"
import { faults } from "./faults.ts"
import * as Night from "./night/Night.ts"
import * as NightTable from "./night/Table.ts"
import * as PoolSoak from "./pool/PoolSoak.ts"
import { playFor } from "./pool/sequences.ts"
import { compare } from "./rivals/Rivals.ts"
import * as RivalsTable from "./rivals/Table.ts"
import { run } from "./Soak.ts"
import { isFine, lines } from "./Tally.ts"

const usage = "npm run soak -- [--minutes N] [--servers N] [--seed S] | --faults [--runs N] [--seed S] | " +
  "--night [--hours N] [--servers N] [--load N] [--seed S] | --pool [--durable] [--minutes N] [--jobs N] [--seed S]"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    servers: { type: "string" },
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "100" },
    faults: { type: "boolean", default: false },
    night: { type: "boolean", default: false },
    pool: { type: "boolean", default: false },
    durable: { type: "boolean", default: false },
    jobs: { type: "string", default: "10000" },
    hours: { type: "string", default: "8" },
    load: { type: "string", default: "1" }
  }
})

const seed = Number(values.seed)
const minutes = Number(values.minutes)
const servers = Number(values.servers ?? (values.night ? "60" : "4"))
const hours = Number(values.hours)
const load = Number(values.load)
const jobs = Number(values.jobs)

const failed = Effect.sync(() => {
  process.exitCode = 1
})

const table = Effect.gen(function*() {
  const report = yield* run({ seconds: minutes * 60, servers, seed }, Console.log)
  for (const line of lines(report)) yield* Console.log(line)
  if (!isFine(report)) yield* failed
})

const rows = Effect.flatMap(
  faults({ numRuns: Number(values.runs), seed, limitMs: 60 * 60_000 }, Console.log),
  (passed) => passed ? Effect.void : failed
)

const night = Effect.gen(function*() {
  const report = yield* Night.run({ hours, servers, seed, load })
  for (const line of NightTable.lines(report)) yield* Console.log(line)
  if (!NightTable.isFine(report)) yield* failed
})

/** A part of the time for the model, one pass of the rivals, the rest for processes. */
const pool = Effect.gen(function*() {
  const { count, sequence, wrong } = yield* playFor({ seconds: minutes * 60 / 4, seed })
  yield* Console.log(`${count} sequences of the model, ${wrong.length} complaints`)
  for (const text of wrong) yield* Console.log(`complaint: ${text}`)
  if (sequence !== undefined) yield* Console.log(JSON.stringify(sequence))
  const compared = yield* compare({ jobs: 3_000, mix: "plain", seed })
  for (const line of RivalsTable.lines(compared)) yield* Console.log(line)
  const report = yield* PoolSoak.run({ seconds: minutes * 60 * 3 / 4, seed, jobs }, Console.log)
  for (const line of PoolSoak.lines(report)) yield* Console.log(line)
  if (wrong.length > 0 || !RivalsTable.isFine(compared) || !PoolSoak.isFine(report)) yield* failed
})

const durable = Effect.gen(function*() {
  const report = yield* DurableSoak.run({ seconds: minutes * 60, seed, jobs }, Console.log)
  for (const line of DurableSoak.lines(report)) yield* Console.log(line)
  if (!DurableSoak.isFine(report)) yield* failed
})

const program = [seed, minutes, servers, hours, load, jobs, Number(values.runs)].every((value) => value > 0)
  ? values.night ? night : values.durable ? durable : values.pool ? pool : values.faults ? rows : table
  : Effect.andThen(Console.error(usage), failed)

// Interrupted by a signal, it closes its scopes first: no process is left behind.
NodeRuntime.runMain(program)
