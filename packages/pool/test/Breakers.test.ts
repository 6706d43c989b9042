import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import * as Breakers from "@effect-comfyui/pool/Breakers"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { server } from "./support/heads.ts"

const minute = 60_000
const one = server("one")
const two = server("two")
const key: AffinityKey = "a1:a"

const failed = (more: Partial<Extract<Breakers.Input, { readonly _tag: "Failed" }>> = {}): Breakers.Input => ({
  _tag: "Failed",
  server: one,
  key,
  content: "c1:x",
  reason: "NodeFailed",
  ranMs: 60_000,
  ...more
})

const tick: Breakers.Input = { _tag: "Tick" }
const succeeded: Breakers.Input = { _tag: "Succeeded", server: one, key }
const probing: Breakers.Input = { _tag: "Probing", server: one, key }

const fleet = (servers: number, options?: Partial<Breakers.Options>) => {
  const state = Breakers.init(options)
  Breakers.step(state, { _tag: "Fleet", servers }, 0)
  return state
}

/** Plays inputs, each at its time; gives the tags of all notices. */
const play = (state: Breakers.State, ...inputs: ReadonlyArray<readonly [number, Breakers.Input]>) =>
  inputs.flatMap(([now, input]) => Breakers.step(state, input, now)).map((notice) =>
    notice._tag === "Blocked" ? `blocked ${notice.key ?? "all"} until ${notice.until}` : `unblocked ${notice.by}`
  )

const contents = ["c1:x", "c1:y", "c1:z"]
const threeFailures = contents.map((content, i) => [i, failed({ content })] as const)

