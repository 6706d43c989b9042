// Storage that fails for every server at once.
import { Pool, type PoolJob } from "@effect-comfyui/pool/Pool"
import * as Storage from "@effect-comfyui/pool/Storage"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { fleet, ready as known, reasonOf, server } from "./support/ask.ts"
import { minute } from "./support/clock.ts"
import { all, idOf, told } from "./support/fleet.ts"
import { server as named } from "./support/heads.ts"

const fails = Fault.raise("OSError", "[Errno 5] Input/output error: '/mnt/share/output/slow_00001_.png'")

const names = Array.from({ length: 20 }, (_, index) => index + 1)

/** Every prompt that a server took, of all servers. */
const prompts = Effect.map(
  Effect.forEach(names, (n) => Effect.flatMap(server(n), ({ ledger }) => ledger)),
  (ledgers) => ledgers.flatMap(({ prompts }) => prompts)
)

const busy = Effect.gen(function*() {
  const views = yield* (yield* Pool).servers.get
  return views.filter(({ status }) => status === "busy").length
})

describe("storage that all servers share", () => {
  it.effect("and that fails for five minutes costs few runs, no job, and half a minute", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const jobs: Array<PoolJob> = []
      const submit = Effect.fnUntraced(function*(count: number) {
        for (let n = 0; n < count; n++) {
          jobs.push(yield* pool.submit(Workflows.slow({ seconds: 15 + jobs.length / 1_000 })))
          yield* TestClock.adjust("1 second")
        }
      })
      yield* submit(20)
      for (const n of names) {
        yield* (yield* server(n)).inject(Fault.onNode({ classType: "SaveImage" }, fails, { forMs: 5 * minute }))
      }
      yield* submit(280)
      yield* TestClock.adjust("20 seconds")
      // It is over; by now 280 jobs and more wait.
      const overAt = yield* Clock.currentTimeMillis
      yield* ComfyTest.advanceUntil(Effect.map(busy, (count) => count === names.length))
      const fullAfter = (yield* Clock.currentTimeMillis) - overAt
      const endings = yield* Effect.forEach(jobs, (job) => all(job))
      assert.deepStrictEqual(new Set(endings.map((events) => told(events).at(-1))), new Set(["JobSucceeded"]))
      const perJob = (yield* prompts).length / jobs.length
      // All that was under way when it began was lost, and what was sent to find out.
      assert.isAbove(perJob, 1 + 15 / jobs.length)
      assert.isAtMost(perJob, 1.15)
      assert.isAtMost(fullAfter, 30_000)
    }).pipe(fleet(names.length)))

  it.effect("one workflow that reads a broken file is given up, and holds nobody", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const broken = Workflows.raising({ type: "OSError", message: "[Errno 5] Input/output error: '/models/a'" })
      const bad = yield* pool.submit(broken)
      const events = yield* all(bad)
      assert.strictEqual(reasonOf(events)?._tag, "StorageFailed")
      assert.strictEqual((yield* bad.why).length, 3)
      for (let color = 0; color < 5; color++) {
        assert.strictEqual(told(yield* all(yield* pool.submit(Workflows.picture({ color })))).at(-1), "JobSucceeded")
      }
    }).pipe(fleet(4)))

  it.effect("of one server only: its jobs go to the others, and why it waits is said", () =>
    Effect.gen(function*() {
      const pool = yield* known
      yield* (yield* server(1)).inject(Fault.onNode({ classType: "SaveImage" }, fails))
      yield* pool.servers.pause(idOf(2))
      const job = yield* pool.submit(Workflows.picture({ color: 1 }))
      yield* TestClock.adjust("5 seconds")
      const late = yield* all(yield* pool.submit(Workflows.picture({ color: 2 }), { deadline: "5 seconds" }))
      const reason = reasonOf(late)
      assert.deepStrictEqual(
        reason?._tag === "NoEligibleServer" && reason.servers.map(({ why }) => why),
        ["storage fails", "paused"]
      )
      yield* pool.servers.resume(idOf(2))
      assert.deepStrictEqual(told(yield* all(job)).slice(1), [
        "Placed gpu-1",
        "StorageFailed → another-server",
        "Placed gpu-2",
        "Completed → done",
        "JobSucceeded"
      ])
      yield* (yield* server(1)).heal
      yield* pool.servers.unblock(idOf(1))
      yield* pool.servers.pause(idOf(2))
      assert.strictEqual(told(yield* all(yield* pool.submit(Workflows.picture({ color: 3 }))))[1], "Placed gpu-1")
    }).pipe(fleet(2)))

  it("any sequence: probes keep their distance, every block is undone, and nothing grows", () => {
    const input = fc.record({
      at: fc.nat({ max: 40_000 }),
      server: fc.nat({ max: 5 }),
      what: fc.constantFrom("Failed", "Succeeded", "Place", "Restart", "Reset"),
      content: fc.nat({ max: 50 })
    })
    fc.assert(fc.property(fc.array(input, { maxLength: 200 }), (all) => {
      const state = Storage.init()
      const blocked = new Set<string>()
      let now = 0
      let probedAt = Number.NEGATIVE_INFINITY
      for (const { at, content, server: n, what } of all) {
        now += at
        const one = named(`s${n}`)
        const permit = Storage.permit(state, one, now)
        assert.isTrue(permit !== "allowed" || !blocked.has(one))
        assert.isTrue(permit === "allowed" || blocked.has(one) || blocked.size > 1)
        if (what === "Place" && permit === "blocked") continue
        if (what === "Place" && permit === "probe") {
          assert.isAtLeast(now - probedAt, 20_000)
          probedAt = now
        }
        const given: Storage.Input = what === "Failed"
          ? { _tag: "Failed", server: one, content: `${content}` }
          : what === "Restart"
          ? { _tag: "Forget", server: one, by: "restart" }
          : what === "Reset"
          ? { _tag: "Forget", server: null, by: "reset" }
          : { _tag: what === "Place" ? "Probing" : "Succeeded", server: one }
        for (const notice of Storage.step(state, given, now)) {
          if (notice._tag === "Blocked") assert.isFalse(blocked.has(notice.server))
          else assert.isTrue(blocked.has(notice.server))
          if (notice._tag === "Blocked") blocked.add(notice.server)
          else blocked.delete(notice.server)
        }
        if (blocked.size === 0) probedAt = Number.NEGATIVE_INFINITY
        const { failing, isOut } = Storage.snapshot(state)
        assert.deepStrictEqual(new Set<string>(failing), blocked)
        assert.isTrue(!isOut || failing.length > 0)
        assert.isAtMost(state.contents.size, 16)
      }
    }))
  })
})
