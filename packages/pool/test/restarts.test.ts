// Servers that are restarted by their owner's hook: the decisions as a fold, and what a pool makes of them.
import { JobId, RunId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Breakers from "@effect-comfyui/pool/Breakers"
import * as Control from "@effect-comfyui/pool/Control"
import * as Fleet from "@effect-comfyui/pool/Fleet"
import * as Member from "@effect-comfyui/pool/Member"
import { Pool } from "@effect-comfyui/pool/Pool"
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import * as Restarts from "@effect-comfyui/pool/Restarts"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { fleet, ready as known, server } from "./support/ask.ts"
import { minute } from "./support/clock.ts"
import { all, idOf, told } from "./support/fleet.ts"
import { server as named } from "./support/heads.ts"

type Happens =
  | { readonly _tag: "Wanted"; readonly cause: Restarts.Cause }
  | { readonly _tag: "Memory"; readonly freeBytes: number }
  | { readonly _tag: "Called" | "Failed" | "New" | "Answers" | "Reset" | "Removed" | "Busy" | "Idle" | "Well" | "Sick" }

interface Move {
  readonly at: number
  readonly server: number
  readonly what: Happens
}

const moves: fc.Arbitrary<ReadonlyArray<Move>> = fc.array(
  fc.record({
    at: fc.oneof(fc.nat({ max: 5_000 }), fc.nat({ max: 4 * minute })),
    server: fc.nat({ max: 24 }),
    what: fc.oneof(
      fc.record({
        _tag: fc.constant("Wanted" as const),
        cause: fc.constantFrom<Restarts.Cause>("WorkerStuck", "GpuPoisoned", "memory")
      }),
      fc.record({ _tag: fc.constant("Memory"), freeBytes: fc.nat({ max: 100 }) }),
      fc.record({
        _tag: fc.constantFrom(
          "Called",
          "Failed",
          "New",
          "Answers",
          "Reset",
          "Removed",
          "Busy",
          "Idle",
          "Well",
          "Sick"
        )
      })
    )
  }),
  { maxLength: 250 }
)

const inputOf = (server: ReturnType<typeof named>, what: Happens): Restarts.Input | undefined => {
  switch (what._tag) {
    case "Wanted":
      return { _tag: "Wanted", server, cause: what.cause }
    case "Memory":
      return { _tag: "Memory", server, freeBytes: what.freeBytes, totalBytes: 1_000 }
    case "Failed":
      return { _tag: "Failed", server, cause: "no" }
    case "New":
    case "Answers":
      return { _tag: "Answers", server, isNew: what._tag === "New" }
    case "Called":
    case "Reset":
    case "Removed":
      return { _tag: what._tag, server }
    default:
      return undefined
  }
}

describe("restarts as a fold", () => {
  it("keep their bounds, whatever happens in whatever order", () => {
    let seen = 0
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 25 }), moves, (servers, all) => {
        const state = Restarts.init()
        const busy = new Set<string>()
        const sick = new Set<string>()
        const lastCall = new Map<string, number>()
        /** Servers that get no jobs, as the decisions said. */
        const out = new Map<string, "restart" | "ejected">()
        let now = 0
        const take = (decisions: ReadonlyArray<Restarts.Decision>) => {
          for (const { _tag, server } of decisions) {
            if (_tag === "Hold") {
              assert.isFalse(out.has(server))
              out.set(server, "restart")
            } else if (_tag === "Restart") {
              seen++
              assert.strictEqual(out.get(server), "restart")
              assert.isFalse(busy.has(server))
              assert.isAtLeast(now - (lastCall.get(server) ?? Number.NEGATIVE_INFINITY), 10 * minute)
              lastCall.set(server, now)
            } else if (_tag === "Eject") {
              assert.strictEqual(out.get(server), "restart")
              out.set(server, "ejected")
            } else {
              assert.isTrue(out.delete(server))
            }
            const atOnce = [...out.values()].filter((why) => why === "restart").length
            assert.isAtMost(atOnce, Math.max(1, Math.floor(servers / 10)))
          }
        }
        for (const { at, server: index, what } of all) {
          now += at
          const server = named(`s${index % servers}`)
          if (what._tag === "Busy") busy.add(server)
          else if (what._tag === "Idle") busy.delete(server)
          else if (what._tag === "Well") sick.delete(server)
          else if (what._tag === "Wanted") sick.add(server)
          const input = inputOf(server, what)
          if (input !== undefined) take(Restarts.step(state, input, now))
          if (input?._tag === "Removed") {
            out.delete(server)
            lastCall.delete(server)
          }
          const tick: Restarts.Input = {
            _tag: "Tick",
            servers,
            isBusy: (id) => busy.has(id),
            isWell: (id) => !sick.has(id)
          }
          take(Restarts.step(state, tick, now))
          assert.isAtLeast(Restarts.nextDue(state, 1_000, now), now)
          assert.isAtMost(Restarts.snapshot(state).length, servers)
        }
      }),
      { numRuns: 300 }
    )
    assert.isAbove(seen, 100)
  })

  const one = named("s")
  const tick: Restarts.Input = { _tag: "Tick", servers: 1, isBusy: () => false, isWell: () => false }

  it("free memory that falls at every reading to a tenth is a leak; one that recovers is none", () => {
    const read = (...free: ReadonlyArray<number>) => {
      const state = Restarts.init()
      for (const freeBytes of free) {
        Restarts.step(state, { _tag: "Memory", server: one, freeBytes, totalBytes: 1_000 }, 0)
      }
      return Restarts.step(state, tick, 0).map(({ _tag }) => _tag)
    }
    assert.deepStrictEqual(read(400, 300, 200, 90), ["Hold", "Restart"])
    assert.deepStrictEqual(read(400, 300, 200, 110), [])
    assert.deepStrictEqual(read(400, 300, 310, 90), [])
    assert.deepStrictEqual(read(90), [])
  })

  it("one that is not back in time has failed, and ends with the next process that answers", () => {
    const state = Restarts.init()
    Restarts.step(state, { _tag: "Wanted", server: one, cause: "WorkerStuck" }, 0)
    assert.deepStrictEqual(Restarts.step(state, tick, 0).map(({ _tag }) => _tag), ["Hold", "Restart"])
    Restarts.step(state, { _tag: "Called", server: one }, 1)
    assert.strictEqual(Restarts.nextDue(state, 1_000, 1), 10 * minute)
    const [ejected] = Restarts.step(state, tick, 10 * minute)
    assert.deepStrictEqual(ejected, {
      _tag: "Eject",
      server: one,
      cause: "was not back 10 minutes after its restart"
    })
    assert.deepStrictEqual(Restarts.step(state, { _tag: "Answers", server: one, isNew: false }, 11 * minute), [])
    assert.deepStrictEqual(Restarts.step(state, { _tag: "Answers", server: one, isNew: true }, 12 * minute), [
      { _tag: "Admit", server: one }
    ])
  })

  it("a server that answered before its hook was done is back with the hook", () => {
    const state = Restarts.init()
    Restarts.step(state, { _tag: "Wanted", server: one, cause: "memory" }, 0)
    Restarts.step(state, tick, 0)
    assert.deepStrictEqual(Restarts.step(state, { _tag: "Answers", server: one, isNew: false }, 1), [])
    assert.deepStrictEqual(Restarts.step(state, { _tag: "Called", server: one }, 2), [{ _tag: "Admit", server: one }])
  })
})

