// Machines that are rented until a certain time, and those that nobody hears of any more.
import { Pool } from "@effect-comfyui/pool/Pool"
import type { PoolEvent, ServerEvent } from "@effect-comfyui/pool/PoolEvent"
import * as Servers from "@effect-comfyui/pool/Servers"
import { Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { fleet, ready as known, server } from "./support/ask.ts"
import { minute } from "./support/clock.ts"
import { all, idOf, layerFleet, spec, told } from "./support/fleet.ts"
import { seeded } from "./support/heads.ts"
import { withSteps } from "./support/wall.ts"

const hour = 60 * minute

/** A picture of about forty seconds. */
const draw = (seed: number, steps = 20) => Workflows.textToImage({ seed, steps, width: 512, height: 512 })
const servers = () => ({ hardware: { stepMsPerMegapixel: 8_000 } })

/** Events of servers from now on, without those that this test is not about. */
const watched = Effect.fnUntraced(function*(...tags: ReadonlyArray<ServerEvent["_tag"]>) {
  const pool = yield* Pool
  const wanted: ReadonlySet<string> = new Set(tags)
  const seen: Array<PoolEvent> = []
  yield* Effect.forkChild(
    Stream.runForEach(pool.events, (event) => {
      if (wanted.has(event._tag)) seen.push(event)
      return Effect.void
    }),
    { startImmediately: true }
  )
  return seen
})

const tags = (events: ReadonlyArray<PoolEvent>) => events.map(({ _tag }) => _tag)

const whyWaits = Effect.fnUntraced(function*(deadline: "30 seconds") {
  const pool = yield* Pool
  const last = (yield* all(yield* pool.submit(draw(99), { deadline }))).at(-1)
  if (last?._tag !== "JobFailed" || last.error.reason._tag !== "NoEligibleServer") return undefined
  return last.error.reason.servers.map(({ why }) => why)
})

describe("leases", () => {
  it.effect("of twenty that end at random none cuts a run, while it is known what runs take", () => {
    const random = seeded(7)
    const ends = new Map(Array.from({ length: 20 }, (_, n) => [n + 2, 25 * minute + random() * 40 * minute]))
    return Effect.gen(function*() {
      const pool = yield* known
      // What a workflow takes is learnt on the one server that stays.
      yield* Effect.forEach([...ends.keys()], (n) => pool.servers.pause(idOf(n)))
      for (const seed of [1, 2, 3, 4]) yield* all(yield* pool.submit(draw(seed, 16 + seed * 2)))
      yield* Effect.forEach([...ends.keys()], (n) => pool.servers.resume(idOf(n)))
      const jobs = yield* pool.submitAll(
        Array.from({ length: 220 }, (_, index) => draw(10 + index, 16 + Math.floor(random() * 9)))
      )
      for (const [n, at] of [...ends].toSorted(([, a], [, b]) => a - b)) {
        yield* TestClock.adjust(Math.max(0, at - (yield* Clock.currentTimeMillis)))
        yield* (yield* server(n)).kill
      }
      const waiting = yield* Effect.map(pool.snapshot, ({ queued }) => queued)
      const endings = yield* Effect.forEach(jobs, (job) => all(job, "1 day"))
      let onLeases = 0
      let closest = Number.POSITIVE_INFINITY
      for (const [n, at] of ends) {
        const { prompts } = yield* (yield* server(n)).ledger
        onLeases += prompts.length
        for (const { endedAt, outcome } of prompts) {
          assert.strictEqual(outcome, "success")
          closest = Math.min(closest, at - (endedAt ?? Infinity))
        }
      }
      for (const events of endings) {
        const last = events.at(-1)
        assert.deepStrictEqual(last?._tag === "JobSucceeded" && last.executions, { atLeast: 1, atMost: 1 })
      }
      assert.isAbove(waiting, 0)
      assert.isAbove(onLeases, 100)
      assert.isAbove(closest, 30_000)
    }).pipe(fleet(21, {
      // Runs of three minutes and more: work until the last lease is over.
      servers: () => ({ hardware: { stepMsPerMegapixel: 40_000 } }),
      specs: (n) => {
        const availableUntil = ends.get(n)
        return availableUntil === undefined ? {} : { availableUntil }
      }
    }))
  })

  it.effect("too short for a job it waits, and says so; with a longer one it takes it", () =>
    Effect.gen(function*() {
      const pool = yield* known
      assert.deepStrictEqual(yield* whyWaits("30 seconds"), ["its lease ends before the job would"])
      const job = yield* pool.submit(draw(1))
      const short = yield* pool.submit(draw(2), { estimate: "1 minute" })
      assert.strictEqual(told(yield* all(short)).at(-1), "JobSucceeded")
      yield* all(job)
      assert.strictEqual((yield* job.why).length, 1)
    }).pipe(fleet(1, { servers, specs: () => ({ availableUntil: 10 * minute }) })))

  it.effect("at its end the server drains by itself, and an extension brings it back", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const seen = yield* watched("ServerDraining", "ServerDrained", "ServerResumed", "ServerGone", "ServerRemoved")
      yield* TestClock.adjust("20 minutes")
      assert.deepStrictEqual(tags(seen), ["ServerDraining", "ServerDrained"])
      const [view] = yield* pool.servers.get
      assert.deepStrictEqual([view?.phase, view?.status, view?.host], ["draining", "draining", "rack"])
      const job = yield* pool.submit(draw(1))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* job.status)._tag, "Queued")
      const until = (yield* Clock.currentTimeMillis) + hour
      assert.isTrue(yield* pool.servers.update(idOf(1), { availableUntil: until, costPerHour: 2 }))
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      assert.deepStrictEqual(tags(seen), ["ServerDraining", "ServerDrained", "ServerResumed"])
      const [later] = yield* pool.servers.get
      assert.deepStrictEqual([later?.phase, later?.availableUntil, later?.costPerHour], ["ready", until, 2])
    }).pipe(fleet(1, { servers, specs: () => ({ availableUntil: 15 * minute, host: "rack" }) })))

  it.effect("what still runs at its end is left to run, and the machine is given back after it", () => {
    let released = 0
    const release = Effect.sync(() => void released++)
    return Effect.gen(function*() {
      const pool = yield* known
      const seen = yield* watched("ServerDraining", "ServerDrained", "ServerGone", "ServerRemoved")
      const job = yield* pool.submit(Workflows.slow({ seconds: 1_200 }), { estimate: "1 minute" })
      yield* TestClock.adjust("15 minutes")
      assert.strictEqual((yield* job.status)._tag, "Running")
      assert.deepStrictEqual([tags(seen), released], [["ServerDraining"], 0])
      const events = yield* all(job)
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "JobSucceeded" && last.executions, { atLeast: 1, atMost: 1 })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(tags(seen), ["ServerDraining", "ServerDrained", "ServerRemoved", "ServerGone"])
      assert.deepStrictEqual([(yield* pool.servers.get).length, released], [0, 1])
    }).pipe(fleet(1, { specs: () => ({ availableUntil: 10 * minute, control: { release } }) }))
  })

  it.effect("a step of the wall clock by an hour neither ends nor extends it", () =>
    withSteps((step) =>
      Effect.gen(function*() {
        const pool = yield* known
        yield* all(yield* pool.submit(draw(1)))
        for (const [index, ms] of [hour, -2 * hour].entries()) {
          step(ms)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual((yield* pool.servers.get)[0]?.phase, "ready")
          assert.strictEqual(told(yield* all(yield* pool.submit(draw(2 + index)))).at(-1), "JobSucceeded")
        }
        // Said again it is the same lease, whatever the wall clock says by now.
        yield* pool.servers.update(idOf(1), { availableUntil: 30 * minute })
        yield* TestClock.adjust("30 minutes")
        assert.strictEqual((yield* pool.servers.get)[0]?.phase, "draining")
      }).pipe(Effect.provide(layerFleet(1, { servers, specs: () => ({ availableUntil: 30 * minute }) })))
    ))
})

