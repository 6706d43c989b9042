import { attributions, type Reason } from "@effect-comfyui/execution/ExecutionError"
import * as Failover from "@effect-comfyui/pool/Failover"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { server } from "./support/heads.ts"

const one = server("one")
const two = server("two")
const three = server("three")

const raised = { nodeId: "3", classType: "KSampler", exceptionType: "ValueError", message: "no" }
const unreachable: Reason = { _tag: "Unreachable", by: "network", status: null, cause: "refused" }
const lost: Reason = { _tag: "Lost", evidence: "restart" }
const oom: Reason = { _tag: "OutOfMemory", ...raised }
const nodeFailed: Reason = { _tag: "NodeFailed", ...raised, traceback: [] }
const elsewhere: Reason = { _tag: "Cancelled", by: "elsewhere" }

const attempt = (reason: Reason, more: Partial<Failover.Attempt> = {}): Failover.Attempt => ({
  server: one,
  reason,
  accepted: true,
  paid: false,
  anotherKeyBefore: false,
  storageOut: false,
  ...more
})

/** What follows each of these attempts of one job. */
const verdicts = (attempts: ReadonlyArray<Failover.Attempt>, policy: Partial<Failover.Policy> = {}) => {
  let ledger = Failover.empty
  const all = attempts.map((one) => {
    ledger = Failover.record(ledger, one)
    return Failover.decide(one, ledger, { ...Failover.defaults, ...policy }, 0.5)
  })
  return { all, tags: all.map((verdict) => verdict._tag === "Retry" ? verdict.on : verdict._tag), ledger }
}

