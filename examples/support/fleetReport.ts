// What is to be said of a fleet when its work is done: where each job ran, what its time went into, and a trace of it.
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { PoolJob, Shape } from "@effect-comfyui/pool/Pool"
import * as ExportTrace from "@effect-comfyui/profiling/ExportTrace"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { relative } from "node:path"
import * as Board from "./board.ts"
import { because, seconds } from "./fleetBoard.ts"

export interface Done {
  readonly job: PoolJob
  readonly endings: ReadonlyArray<JobEnding>
  readonly attempts: Effect.Success<PoolJob["why"]>
}

const picturesOf = (endings: ReadonlyArray<JobEnding>): string =>
  endings.flatMap((ending) => ending._tag === "JobSucceeded" ? ending.receipts : [])
    .map(({ location }) => relative(".", location)).join(", ")

/** A line per attempt: where it ran, why there, and how long. `begun`: epoch milliseconds. */
export const placements = (done: ReadonlyArray<Done>, begun: number): string =>
  Board.table([
    ["job", "attempt", "ran on", "because", "from", "took", "ended", "picture"],
    ...done.flatMap(({ attempts, endings, job }) =>
      attempts.map(({ endedAs, endedAt, number, server, startedAt, why }) => [
        number === 1 ? job.id : "",
        `${number}`,
        server,
        because(why),
        seconds(startedAt - begun),
        seconds((endedAt ?? startedAt) - startedAt),
        endedAs ?? "",
        endedAs === "Completed" ? picturesOf(endings) : ""
      ])
    )
  ])

const cell = (ms: number | null): string => ms === null ? "" : seconds(ms)

const percent = (share: number | null): string => share === null ? "" : `${Math.round(100 * share)} %`

const rows = (
  set: ProfileSet.State,
  dimension: "workflows" | "servers",
  nameOf: (key: string) => string
): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from(ProfileSet.rows(set, dimension).rows, ([key, row]) => [
    nameOf(key),
    `${row.observed}`,
    cell(row.meanMs),
    cell(row.p50Ms),
    cell(row.p90Ms),
    percent(row.cacheRate),
    percent(row.failureRate)
  ])

/** What runs took, by workflow and by server, and where time was lost. */
export const profile = Effect.fnUntraced(function*(
  { profiles }: Shape,
  modelsOf: ReadonlyMap<AffinityKey, string>
) {
  const set = yield* Effect.fromResult(ProfileSet.fromStored(yield* profiles.statistics.get))
  const names = new Map<string, string>(modelsOf)
  const { findings } = yield* profiles.bottlenecks.get
  return [
    Board.table([
      ["runs of", "runs", "mean", "p50", "p90", "cached", "failed"],
      ...rows(set, "workflows", (key) => names.get(key) ?? key),
      ...rows(set, "servers", (server) => `server ${server}`)
    ]),
    ...findings.slice(0, 3).map(({ advice }) => advice)
  ].join("\n")
})

/** Everything that ran, for ui.perfetto.dev. */
export const writeTrace = Effect.fnUntraced(function*(done: ReadonlyArray<Done>, path: string) {
  const fs = yield* FileSystem.FileSystem
  const profiles = yield* Effect.forEach(done, ({ job }) => job.profile)
  const text = ExportTrace.stream(Stream.fromIterable(profiles.flatMap(Option.toArray)))
  yield* Stream.run(Stream.encodeText(text), fs.sink(path))
})