describe("a server that nobody hears of", () => {
  const control = (calls: Array<string>) => ({ release: Effect.sync(() => void calls.push("release")) })

  it.effect("for thirty minutes is gone if it is rented, and told of once if it is not", () => {
    const calls: Array<string> = []
    return Effect.gen(function*() {
      const pool = yield* known
      const seen = yield* watched("ServerGone")
      for (const n of [1, 2]) yield* (yield* server(n)).kill
      yield* TestClock.adjust("29 minutes")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(
        seen.map((event) => event._tag === "ServerGone" && `${event.server} ${event.why} ${event.removed}`).toSorted(),
        ["gpu-1 silent true", "gpu-2 silent false"]
      )
      assert.deepStrictEqual(calls, ["release"])
      assert.deepStrictEqual((yield* pool.servers.get).map(({ id, phase }) => [id, phase]), [["gpu-2", "gone"]])
      yield* (yield* server(2)).restart
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual((yield* pool.servers.get)[0]?.phase, "ready")
      yield* (yield* server(2)).kill
      yield* TestClock.adjust("31 minutes")
      assert.strictEqual(seen.length, 3)
    }).pipe(fleet(2, { specs: (n) => n === 1 ? { control: control(calls) } : {} }))
  })

  it.effect("and never was: a rented machine that does not come up is given back", () => {
    const calls: Array<string> = []
    return Effect.gen(function*() {
      const pool = yield* Pool
      yield* (yield* server(1)).kill
      assert.strictEqual((yield* pool.servers.get)[0]?.phase, "starting")
      yield* TestClock.adjust("31 minutes")
      assert.deepStrictEqual([(yield* pool.servers.get).length, calls.length], [0, 1])
    }).pipe(fleet(1, { specs: () => ({ control: control(calls) }) }))
  })

  it.effect("whose owner does not take it back is told of, and is out all the same", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const seen = yield* watched("ServerControlFailed")
      yield* pool.servers.remove(idOf(1))
      yield* TestClock.adjust("1 second")
      const [failed] = seen
      assert.deepStrictEqual(
        failed?._tag === "ServerControlFailed" && [failed.action, failed.cause],
        ["release", "the cloud says no"]
      )
      assert.deepStrictEqual(yield* pool.servers.get, [])
    }).pipe(fleet(1, { specs: () => ({ control: { release: Effect.fail({ message: "the cloud says no" }) } }) })))
})

