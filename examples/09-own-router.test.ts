/**
 * A routing policy of your own: a pure function, put together from smaller ones. Jobs of the tenant `night` may use the
 * cheap servers and nothing else, and only when no other job wants them, whatever the caller asked for.
 */
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as CostAware from "@effect-comfyui/pool/CostAware"
import type { JobHead } from "@effect-comfyui/pool/JobHead"
import { Pool } from "@effect-comfyui/pool/Pool"
import { byScore, filter, ordered, orElse, Router, tieBreak } from "@effect-comfyui/pool/Router"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerPool } from "./support/testPool.ts"

const cheap = new Set([BackendId.make("gpu-3"), BackendId.make("gpu-4")])

const isNight = (job: JobHead): boolean => job.tenant === "night"

/** Everybody else: where it costs least, as by default. */
const byDay = filter(CostAware.make(), (job) => !isNight(job))

/** Of the cheap servers the one that has its models, else the one that had the fewest jobs. */
const byNight = filter(
  ordered(
    "night",
    tieBreak(
      byScore((job, { id }, view) => view.warmth(id, job.affinity)?.warm === true ? 0 : 1),
      byScore((_, { placed }) => placed)
    ),
    // What `job.why` says of a placement.
    (_, { placed }) => ({ cheap: true, placed })
  ),
  (job, server) => isNight(job) && cheap.has(server)
)

const environment = layerPool(4, {}, Layer.succeed(Router, orElse(byDay, byNight)))

it.effect("night jobs run on cheap servers, after all others", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    const draw = (tenant: string) => (seconds: number) => pool.submit(Workflows.slow({ seconds }), { tenant })
    const night = yield* Effect.forEach([61, 62, 63, 64, 65, 66], draw("night"))
    const day = yield* Effect.forEach([31, 32, 33, 34, 35, 36], draw("studio"))
    // Lets time pass until all are done.
    yield* ComfyTest.advanceWhile(Effect.forEach([...night, ...day], (job) => job.result))

    const placed = (yield* Effect.forEach(night, (job) => job.why)).flat()
    assert.deepStrictEqual(new Set(placed.map(({ server }) => server)), cheap)
    assert.isTrue(placed.every(({ why }) => why["policy"] === "night"))
    // The other way round there is no rule: by day all four are used.
    const servers = (yield* Effect.forEach(day, (job) => job.why)).flat().map(({ server }) => server)
    assert.strictEqual(new Set(servers).size, 4)
  }).pipe(Effect.provide(environment)))
