// The judge of a fleet is told lies, one at a time, and has to notice each.
import { BackendId } from "@effect-comfyui/execution/Ids"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { judge } from "./fleet/Judge.ts"
import type { Observation, Sample, SeenJob, SeenServer } from "./fleet/Observation.ts"
import type { FleetScenario } from "./fleet/Scenario.ts"
import { observe } from "./fleet/World.ts"

const scenario: FleetScenario = {
  versions: ["0.33.0", "0.27.0"],
  seed: 1,
  jobs: [1, 2, 3].map((size) => ({
    kind: "counting",
    size,
    startMs: 100 * size,
    cancelMs: undefined,
    attachMs: 50,
    tenant: "a",
    priority: 0
  })),
  faultMs: 0,
  dial: 0,
  victim: 0
}

type Lie = (seen: Observation) => Observation

const ofFirstJob = (lie: (job: SeenJob) => SeenJob): Lie => (seen) => ({
  ...seen,
  jobs: seen.jobs.map((job, index) => index === 0 ? lie(job) : job)
})

const events = (change: (all: SeenJob["main"]["events"]) => SeenJob["main"]["events"]): Lie =>
  ofFirstJob((job) => ({ ...job, main: { ...job.main, events: change(job.main.events) } }))

const ledgers = (change: (ledger: SeenServer["ledger"]) => Partial<SeenServer["ledger"]>): Lie => (seen) => ({
  ...seen,
  servers: seen.servers.map((server) => ({ ...server, ledger: { ...server.ledger, ...change(server.ledger) } }))
})

const idle = (at: number): Sample => ({
  at,
  servers: [
    { id: BackendId.make("gpu-1"), status: "ready", jobs: [], next: null, empty: true, well: true }
  ],
  waiting: [0],
  blocked: [],
  queued: 1,
  running: 0,
  resident: 1
})

const lies: ReadonlyArray<readonly [name: string, lie: Lie, complaint: RegExp]> = [
  ["a job without an end", events((all) => all.slice(0, -1)), /hangs after/],
  ["two ends", events((all) => [...all, ...all.slice(-1)]), /2 endings/],
  ["a hole", events((all) => all.filter((_, index) => index !== 1)), /has sequence/],
  ["an event after the end", events((all) => [...all, ...all.slice(0, 1)]), /after the ending/],
  ["others who hear nothing", ofFirstJob((job) => ({ ...job, others: [{ events: [], exit: undefined }] })), /hangs/],
  [
    "a hole that is not announced",
    ofFirstJob((job) => ({
      ...job,
      others: job.others.map((other) => ({ ...other, events: other.events.filter((_, index) => index !== 2) }))
    })),
    /was told that it missed 0/
  ],
  ["a result that never comes", ofFirstJob((job) => ({ ...job, result: undefined })), /its result hangs/],
  ["an end that comes late", ofFirstJob((job) => ({ ...job, submittedAt: -1_000_000 })), /after its submission/],
  [
    "a second execution",
    (seen) => ({ ...seen, servers: seen.servers.flatMap((server) => [server, { ...server, id: "gpu-9" }]) }),
    /began 2 times, said at most 1/
  ],
  [
    "a success that no server knows",
    ledgers(({ prompts }) => ({ prompts: prompts.map((prompt) => ({ ...prompt, outcome: "error" })) })),
    /though the servers say error/
  ],
  [
    "an execution after the end",
    ledgers(({ prompts }) => ({ prompts: prompts.map((prompt) => ({ ...prompt, startedAt: 1_000_000 })) })),
    /after its end/
  ],
  [
    "a prompt of nobody",
    ledgers(({ prompts }) => ({ prompts: prompts.map((prompt) => ({ ...prompt, promptId: "somebody" })) })),
    /a prompt of nobody/
  ],
  [
    "a stranger whose prompt was ended",
    (seen) => ({
      ...ledgers(({ prompts }) => ({
        prompts: prompts.map((prompt) => ({ ...prompt, promptId: "stranger", outcome: "interrupted" }))
      }))(seen),
      foreign: new Set(["stranger"])
    }),
    /a stranger's was interrupted/
  ],
  [
    "a job beside an idle server",
    (seen) => ({ ...seen, samples: [idle(0), idle(1_000), idle(2_000)] }),
    /waits beside/
  ],
  [
    "too many circuits",
    (seen) => ({
      ...seen,
      samples: [{
        ...idle(0),
        blocked: Array.from({ length: 10_001 }, () => ({ server: "x", key: "y", probing: false, state: "open" }))
      }]
    }),
    /10001 circuits/
  ],
  ["a fiber that died", (seen) => ({ ...seen, defects: ["Error"] }), /defect/],
  ["what is left", (seen) => ({ ...seen, left: { closes: true, sockets: 1, requestsLater: 2 } }), /1 sockets left/]
]

it(
  "finds every lie, and none in the truth",
  { timeout: 60_000 },
  () =>
    Effect.runPromise(Effect.map(observe({}, scenario, () => Effect.void), (seen) => {
      assert.deepStrictEqual(judge(seen), [])
      for (const [name, lie, complaint] of lies) {
        assert.match(judge(lie(seen)).join("\n"), complaint, name)
      }
    }))
)