const heard = Effect.gen(function*() {
  const pool = yield* Pool
  const seen: Array<PoolEvent> = []
  yield* Effect.forkChild(
    Stream.runForEach(pool.events, (event) => {
      if (event._tag === "ServerRestarting" || event._tag === "ServerControlFailed") seen.push(event)
      return Effect.void
    }),
    { startImmediately: true }
  )
  return seen
})

/** One server whose hook counts its calls, and nothing else of a pool. */
const alone = Effect.gen(function*() {
  let calls = 0
  const id = named("s")
  const { now } = readTime(yield* Clock.Clock)
  const facts: Member.Facts = {
    id,
    host: id,
    tags: new Set(),
    weight: 1,
    vramBytes: undefined,
    underMs: Number.POSITIVE_INFINITY,
    availableUntil: undefined,
    costPerHour: undefined
  }
  const member = Member.make(facts, now, { control: { restart: Effect.sync(() => void calls++) } })
  const pool = Fleet.make()
  pool.members.set(id, member)
  const control = yield* Control.make({ fleet: pool, tell: () => undefined, wake: () => undefined })
  return { member, pool, control, calls: () => calls }
})

const runId = RunId.make("00000000-0000-4000-8000-000000000001")

const held = (fenced: boolean): Member.Held => ({
  jobId: JobId.make("job"),
  key: "a1:a",
  content: "c1:a",
  since: 0,
  expectedMs: 1_000,
  accepted: true,
  isNext: false,
  fenced
})