describe("hosts", () => {
  it("are said, or read from an address, or are the server alone", () => {
    const { id } = spec(1)
    assert.strictEqual(Servers.hostOf({ id, host: "rack 7" }), "rack 7")
    assert.strictEqual(Servers.hostOf({ id, address: "http://10.0.0.1:8188" }), "10.0.0.1")
    assert.strictEqual(Servers.hostOf({ id, address: "somewhere" }), "gpu-1")
    assert.strictEqual(Servers.hostOf({ id }), "gpu-1")
  })

  it.effect("a job whose server died goes to another host while one is idle, else to the same", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const run = Effect.fnUntraced(function*(color: number) {
        yield* (yield* server(1)).inject(Fault.onNode({}, Fault.killProcess(), { times: 1 }))
        const job = yield* pool.submit(Workflows.picture({ color }), { prefer: [idOf(1)] })
        const events = yield* all(job)
        yield* (yield* server(1)).restart
        yield* TestClock.adjust("2 minutes")
        return told(events).filter((line) => line.startsWith("Placed"))
      })
      // By weight the second would come first.
      assert.deepStrictEqual(yield* run(1), ["Placed gpu-1", "Placed gpu-3"])
      yield* pool.servers.pause(idOf(3))
      assert.deepStrictEqual(yield* run(2), ["Placed gpu-1", "Placed gpu-2"])
    }).pipe(fleet(3, { specs: (n) => ({ host: n === 3 ? "b" : "a", weight: n === 3 ? 1 : 2 }) })))
})