describe("Failover", () => {
  it("tries what was not accepted without end, later each time up to a minute, and free of the budget", () => {
    const { all, ledger } = verdicts(Array.from({ length: 40 }, () => attempt(unreachable, { accepted: false })))
    const delays = all.map((verdict) => verdict._tag === "Retry" && !verdict.repeats ? verdict.delayMs : Number.NaN)
    assert.deepStrictEqual(delays.slice(0, 3), [750, 1_500, 3_000])
    assert.strictEqual(Math.max(...delays), 45_000)
    assert.strictEqual(ledger.executions, 0)
    assert.deepStrictEqual(ledger.exclude, [one])
  })

  it("asks another server at once where a class or a model is missing", () => {
    const missing: Reason = { _tag: "MissingCapability", classes: ["A"], models: [] }
    assert.deepInclude(verdicts([attempt(missing, { accepted: false })]).all[0], { on: "another-server", delayMs: 0 })
  })

  it("waits as long as a server asks to", () => {
    const limited: Reason = { _tag: "RateLimited", retryAfterMs: 90_000 }
    assert.deepInclude(verdicts([attempt(limited, { accepted: false })]).all[0], { on: "same-server", delayMs: 90_000 })
  })

  it("runs a job twice when servers die, and gives it to a person when two have", () => {
    assert.deepStrictEqual(verdicts([attempt(lost), attempt(lost, { server: two })]).tags, [
      "another-server",
      "DeadLetter"
    ])
    assert.deepStrictEqual(verdicts([attempt(lost), attempt(lost)]).tags, ["another-server", "GiveUp"])
  })

  it("runs out of memory once more: beside another workflow on the same card, else on a larger one", () => {
    const alone = verdicts([attempt(oom), attempt(oom, { server: two })])
    assert.deepInclude(alone.all[0], { on: "another-server", largerThan: one, freeFirst: null })
    assert.strictEqual(alone.tags[1], "GiveUp")
    assert.deepInclude(verdicts([attempt(oom, { anotherKeyBefore: true })]).all[0], {
      on: "same-server",
      largerThan: null,
      freeFirst: one
    })
  })

  it("takes one foreign interrupt, and avoids the server where it came", () => {
    const { ledger, tags } = verdicts([attempt(elsewhere), attempt(elsewhere)])
    assert.deepStrictEqual(tags, ["another-server", "GiveUp"])
    assert.deepStrictEqual(ledger.exclude, [one])
  })

  it("does not repeat a failed node; the same failure on a second server clears both", () => {
    assert.deepStrictEqual(verdicts([attempt(nodeFailed)]).all, [
      { _tag: "GiveUp", why: "a node failed", exonerate: false }
    ])
    const both = verdicts([attempt(nodeFailed), attempt(nodeFailed, { server: two })], { nodeFailures: 5 })
    assert.deepInclude(both.all[1], { _tag: "GiveUp", exonerate: true })
  })

  it("moves on from a server that is at fault, twice", () => {
    const full: Reason = { _tag: "DiskFull", ...raised }
    const attempts = [one, two, three].map((server) => attempt(full, { server }))
    assert.deepStrictEqual(verdicts(attempts).tags, ["another-server", "another-server", "GiveUp"])
  })

  it("moves on from a storage that failed, twice, and without end while it is known to be out", () => {
    const share: Reason = { _tag: "StorageFailed", ...raised }
    const attempts = [one, two, three].map((server) => attempt(share, { server }))
    assert.deepStrictEqual(verdicts(attempts).tags, ["another-server", "another-server", "GiveUp"])
    const known = attempts.map((one) => ({ ...one, storageOut: true }))
    assert.deepStrictEqual(verdicts(known).tags, ["another-server", "another-server", "another-server"])
  })

  it("never runs a paid job again that may have run", () => {
    assert.deepStrictEqual(verdicts([attempt(lost, { paid: true })]).tags, ["DeadLetter"])
    assert.deepStrictEqual(verdicts([attempt(nodeFailed, { paid: true })]).tags, ["GiveUp"])
    assert.deepStrictEqual(verdicts([attempt(oom, { paid: true })]).tags, ["GiveUp"])
    assert.deepStrictEqual(verdicts([attempt(unreachable, { paid: true, accepted: false })]).tags, ["another-server"])
  })

  it("does with an ambiguous POST what it was told", () => {
    const ambiguous = attempt({ _tag: "SubmitAmbiguous", promptId: "p", cause: "cut" })
    assert.deepStrictEqual(verdicts([ambiguous]).tags, ["DeadLetter"])
    assert.deepStrictEqual(verdicts([ambiguous], { onAmbiguity: "fail" }).tags, ["GiveUp"])
    assert.deepStrictEqual(verdicts([ambiguous], { onAmbiguity: "retry" }).tags, ["another-server"])
  })

  it("gives up where the table says so", () => {
    const final: ReadonlyArray<Reason> = [
      { _tag: "TotalTimeout", limitMs: 1 },
      { _tag: "DeadlineExceeded", deadline: 1 },
      { _tag: "DuplicateRun" },
      { _tag: "Closed" },
      { _tag: "Cancelled", by: "us" }
    ]
    for (const reason of final) {
      assert.strictEqual(attributions[reason._tag].verdict, "give-up")
      assert.deepStrictEqual(verdicts([attempt(reason)]).tags, ["GiveUp"])
    }
  })

  it("bounds executions whatever comes, and its ledger survives JSON", () => {
    const anyAttempt = fc.record({
      reason: fc.constantFrom<Reason>(
        unreachable,
        lost,
        oom,
        nodeFailed,
        elsewhere,
        { _tag: "StartTimeout", limitMs: 1 },
        { _tag: "GpuPoisoned", ...raised },
        { _tag: "WorkerStuck", evidence: "" }
      ),
      accepted: fc.boolean(),
      anotherKeyBefore: fc.boolean(),
      server: fc.constantFrom(one, two, three)
    }).map(({ reason, ...more }) => attempt(reason, more))
    fc.assert(
      fc.property(
        fc.array(anyAttempt, { minLength: 1, maxLength: 60 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempts, random) => {
          let ledger = Failover.empty
          for (const one of attempts) {
            ledger = Failover.record(ledger, one)
            const verdict = Failover.decide(one, ledger, Failover.defaults, random)
            if (verdict._tag !== "Retry") break
            assert.isAtLeast(verdict.delayMs, 0)
            assert.isAtMost(verdict.delayMs, 60_000)
          }
          // One each for death, memory, interrupt; two faults; and the one that ends it.
          assert.isAtMost(ledger.executions, 6)
          const codec = Schema.toCodecJson(Failover.Ledger)
          assert.deepStrictEqual(
            Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(ledger)))),
            ledger
          )
        }
      )
    )
  })
})