describe("Breakers", () => {
  it("do not, by counting, leave a workflow without a server: one is out for it, another may not go out for all", () => {
    const state = fleet(2)
    play(state, ...threeFailures)
    const fast = Array.from(
      { length: 6 },
      (_, i) => [10 + i, failed({ server: two, key: "a1:b", content: `c1:${i}`, ranMs: 10 })] as const
    )
    assert.isFalse(play(state, ...fast).some((told) => told.startsWith("blocked all")))
    assert.strictEqual(Breakers.permit(state, one, key, 20), "blocked")
    assert.strictEqual(Breakers.permit(state, two, key, 20), "allowed")
  })

  it("opens a workflow on a server after three failures of two contents, and nothing else", () => {
    const state = fleet(4)
    assert.deepStrictEqual(play(state, ...threeFailures), [`blocked a1:a until ${5 * minute + 2}`])
    assert.strictEqual(Breakers.permit(state, one, key, 10), "blocked")
    assert.strictEqual(Breakers.permit(state, two, key, 10), "allowed")
    assert.strictEqual(Breakers.permit(state, one, "a1:b", 10), "allowed")
  })

  it("does not take one content for proof, nor failures with a success between them, nor old ones", () => {
    assert.deepStrictEqual(play(fleet(4), ...contents.map((_, i) => [i, failed()] as const)), [])
    const [first, second, third] = threeFailures
    if (first === undefined || second === undefined || third === undefined) return assert.fail("three")
    assert.deepStrictEqual(play(fleet(4), first, second, [2, succeeded], third), [])
    assert.deepStrictEqual(play(fleet(4), first, second, [11 * minute, failed({ content: "c1:z" })]), [])
  })

  it("tries with one job when the time has come, closes on success, doubles on failure", () => {
    const state = fleet(4)
    play(state, ...threeFailures)
    const due = Breakers.earliest(state)
    assert.deepStrictEqual(play(state, [due, tick]), ["unblocked elapsed"])
    assert.strictEqual(Breakers.permit(state, one, key, due), "probe")
    assert.deepStrictEqual(play(state, [due, probing]), [])
    assert.strictEqual(Breakers.permit(state, one, key, due), "blocked")
    assert.deepStrictEqual(play(state, [due + 1, failed()]), [`blocked a1:a until ${due + 1 + 10 * minute}`])
    const again = Breakers.earliest(state)
    assert.deepStrictEqual(play(state, [again, probing], [again + 1, succeeded]), ["unblocked elapsed"])
    assert.strictEqual(Breakers.permit(state, one, key, again + 1), "allowed")
  })

  it("gives the try back when it said nothing", () => {
    const state = fleet(4)
    play(state, ...threeFailures)
    const due = Breakers.earliest(state)
    play(state, [due, probing], [due, { _tag: "Neutral", server: one, key }])
    assert.strictEqual(Breakers.permit(state, one, key, due), "probe")
  })

  it("remembers how long it was open until it stayed closed for as long, and never exceeds an hour", () => {
    const state = fleet(4)
    let now = 0
    const opened: Array<number> = []
    for (let i = 0; i < 7; i++) {
      for (const content of contents) {
        for (const notice of Breakers.step(state, failed({ content }), ++now)) {
          if (notice._tag === "Blocked") opened.push((notice.until - now) / minute)
        }
      }
      now = Breakers.earliest(state)
      play(state, [now, probing], [now, succeeded])
    }
    assert.deepStrictEqual(opened, [5, 10, 20, 40, 60, 60, 60])
    now += 61 * minute
    const fresh = contents.flatMap((content) => Breakers.step(state, failed({ content }), now))
    assert.deepStrictEqual(fresh.map((notice) => notice._tag === "Blocked" ? notice.until - now : 0), [5 * minute])
  })

  it("opens a server at once for a fault that is proven, also the last one, until it restarts", () => {
    for (const reason of ["GpuPoisoned", "DiskFull", "WorkerStuck"] as const) {
      const state = fleet(1)
      assert.deepStrictEqual(play(state, [0, failed({ reason })]), [`blocked all until ${5 * minute}`])
      assert.strictEqual(Breakers.permit(state, one, "a1:other", 1), "blocked")
      assert.deepStrictEqual(play(state, [1, { _tag: "Restarted", server: one }]), ["unblocked restart"])
    }
  })

  it("opens a server after five fast failures in a row, of more than one content", () => {
    const fast = (i: number, content: string) => [i, failed({ ranMs: 100, content, key: `a1:${i}` })] as const
    const row = Array.from({ length: 5 }, (_, i) => fast(i, `c1:${i % 2}`))
    assert.deepStrictEqual(play(fleet(4), ...row), [`blocked all until ${5 * minute + 4}`])
    assert.deepStrictEqual(play(fleet(4), ...Array.from({ length: 9 }, (_, i) => fast(i, "c1:same"))), [])
    assert.deepStrictEqual(play(fleet(4), ...row.slice(0, 4), [4, failed()], ...row.slice(0, 4)), [])
  })

  it("opens a server after five failures of its own in a row, however late, also while its process ends under them", () => {
    const lost = (i: number) => [i, failed({ reason: "Lost", ranMs: 10 * minute, content: `c1:${i}` })] as const
    const restarted: Breakers.Input = { _tag: "Restarted", server: one }
    const row = Array.from({ length: 5 }, (_, i) => lost(i))
    const opened = [`blocked all until ${5 * minute + 4}`]
    assert.deepStrictEqual(play(fleet(4), ...row), opened)
    assert.deepStrictEqual(play(fleet(4), ...row.flatMap((one) => [[one[0], restarted] as const, one])), opened)
    // What worked for a while, or to its end, says that the server works.
    assert.deepStrictEqual(play(fleet(4), ...row.slice(0, 4), [4, failed()], lost(5)), [])
    assert.deepStrictEqual(play(fleet(4), ...row.slice(0, 4), [4, succeeded], lost(5)), [])
  })

  it("never takes out more than half of the servers by counting, nor the only one", () => {
    const state = fleet(4)
    const blocked = [0, 1, 2, 3].flatMap((i) =>
      contents.flatMap((content) => Breakers.step(state, failed({ server: server(`s${i}`), content }), i))
    )
    assert.strictEqual(blocked.length, 2)
    assert.deepStrictEqual(play(fleet(1), ...threeFailures), [])
  })

  it("does not count what is the workflow's or the caller's doing", () => {
    const reasons: ReadonlyArray<Reason["_tag"]> = [
      "Rejected",
      "MissingCapability",
      "OutOfMemory",
      "Cancelled",
      "RateLimited"
    ]
    for (const reason of reasons) {
      const state = fleet(4)
      const inputs = Array.from(
        { length: 20 },
        (_, i) => [i, failed({ reason, ranMs: 1, content: `c1:${i}` })] as const
      )
      assert.deepStrictEqual(play(state, ...inputs), [])
    }
  })

  it("undoes the counts of a content that failed the same way elsewhere", () => {
    const state = fleet(4)
    play(state, ...threeFailures)
    assert.deepStrictEqual(play(state, [9, { _tag: "Exonerate", content: "c1:y" }]), ["unblocked undone"])
    assert.strictEqual(Breakers.permit(state, one, key, 10), "allowed")
  })

  it("counts nothing that fails the same way on a second server: it comes with the workflow", () => {
    const state = fleet(4)
    const kind = "3 ValueError"
    assert.deepStrictEqual(
      play(state, ...contents.map((content, i) => [i, failed({ content, kind })] as const)),
      [`blocked a1:a until ${5 * minute + 2}`]
    )
    assert.deepStrictEqual(play(state, [5, failed({ server: two, kind })]), ["unblocked undone"])
    const many = Array.from(
      { length: 20 },
      (_, i) => [6 + i, failed({ server: two, content: `c1:${i}`, kind, ranMs: 1 })] as const
    )
    assert.deepStrictEqual(play(state, ...many), [])
    // Another node, or another workflow, is another matter; and so is the same after a while.
    const other = contents.map((content, i) => [50 + i, failed({ content, kind: "4 OSError" })] as const)
    assert.strictEqual(play(state, ...other).length, 1)
    const later = contents.map((content, i) => [60 * minute + i, failed({ server: two, content, kind })] as const)
    assert.isTrue(play(state, ...later).some((told) => told.startsWith("blocked a1:a")))
  })

  it("has the old rule as a preset", () => {
    const state = fleet(1, Breakers.oneFailure)
    assert.deepStrictEqual(play(state, [0, failed()], [minute, tick]), [
      `blocked a1:a until ${minute}`,
      "unblocked elapsed"
    ])
  })

  it("is read and reset by hand", () => {
    const state = fleet(4)
    play(state, ...threeFailures)
    assert.deepInclude(Breakers.snapshot(state)[0], { server: one, key, state: "open", failures: 3 })
    assert.deepStrictEqual(play(state, [9, { _tag: "Reset", server: null, key: null }]), ["unblocked reset"])
    assert.deepStrictEqual(Breakers.snapshot(state), [])
  })

  it("keeps its cap with any number of failing keys, and tells whom it forgets", () => {
    const state = fleet(4, { cap: 100, keyFailures: 1, keyContents: 1, ejectShare: 1 })
    const notices = Array.from({ length: 10_000 }, (_, i) => Breakers.step(state, failed({ key: `a1:${i}` }), i)).flat()
    assert.isAtMost(state.circuits.size, 100)
    assert.isAtMost(state.blocked.size, 100)
    const count = (tag: string) => notices.filter((notice) => notice._tag === tag).length
    assert.strictEqual(count("Blocked") - count("Unblocked"), state.blocked.size)
  })

  it("tells of every change once, and never forgets to open again", () => {
    const anyInput = fc.oneof(
      fc.record({
        server: fc.constantFrom(one, two),
        key: fc.constantFrom<AffinityKey>("a1:a", "a1:b"),
        content: fc.constantFrom("c1:x", "c1:y"),
        reason: fc.constantFrom<Reason["_tag"]>("NodeFailed", "GpuPoisoned", "Unreachable", "Rejected"),
        ranMs: fc.constantFrom(10, 60_000)
      }).map((more) => failed(more)),
      fc.constantFrom(one, two).map((server): Breakers.Input => ({ _tag: "Succeeded", server, key })),
      fc.constantFrom(one, two).map((server): Breakers.Input => ({ _tag: "Probing", server, key })),
      fc.constantFrom(one, two).map((server): Breakers.Input => ({ _tag: "Restarted", server })),
      fc.constant(tick)
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(anyInput, fc.nat(10 * minute)), { maxLength: 100 }), (steps) => {
        const state = fleet(3)
        const open = new Set<string>()
        let now = 0
        for (const [input, pause] of steps) {
          now += pause
          for (const notice of Breakers.step(state, input, now)) {
            const name = `${notice.server} ${notice.key}`
            if (notice._tag === "Blocked") {
              assert.isFalse(open.has(name))
              assert.isAtMost(notice.until - now, 60 * minute)
              open.add(name)
            } else assert.isTrue(open.delete(name))
          }
          const shown = Breakers.snapshot(state).filter((circuit) => circuit.state === "open")
          assert.deepStrictEqual(shown.map(({ key, server }) => `${server} ${key}`).toSorted(), [...open].toSorted())
          assert.strictEqual(
            Breakers.earliest(state),
            Math.min(Number.POSITIVE_INFINITY, ...shown.map((c) => c.openUntil))
          )
        }
        for (const notice of Breakers.step(state, tick, now + 61 * minute)) {
          assert.isTrue(open.delete(`${notice.server} ${notice.key}`))
        }
        assert.strictEqual(open.size, 0)
      }),
      { numRuns: 300 }
    )
  })
})