describe("a server with a hook", () => {
  it.effect("whose memory falls at each reading is restarted at rest", () =>
    Effect.gen(function*() {
      const { calls, control, member } = yield* alone
      for (const ramFreeBytes of [40, 30, 20, 5]) {
        assert.strictEqual(calls(), 0)
        member.capabilities = {
          epoch: 0,
          version: "0.33.0",
          machine: { argv: [], ramTotalBytes: 100, ramFreeBytes, vramTotalBytes: null },
          classes: new Map(),
          paid: new Set(),
          files: new Map()
        }
        // Read while something runs it says nothing.
        member.runs.set(runId, held(false))
        control.described(member)
        member.runs.clear()
        control.described(member)
        yield* TestClock.adjust("2 seconds")
      }
      assert.strictEqual(calls(), 1)
    }).pipe(Effect.scoped))

  it.effect("is not restarted under a run that is well, gets nothing new meanwhile, and is under one that was given up", () =>
    Effect.gen(function*() {
      const { calls, control, member, pool } = yield* alone
      member.runs.set(runId, held(false))
      for (
        const notice of Breakers.step(
          pool.breakers,
          { _tag: "Failed", server: named("s"), key: "a1:a", content: "c", reason: "WorkerStuck", ranMs: 60_000 },
          0
        )
      ) control.noticed(notice)
      yield* TestClock.adjust("20 minutes")
      assert.deepStrictEqual([calls(), member.held, Fleet.isUp(member)], [0, "restarting", false])
      member.runs.set(runId, held(true))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(calls(), 1)
    }).pipe(Effect.scoped))
})

describe("a pool with hooks", () => {
  it.effect("restarts a poisoned card, and uses it again", () => {
    let restart: Effect.Effect<void> = Effect.void
    return Effect.gen(function*() {
      const pool = yield* known
      const fake = yield* server(1)
      restart = Effect.andThen(fake.kill, Effect.andThen(Effect.sleep("40 seconds"), fake.restart))
      const seen = yield* heard
      yield* fake.inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
      yield* pool.servers.pause(idOf(2))
      const job = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* pool.servers.get)[0]?.status, "restarting")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* pool.servers.get)[0]?.status, "ready")
      assert.deepStrictEqual(seen.map((event) => event._tag === "ServerRestarting" && event.cause), ["GpuPoisoned"])
      yield* pool.servers.resume(idOf(2))
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      yield* pool.servers.pause(idOf(2))
      assert.strictEqual(
        told(yield* all(yield* pool.submit(Workflows.picture({ color: 2 })))).at(-1),
        "JobSucceeded"
      )
    }).pipe(fleet(2, { specs: (n) => n === 1 ? { control: { restart: Effect.suspend(() => restart) } } : {} }))
  })

  for (
    const [how, restart, cause] of [
      ["fails", Effect.fail({ message: "no such machine" }), "no such machine"],
      ["dies", Effect.die(new Error("a bug")), "a defect: Error: a bug"],
      ["does nothing", Effect.void, "was not back 10 minutes after its restart"]
    ] as const
  ) {
    it.effect(`whose hook ${how} puts the server out, tells it, and takes it back when somebody says so`, () =>
      Effect.gen(function*() {
        const pool = yield* known
        const seen = yield* heard
        yield* (yield* server(1)).inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
        const job = yield* pool.submit(Workflows.picture())
        yield* TestClock.adjust("11 minutes")
        assert.deepStrictEqual(
          seen.map((event) => event._tag === "ServerControlFailed" ? `${event.action}: ${event.cause}` : event._tag),
          ["ServerRestarting", `restart: ${cause}`]
        )
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* pool.servers.get)[0]?.status, "ejected")
        assert.strictEqual((yield* job.status)._tag, "Queued")
        assert.strictEqual(seen.length, 2)
        yield* (yield* server(1)).restart
        yield* pool.servers.resume(idOf(1))
        assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      }).pipe(fleet(1, { specs: () => ({ control: { restart } }) })))
  }

  it.effect("restarts two of twenty-five at most, and lets what is well end before", () => {
    let atOnce = 0
    let most = 0
    const calls: Array<number> = []
    const count = 25
    const fakes = new Map<number, { readonly kill: Effect.Effect<void>; readonly restart: Effect.Effect<void> }>()
    const restart = (n: number) =>
      Effect.gen(function*() {
        calls.push(n)
        most = Math.max(most, ++atOnce)
        yield* fakes.get(n)?.kill ?? Effect.void
        yield* Effect.sleep("1 minute")
        yield* fakes.get(n)?.restart ?? Effect.void
        atOnce--
      })
    return Effect.gen(function*() {
      const pool = yield* known
      for (let n = 1; n <= count; n++) {
        const fake = yield* server(n)
        fakes.set(n, fake)
        if (n <= 8) yield* fake.inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
      }
      const jobs = yield* pool.submitAll(Array.from({ length: count }, (_, color) => Workflows.picture({ color })))
      yield* ComfyTest.advanceUntil(() => calls.length === 8, { step: "10 seconds" })
      for (const job of jobs) assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual([calls.toSorted((a, b) => a - b), most], [[1, 2, 3, 4, 5, 6, 7, 8], 2])
      assert.isTrue((yield* pool.servers.get).every(({ status }) => status === "ready"))
    }).pipe(fleet(count, { specs: (n) => ({ control: { restart: restart(n) } }) }))
  })
})
