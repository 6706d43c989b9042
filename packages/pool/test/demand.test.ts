// What those who add and release machines are told.
import type { BackendId } from "@effect-comfyui/execution/Ids"
import * as Demand from "@effect-comfyui/pool/Demand"
import { Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { fleet, ready as known, server as fake } from "./support/ask.ts"
import { idOf, ready } from "./support/fleet.ts"
import { server } from "./support/heads.ts"

const machine = (id: string, more: Partial<Demand.Machine> = {}): Demand.Machine => ({
  id: server(id),
  busyMs: 0,
  idleMs: 0,
  tags: [],
  costPerHour: undefined,
  isReleasable: true,
  ...more
})

const waiting = (jobs: number, jobMs: number, ids: ReadonlyArray<string>, more: Partial<Demand.Waiting> = {}) => ({
  key: "a1:a" as const,
  jobs,
  jobMs,
  tags: [],
  vramBytes: 0,
  servers: new Set(ids.map(server)),
  ...more
})

const minute = 60_000

const machines: fc.Arbitrary<ReadonlyArray<Demand.Machine>> = fc.array(
  fc.record({
    busyMs: fc.oneof(fc.nat({ max: 600_000 }), fc.constant(Number.POSITIVE_INFINITY)),
    idleMs: fc.nat({ max: 60 * minute }),
    tags: fc.subarray(["a", "b"]),
    costPerHour: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
    isReleasable: fc.boolean()
  }),
  { maxLength: 12 }
).map((all) => all.map((more, index) => machine(`s${index}`, more)))

const kinds: fc.Arbitrary<ReadonlyArray<Demand.Waiting>> = fc.array(
  fc.tuple(fc.nat({ max: 500 }), fc.nat({ max: 300_000 }), fc.uniqueArray(fc.nat({ max: 13 }))),
  { maxLength: 6 }
).map((all) => all.map(([jobs, jobMs, ids]) => waiting(jobs, jobMs, ids.map((id) => `s${id}`))))

describe("demand", () => {
  it("tells when the last job begins, and what would help", () => {
    const { groups } = Demand.of([waiting(10, minute, ["a", "b"])], [machine("a"), machine("b", { busyMs: minute })])
    const [group] = groups
    // At 0, 1, 1, 2, 2 … minutes.
    assert.deepStrictEqual([group?.waitMs, group?.workMs, group?.worthAdding], [5 * minute, 10 * minute, 4])
    const film = Demand.of([waiting(1, 20 * minute, ["a"])], [machine("a", { busyMs: 5 * minute })]).groups[0]
    // One job does not begin sooner on two servers than on one.
    assert.deepStrictEqual([film?.waitMs, film?.worthAdding], [5 * minute, 1])
  })

  it("what no server can run is told by what it asks for", () => {
    const { groups } = Demand.of([
      waiting(3, minute, [], { tags: ["huge"], vramBytes: 96 }),
      waiting(1, minute, [], { tags: ["apple"] })
    ], [machine("a")])
    assert.deepStrictEqual(
      groups.map(({ jobs, tags, vramBytes, waitMs, worthAdding }) => [jobs, tags, vramBytes, waitMs, worthAdding]),
      [[3, ["huge"], 96, null, 2], [1, ["apple"], 0, null, 1]]
    )
  })

  it("releases the dearest first, none that is wanted, and never the last of its kind", () => {
    const idleMs = 20 * minute
    const all = [
      machine("cheap", { idleMs, costPerHour: 1 }),
      machine("dear", { idleMs, costPerHour: 3 }),
      machine("wanted", { idleMs, costPerHour: 9 }),
      machine("fresh", { idleMs: minute, costPerHour: 9 }),
      machine("only", { idleMs, costPerHour: 9, tags: ["apple"] }),
      machine("ours", { idleMs, isReleasable: false })
    ]
    assert.deepStrictEqual(Demand.of([waiting(1, 1, ["wanted"])], all).worthReleasing.map(String), ["dear", "cheap"])
    assert.deepStrictEqual(Demand.of([], all.slice(0, 2)).worthReleasing.map(String), ["dear"])
  })

  it("another server never makes anybody wait longer, and no list grows without end", () => {
    fc.assert(fc.property(kinds, machines, fc.nat({ max: 600_000 }), (all, fleet, busyMs) => {
      const before = Demand.of(all, fleet)
      const more = all.map((kind) => ({ ...kind, servers: new Set<BackendId>([...kind.servers, server("new")]) }))
      const after = Demand.of(more, [...fleet, machine("new", { busyMs })])
      for (const group of [...before.groups, ...after.groups]) {
        assert.isAtLeast(group.waitMs ?? 0, 0)
        assert.isAtLeast(group.worthAdding, 0)
        assert.isAtMost(group.worthAdding, Math.min(64, group.jobs))
        assert.isAtMost(Math.max(group.keys.length, group.servers.length, group.tags.length), 100)
      }
      for (const kind of all) {
        const [was] = Demand.of([kind], fleet).groups
        const [is] = Demand.of([{ ...kind, servers: new Set([...kind.servers, server("new")]) }], [
          ...fleet,
          machine("new", { busyMs })
        ]).groups
        assert.isAtMost(is?.waitMs ?? 0, was?.waitMs ?? Number.POSITIVE_INFINITY)
      }
      const released = new Set(before.worthReleasing)
      for (const { id, tags } of fleet.filter(({ id }) => released.has(id))) {
        assert.isFalse(all.some(({ jobs, servers }) => jobs > 0 && servers.has(id)))
        assert.isTrue(fleet.some((other) => !released.has(other.id) && `${other.tags}` === `${tags}`))
      }
    }))
  })

  it("so many servers are enough, and one less is not", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 600_000 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 200_000 }),
        (busy, jobs, jobMs) => {
          const ids = busy.map((_, index) => `s${index}`)
          const [group] =
            Demand.of([waiting(jobs, jobMs, ids)], ids.map((id, n) => machine(id, { busyMs: busy[n] ?? 0 })))
              .groups
          const adding = group?.worthAdding ?? 0
          const waitWith = (more: number) =>
            Demand.waitOf([...busy, ...Array.from({ length: more }, () => 0)], jobs, jobMs)
          assert.isAtMost(waitWith(adding), minute)
          if (adding > 0) assert.isAbove(waitWith(adding - 1), minute)
        }
      )
    )
  })
})

