import type { HeadChange, JobHead } from "@effect-comfyui/pool/JobHead"
import * as ReadySet from "@effect-comfyui/pool/ReadySet"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { headOf } from "./support/heads.ts"

/** The clock of the queue at 0 of ours. */
const epoch = 1_000_000
const ready = (head: JobHead, now = 0): HeadChange => ({
  _tag: "Ready",
  head,
  inMs: Math.max(0, head.notBefore - epoch - now)
})
const gone = ({ id }: JobHead): HeadChange => ({ _tag: "Gone", id })

const setOf = (heads: ReadonlyArray<JobHead>, options?: Partial<ReadySet.Options>) =>
  ReadySet.step(ReadySet.init(options), heads.map((head) => ready(head)), 0)

/** Claims the first candidate again and again: the order in which a pool without servers to prefer would run them. */
const drain = (state: ReadySet.State, now = 0): ReadonlyArray<JobHead> => {
  const order: Array<JobHead> = []
  for (;;) {
    const [head] = ReadySet.take(state, { now }).candidates
    if (head === undefined) return order
    assert.isTrue(ReadySet.claimed(state, head))
    order.push(head)
  }
}

const sequences = (heads: ReadonlyArray<JobHead>) => heads.map(({ sequence }) => sequence)

const anyHead = (sequence: number): fc.Arbitrary<JobHead> =>
  fc.record({
    priority: fc.constantFrom(0, 0, 5, -1),
    tenant: fc.constantFrom("a", "b", "c"),
    affinity: fc.constantFrom<AffinityKey>("a1:a", "a1:b", "a1:c"),
    placement: fc.constantFrom("", "big", "tall", "near"),
    cost: fc.constantFrom(1, 1_000, 90_000),
    notBefore: fc.constantFrom(0, 0, epoch + 500)
  }).map((more) => headOf(sequence, more))

