import { JobId } from "@effect-comfyui/execution/Ids"
import type { JobHead } from "@effect-comfyui/pool/JobHead"
import * as QueueAhead from "@effect-comfyui/pool/QueueAhead"
import * as ReadySet from "@effect-comfyui/pool/ReadySet"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const head = (sequence: number, more: Partial<JobHead> = {}): JobHead => ({
  id: JobId.make(`job-${sequence}`),
  priority: 0,
  tenant: "a",
  affinity: "a1:x",
  placement: "",
  cost: 1_000,
  notBefore: 0,
  sequence,
  ...more
})

const queue = (heads: ReadonlyArray<JobHead>) =>
  ReadySet.step(ReadySet.init(), heads.map((head) => ({ _tag: "Ready", head }) as const), 0)

const second = () => 1_000

describe("work that goes before a job", () => {
  it("is what is older of its own tenant, and all that is more urgent", () => {
    const heads = [head(1), head(2), head(3), head(4, { priority: 1 }), head(5, { priority: -1 })]
    const [, , third] = heads
    if (third === undefined) return assert.fail()
    assert.deepStrictEqual(QueueAhead.of(queue(heads), third, second), { jobs: 3, ms: 3_000 })
    const last = { priority: 0, tenant: "a", sequence: Number.POSITIVE_INFINITY }
    assert.deepStrictEqual(QueueAhead.of(queue(heads), last, second), { jobs: 4, ms: 4_000 })
  })

  it("is of other tenants as much as is their share", () => {
    const heads = Array.from({ length: 40 }, (_, i) => head(i, { tenant: i < 30 ? "big" : "small" }))
    const state = queue(heads)
    const place = { priority: 0, tenant: "small", sequence: 35 }
    assert.deepStrictEqual(QueueAhead.of(state, place, second), { jobs: 10, ms: 10_000 })
    ReadySet.setWeight(state, "big", 3)
    assert.deepStrictEqual(QueueAhead.of(state, place, second), { jobs: 20, ms: 20_000 })
  })

  it("leaves out what runs on other servers, and weighs the rest by what it takes", () => {
    const heads = [head(1), head(2, { affinity: "a1:y" }), head(3, { placement: "elsewhere" }), head(4)]
    const cost: QueueAhead.Cost = (affinity, placement) => placement !== "" ? 0 : affinity === "a1:y" ? 5_000 : 1_000
    const place = { priority: 0, tenant: "a", sequence: 9 }
    assert.deepStrictEqual(QueueAhead.of(queue(heads), place, cost), { jobs: 3, ms: 7_000 })
  })

  it("counts jobs that were taken out, of the middle too, as gone", () => {
    const heads = Array.from({ length: 10 }, (_, i) => head(i))
    const state = queue(heads)
    for (const gone of [2, 5, 0]) {
      const one = heads[gone]
      if (one !== undefined) ReadySet.claimed(state, one)
    }
    const { ms } = QueueAhead.of(state, { priority: 0, tenant: "a", sequence: Number.POSITIVE_INFINITY }, second)
    assert.closeTo(ms, 7_000, 1e-6)
  })
})

describe("the turn of a job", () => {
  const server = (freeInMs: number, speed = 1): QueueAhead.Server => ({ freeInMs, speed })

  it("is now where a server is idle, and never without any", () => {
    assert.strictEqual(QueueAhead.turnInMs([server(500), server(0)], { jobs: 0, ms: 0 }), 0)
    assert.strictEqual(QueueAhead.turnInMs([], { jobs: 0, ms: 0 }), Number.POSITIVE_INFINITY)
  })

  it("comes when those before it have been given to servers, each as fast as it is", () => {
    const work = { jobs: 3, ms: 3_000 }
    assert.strictEqual(QueueAhead.turnInMs([server(0)], work), 3_000)
    assert.strictEqual(QueueAhead.turnInMs([server(0), server(0)], work), 1_000)
    assert.strictEqual(QueueAhead.turnInMs([server(0), server(0, 10)], work), 2_000)
    assert.strictEqual(QueueAhead.turnInMs([server(0), server(60_000)], work), 3_000)
  })

  it("is reckoned at once for a hundred thousand, within one job of what one by one would give", () => {
    const [servers, work] = [[server(200), server(0), server(900)], { jobs: 100_000, ms: 1e8 }]
    assert.closeTo(QueueAhead.turnInMs(servers, work), (1e8 + 1_100) / 3, 1_000)
  })

  it("grows with the work, and shrinks with servers", () => {
    const aServer = fc.record({ freeInMs: fc.nat(60_000), speed: fc.double({ min: 0.1, max: 10, noNaN: true }) })
    fc.assert(
      fc.property(fc.array(aServer, { minLength: 1, maxLength: 8 }), aServer, fc.nat(2_000), (some, more, jobs) => {
        const turn = (servers: ReadonlyArray<QueueAhead.Server>, n: number) =>
          QueueAhead.turnInMs(servers, { jobs: n, ms: n * 1_000 })
        const slack = 1_000 * Math.max(...some.map(({ speed }) => speed), more.speed)
        assert.isAtLeast(turn(some, jobs + 10) + slack, turn(some, jobs))
        assert.isAtMost(turn([...some, more], jobs), turn(some, jobs) + slack)
      })
    )
  })
})