describe("the demand of a pool", () => {
  it.effect("follows its jobs and its servers, and counts machines that are coming up", () =>
    Effect.gen(function*() {
      const pool = yield* known
      let latest: Demand.Demand | undefined
      yield* Effect.forkChild(
        Stream.runForEach(pool.demand, (one) => {
          latest = one
          return Effect.void
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(latest, { groups: [], worthReleasing: [] })
      yield* pool.submitAll(
        Array.from({ length: 12 }, (_, n) => Workflows.slow({ seconds: 100 + n })),
        { estimate: "100 seconds" }
      )
      yield* TestClock.adjust("6 seconds")
      const [group] = latest?.groups ?? []
      assert.deepStrictEqual([group?.jobs, group?.servers.length, group?.worthAdding], [10, 2, 8])
      assert.isAbove(group?.waitMs ?? 0, 400_000)
      // A machine that was ordered counts before it is there.
      yield* (yield* fake(3)).kill
      yield* pool.servers.add(yield* ready(3))
      yield* TestClock.adjust("6 seconds")
      const [later] = latest?.groups ?? []
      assert.deepStrictEqual([later?.jobs, later?.servers.length, later?.worthAdding], [10, 3, 7])
      yield* (yield* fake(3)).restart
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(latest?.groups, [])
      assert.deepStrictEqual(latest?.worthReleasing, [idOf(2), idOf(1)])
    }).pipe(fleet(3, {
      members: 2,
      specs: (n) => ({ costPerHour: n })
    })))
})