describe("ReadySet", () => {
  it("gives one tenant's jobs in order of arrival, highest priority first", () => {
    const heads = [
      headOf(0),
      headOf(1, { affinity: "a1:b" }),
      headOf(2, { priority: 9 }),
      headOf(3, { priority: -1e300 })
    ]
    assert.deepStrictEqual(sequences(drain(setOf(heads))), [2, 0, 1, 3])
  })

  it("offers one priority at a time, and the next below on request", () => {
    const state = setOf([headOf(0), headOf(1, { priority: 1 })])
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 0 }).candidates), [1])
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 0, below: 1 }).candidates), [0])
    assert.deepStrictEqual(ReadySet.take(state, { now: 0, below: 0 }).candidates, [])
  })

  it("shares GPU time between tenants by weight, whatever the size of their jobs", () => {
    const heads = Array.from({ length: 900 }, (_, i) =>
      i % 3 === 0
        ? headOf(i, { tenant: "long", cost: 20_000 })
        : headOf(i, { tenant: i % 3 === 1 ? "short" : "heavy", cost: 5_000 }))
    const state = ReadySet.setWeight(ReadySet.init(), "heavy", 2)
    ReadySet.step(state, heads.map((head) => ready(head)), 0)
    const used = new Map<string, number>()
    for (let i = 0; i < 300; i++) {
      const [head] = ReadySet.take(state, { now: 0 }).candidates
      if (head === undefined) break
      ReadySet.claimed(state, head)
      used.set(head.tenant, (used.get(head.tenant) ?? 0) + head.cost)
    }
    const [long = 0, short = 0, heavy = 0] = ["long", "short", "heavy"].map((tenant) => used.get(tenant))
    assert.closeTo(long / short, 1, 0.25)
    assert.closeTo(heavy / short, 2, 0.4)
  })

  it("charges what a job really took", () => {
    const heads = Array.from({ length: 200 }, (_, i) => headOf(i, { tenant: i % 2 === 0 ? "liar" : "honest" }))
    const state = setOf(heads)
    const counts = new Map<string, number>()
    for (let i = 0; i < 60; i++) {
      const [head] = ReadySet.take(state, { now: 0 }).candidates
      if (head === undefined) break
      ReadySet.claimed(state, head)
      counts.set(head.tenant, (counts.get(head.tenant) ?? 0) + 1)
      if (head.tenant === "liar") ReadySet.correct(state, "liar", head.cost, 60_000)
    }
    assert.isAbove(counts.get("honest") ?? 0, 10 * (counts.get("liar") ?? 0))
  })

  it("leaves no server idle for the sake of shares", () => {
    const state = setOf([headOf(0, { tenant: "a", placement: "big" }), headOf(1, { tenant: "b", cost: 1e9 })])
    ReadySet.correct(state, "b", 0, 1e9)
    const offer = ReadySet.take(state, { now: 0, accepts: (_, placement) => placement === "" })
    assert.deepStrictEqual(sequences(offer.candidates), [1])
  })

  it("passes over what no idle server may run, by placement and by tenant", () => {
    const heads = Array.from({ length: 1_000 }, (_, i) => headOf(i, { placement: i < 999 ? "absent" : "" }))
    const state = setOf(heads)
    let asked = 0
    const accepts = (_: AffinityKey, placement: string) => {
      asked++
      return placement === ""
    }
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 0, accepts }).candidates), [999])
    assert.isAtMost(asked, 6)
    assert.deepStrictEqual(ReadySet.take(state, { now: 0, tenants: () => false }).candidates, [])
  })

  it("offers jobs of warm keys before older ones, and never more than the limit", () => {
    const heads = Array.from({ length: 500 }, (_, i) => headOf(i, { affinity: `a1:${i % 100}` }))
    const state = setOf(heads)
    const offer = ReadySet.take(state, { now: 0, warm: new Set<AffinityKey>(["a1:77"]) })
    assert.strictEqual(offer.candidates[0]?.affinity, "a1:77")
    assert.strictEqual(offer.candidates[1]?.sequence, 0)
    assert.strictEqual(offer.candidates.length, 64)
    assert.strictEqual(new Set(offer.candidates).size, 64)
  })

  it("forces the oldest job once it waited long, one dispatch in so many", () => {
    const options = { forcedOneIn: 8, forcedAfter: 10_000 }
    const heads = [headOf(0, { affinity: "a1:cold" }), ...Array.from({ length: 100 }, (_, i) => headOf(i + 1))]
    const state = setOf(heads, options)
    const warm = new Set<AffinityKey>(["a1:a"])
    const order: Array<string> = []
    for (let i = 0; i < 40; i++) {
      const { candidates, forced } = ReadySet.take(state, { now: 20_000, warm })
      const [head] = candidates
      if (head === undefined) break
      order.push(forced ? "forced" : "free")
      ReadySet.claimed(state, head)
    }
    assert.strictEqual(order.indexOf("forced"), 7)
    assert.deepStrictEqual(order.filter((kind) => kind === "forced").length, 5)
  })

  it("holds a delayed job until its time on the monotonic clock, and keeps its place", () => {
    const heads = [headOf(0, { notBefore: epoch + 500 }), headOf(1)]
    const state = setOf(heads)
    assert.strictEqual(ReadySet.nextDue(state), 500)
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 499 }).candidates), [1])
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 500 }).candidates), [0, 1])
    assert.strictEqual(ReadySet.nextDue(state), Number.POSITIVE_INFINITY)
  })

  it("takes a job back at its old place", () => {
    const heads = Array.from({ length: 5 }, (_, i) => headOf(i))
    const state = setOf(heads)
    for (const head of heads.slice(0, 4)) ReadySet.claimed(state, head)
    ReadySet.step(
      state,
      [heads[2], heads[0], heads[3]].flatMap((head) => head === undefined ? [] : [ready(head)]),
      0
    )
    assert.deepStrictEqual(sequences(drain(state)), [0, 2, 3, 4])
  })

  it("takes a job back into the middle of its bucket, once", () => {
    const heads = Array.from({ length: 5 }, (_, i) => headOf(i))
    for (const back of [headOf(2), headOf(2, { cost: 7 }), heads[2]]) {
      const state = setOf(heads)
      const [, , middle] = heads
      if (middle === undefined || back === undefined) return assert.fail("there is no middle")
      assert.isTrue(ReadySet.claimed(state, middle))
      assert.isFalse(ReadySet.claimed(state, middle))
      ReadySet.step(state, [ready(back)], 0)
      const { candidates } = ReadySet.take(state, { now: 0 })
      assert.deepStrictEqual(sequences(candidates), [0, 1, 2, 3, 4])
      assert.strictEqual(candidates[2], back)
      assert.deepStrictEqual(sequences(drain(state)), [0, 1, 2, 3, 4])
    }
  })

  it("does not offer a job early that was claimed out of the middle and comes back later", () => {
    const heads = Array.from({ length: 4 }, (_, i) => headOf(i))
    const state = setOf(heads)
    const [, , middle] = heads
    if (middle === undefined) return assert.fail("there is no middle")
    ReadySet.claimed(state, middle)
    ReadySet.step(state, [{ _tag: "Ready", head: middle, inMs: 100 }], 0)
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 99 }).candidates), [0, 1, 3])
    assert.deepStrictEqual(sequences(ReadySet.take(state, { now: 100 }).candidates), [0, 1, 2, 3])
  })

  it("takes out the job that stands there now, by the head it had when it was offered", () => {
    const offered = headOf(0)
    const state = setOf([offered])
    ReadySet.step(state, [ready(headOf(0, { tenant: "other", cost: 100_000 }))], 0)
    assert.isTrue(ReadySet.claimed(state, offered))
    assert.strictEqual(ReadySet.size(state), 0)
    assert.deepStrictEqual(ReadySet.snapshot(state).tenants, [
      { tenant: "other", ready: 0, delayed: 0, oldest: null, balanceMs: -40_000 }
    ])
  })

  it("says of each tenant what waits, what waits for its time, and which of it came first", () => {
    const state = setOf([headOf(3), headOf(4, { priority: 9 }), headOf(5, { tenant: "late" })])
    ReadySet.step(state, [{ _tag: "Ready", head: headOf(1), inMs: 100 }], 0)
    const of = (name: string) => ReadySet.snapshot(state).tenants.find(({ tenant }) => tenant === name)
    const { tenant } = headOf(3)
    assert.include(of(tenant), { ready: 2, delayed: 1, oldest: headOf(1).id })
    assert.include(of("late"), { ready: 1, delayed: 0, oldest: headOf(5).id })
    ReadySet.step(state, [{ _tag: "Gone", id: headOf(1).id }], 0)
    assert.include(of(tenant), { ready: 2, delayed: 0, oldest: headOf(3).id })
  })

  it("forgets claimed jobs, whether the queue calls them gone or not", () => {
    const heads = Array.from({ length: 10_000 }, (_, i) => headOf(i))
    const state = setOf(heads)
    heads.forEach((head, i) => {
      ReadySet.claimed(state, head)
      if (i % 2 === 0) ReadySet.step(state, [gone(head)], 0)
    })
    assert.strictEqual(ReadySet.size(state), 0)
    assert.isAtMost(state.jobs.size, 4_096)
    ReadySet.step(state, heads.map(gone), 0)
    assert.strictEqual(state.jobs.size, 0)
    assert.strictEqual(state.taken.size, 0)
  })

  it("knows the demand for each key", () => {
    const state = setOf([headOf(0), headOf(1), headOf(2, { affinity: "a1:b" })])
    assert.deepStrictEqual((["a1:a", "a1:b", "a1:c"] as const).map((key) => ReadySet.demandOf(state, key)), [2, 1, 0])
  })

  it("neither loses nor doubles a job, and offers them in order within a bucket", () => {
    const anything = fc.array(fc.nat(), { maxLength: 120 }).chain((picks) =>
      fc.tuple(fc.constant(picks), fc.tuple(...picks.map((_, i) => anyHead(i))))
    )
    fc.assert(
      fc.property(anything, ([picks, heads]) => {
        const state = ReadySet.init({ tenants: 3, candidates: 16 })
        const inside = new Map<string, JobHead>()
        const away: Array<JobHead> = []
        let now = 0
        heads.forEach((head, i) => {
          const pick = picks[i] ?? 0
          ReadySet.step(state, [ready(head, now)], now)
          inside.set(head.id, head)
          if (pick % 4 === 0) {
            const victim = [...inside.values()][pick % inside.size]
            if (victim !== undefined) {
              ReadySet.step(state, [gone(victim), gone(victim)], now)
              inside.delete(victim.id)
            }
          }
          if (pick % 3 === 0) {
            const { candidates } = ReadySet.take(state, { now })
            assert.isAtMost(candidates.length, 16)
            assert.strictEqual(new Set(candidates).size, candidates.length)
            for (const one of candidates) assert.strictEqual(inside.get(one.id), one)
            const chosen = candidates[pick % Math.max(1, candidates.length)]
            if (chosen !== undefined) {
              ReadySet.claimed(state, chosen)
              inside.delete(chosen.id)
              away.push(chosen)
              if (pick % 2 === 0) ReadySet.step(state, [gone(chosen)], now)
            }
          }
          const back = pick % 5 === 0 ? away.pop() : undefined
          if (back !== undefined) {
            ReadySet.step(state, [ready(back, now)], now)
            inside.set(back.id, back)
          }
          assert.strictEqual(ReadySet.size(state), inside.size)
          now += pick % 100
        })
        const rest = drain(state, 1e9)
        assert.deepStrictEqual(rest.map(({ id }) => id).toSorted(), [...inside.keys()].toSorted())
        const buckets = Map.groupBy(rest, (head) => [head.priority, head.tenant, head.affinity, head.placement].join())
        for (const bucket of buckets.values()) {
          assert.deepStrictEqual(sequences(bucket), sequences(bucket).toSorted((a, b) => a - b))
        }
        assert.deepInclude(ReadySet.snapshot(state), { ready: 0, delayed: 0 })
        assert.strictEqual(state.demand.size, 0)
        assert.strictEqual(state.classes.length, 0)
      }),
      { numRuns: 300 }
    )
  })

  it("keeps no more accounts than its cap", () => {
    const state = ReadySet.init({ accounts: 10 })
    for (let i = 0; i < 100; i++) {
      const head = headOf(i, { tenant: `t${i}` })
      ReadySet.step(state, [ready(head)], 0)
      ReadySet.claimed(state, head)
      ReadySet.correct(state, head.tenant, 0, 1e9)
    }
    assert.isAtMost(state.accounts.size, 10)
  })
})
