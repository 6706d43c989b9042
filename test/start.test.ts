// `npm start`, as the README says it: what it tells, and the trace that it writes.
import { assert, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { opens, read, type TraceEvent } from "../packages/profiling/test/support/trace.ts"

const root = join(import.meta.dirname, "..")
const file = join(root, "out", "trace.json")

const named = (events: ReadonlyArray<TraceEvent>, kind: "process_name" | "thread_name") =>
  events.filter(({ name, ph }) => ph === "M" && name === kind)

const start = Effect.promise(() =>
  promisify(execFile)("npm", ["start"], {
    cwd: root,
    env: { ...process.env, COMFY_HOSTS: "", NO_COLOR: "1" },
    timeout: 110_000
  })
)

const program = Effect.gen(function*() {
  rmSync(file, { force: true })
  const before = yield* Clock.currentTimeMillis
  const { stdout } = yield* start
  const after = yield* Clock.currentTimeMillis
  const lines = stdout.trimEnd().split("\n")
  assert.strictEqual(lines.at(-1), "nothing lost: 20 jobs, 20 endings; out/trace.json opens in ui.perfetto.dev")
  assert.match(stdout, /\d s {2}portrait-01 goes to \w+: cold, and no figures yet, \d+\.\d s left/)
  assert.match(stdout, /^people +\d+ +\d+\.\d s/m)
  assert.match(stdout, /^server slow +\d+ +\d+\.\d s/m)
  assert.match(stdout, /^Jobs wait \d+ % of their time, while 3 servers are busy \d+ % of it/m)
  // Whatever is said to be a picture is there.
  const pictures = [...stdout.matchAll(/out\/[\w-]+\/[\w.-]+\.png/g)].map(([path]) => path)
  assert.strictEqual(pictures.length, 20)
  for (const picture of pictures) assert.isTrue(existsSync(join(root, picture)), picture)

  const events = read(readFileSync(file, "utf8"))
  assert.isTrue(opens(events))
  assert.deepStrictEqual(
    named(events, "process_name").map(({ args }) => args["name"]).toSorted(),
    ["fast", "middle", "queue", "slow"]
  )
  const slices = events.filter(({ ph }) => ph === "X")
  const [attempts, nodes] = [slices.filter(({ cat }) => cat === "attempt"), slices.filter(({ cat }) => cat === "node")]
  // Microseconds since 1970, within the time that it ran.
  for (const { dur, ts } of slices) assert.isTrue(ts >= before * 1_000 && ts + dur <= after * 1_000)
  // A line per attempt was told, with what it took to a tenth of a second.
  const told = [...stdout.matchAll(/^(\S+)? +(\d) +(?:fast|middle|slow) +.*? +\d+\.\d s +(\d+\.\d) s +\w+/gm)]
  assert.strictEqual(told.length, attempts.length)
  assert.isAtLeast(attempts.length, 20)
  let job = ""
  for (const [, name = "", number, seconds] of told) {
    job = name === "" ? job : name
    const slice = attempts.find((one) => one.name === `${job} #${number}`)
    assert.closeTo((slice?.dur ?? 0) / 1e6, Number(seconds), 0.25, job)
  }
  // Nodes stand within an attempt of their server, on its track or beside it.
  assert.isAtLeast(nodes.length, 60)
  for (const node of nodes) {
    const within = attempts.some(({ dur, pid, ts }) =>
      pid === node.pid && ts <= node.ts && node.ts + node.dur <= ts + dur
    )
    assert.isTrue(within, node.name)
  }
  // Slots: as many jobs at once on a server as it has tracks for them.
  for (const { args, pid } of named(events, "thread_name")) {
    assert.match(String(args["name"]), pid === 1 ? /^submitted$/ : /^slot \d/)
  }
  assert.strictEqual(events.filter(({ ph }) => ph === "s").length, 20)
  const depths = events.filter(({ ph }) => ph === "C").toSorted((a, b) => a.ts - b.ts).map(({ args }) => args["jobs"])
  assert.strictEqual(depths.at(-1), 0)
  assert.isAtLeast(Math.max(...depths.map(Number)), 10)
})

it.live("npm start loses nothing, says where the time went, and writes a trace that opens", () => program, 120_000)
