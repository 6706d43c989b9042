/** Rows 1 to 4, 15 and 16: what happens to the POST, and to answers. */
import { Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import { endingOf, recordsOf, triesOf } from "../Judge.ts"
import type { Observation } from "../Observation.ts"
import { type FleetRow, inject, long, post, questions, share, succeeding } from "../Row.ts"

/** No server began a job more than once, and nothing else was said. */
const onceEach = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => {
    const ending = endingOf(job.main)
    if (ending?._tag !== "JobSucceeded") return []
    const began = recordsOf(job, seen).filter(({ startedAt }) => startedAt !== undefined).length
    const { atMost } = ending.executions
    return atMost === 1 && began === 1 ? [] : [`job ${job.index}: began ${began} times, said at most ${atMost}`]
  })

/** What is in doubt is asked for until it is found: no job is tried again. */
const adopted = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => triesOf(job) > 1 ? [`job ${job.index}: tried ${triesOf(job)} times`] : [])

export const submission: ReadonlyArray<FleetRow> = [
  {
    row: 1,
    name: "a server is dead before it accepts, and nobody has noticed",
    shape: { ...succeeding, minJobs: 3 },
    // Without a socket nobody is told of its end: jobs go there, and are refused.
    strike: ({ pool, victim, victimId }) =>
      Effect.gen(function*() {
        yield* victim.inject(Fault.refuseUpgrades())
        yield* victim.cutSockets()
        // Of what ran there, or was on its way, nobody could say how it went.
        for (;;) {
          const { pending, running } = yield* victim.snapshot
          const views = yield* pool.servers.get
          const taken = views.some(({ id, jobs }) => id === victimId && jobs.length > 0)
          if (!taken && running.length + pending.length === 0) break
          yield* Effect.sleep(10)
        }
        yield* victim.kill
      }),
    also: onceEach
  },
  {
    row: 2,
    name: "the answers to POSTs are lost",
    shape: succeeding,
    strike: inject(({ dial }) => [Fault.on(post, Fault.dropAnswer, { times: 1 + (dial % 3) })]),
    also: (seen) => [...onceEach(seen), ...adopted(seen)]
  },
  {
    row: 3,
    name: "POSTs are lost",
    shape: succeeding,
    strike: inject(({ dial }) => [Fault.on(post, Fault.dropRequest, { times: 1 + (dial % 3) })]),
    also: onceEach
  },
  {
    row: 4,
    name: "the answer to the POST is held for ten seconds and more",
    shape: succeeding,
    strike: inject((now) => [Fault.on(post, Fault.holdAnswer(share(now, 10_000, 200_000)), { times: 2 })]),
    also: onceEach
  },
  {
    row: 4,
    name: "the POST arrives late, behind a proxy that has given up",
    shape: succeeding,
    strike: inject((now) => [
      Fault.on(post, Fault.delayRequest(share(now, 10_000, 100_000)), { times: 2 }),
      Fault.on(post, Fault.answerWithin(8_000), { forMs: 200_000 })
    ]),
    permits: { reasons: ["SubmitAmbiguous"] }
  },
  {
    row: 4,
    name: "the POST arrives late, and the job may run twice",
    shape: succeeding,
    options: () => ({ onAmbiguity: "retry" }),
    // No later: a prompt that a gateway has not brought in two minutes is taken for lost, and what began then would be
    // an execution that nobody has declared.
    strike: inject((now) => [
      Fault.on(post, Fault.delayRequest(share(now, 10_000, 100_000)), { times: 2 }),
      Fault.on(post, Fault.answerWithin(8_000), { forMs: 200_000 })
    ]),
    permits: { repeats: true, doubt: true, withinMs: 20 * 60_000 }
  },
  {
    row: 15,
    name: "a gateway answers in the place of one server",
    shape: long,
    strike: ({ victim }) =>
      Effect.andThen(
        victim.inject([
          Fault.refuseUpgrades({ status: 503 }, { forMs: 60_000 }),
          Fault.on(questions, Fault.respond(Fault.badGateway), { probability: 0.3, forMs: 60_000 }),
          Fault.on(questions, Fault.respond(Fault.serviceUnavailable), { probability: 0.3, forMs: 60_000 }),
          Fault.on(questions, Fault.respond(Fault.serverError), { probability: 0.3, forMs: 60_000 })
        ]),
        victim.cutSockets()
      ),
    also: onceEach
  },
  {
    row: 15,
    name: "the POST is done, and a gateway says 502",
    shape: succeeding,
    strike: inject(({ dial }) => [Fault.on(post, Fault.replaceAnswer(Fault.badGateway), { times: 1 + (dial % 3) })]),
    also: onceEach
  },
  {
    row: 15,
    name: "a gateway answers POSTs that never arrive",
    shape: succeeding,
    strike: inject(({ dial }) => [Fault.on(post, Fault.respond(Fault.badGateway), { times: 1 + (dial % 3) })]),
    also: onceEach
  },
  // One server at least is left that can be asked: however long another one wants to be left alone, it is.
  {
    row: 16,
    name: "one server is asked too much: seconds, a date, nonsense",
    shape: succeeding,
    strike: inject(({ dial }) => [
      Fault.on(
        post,
        Fault.respond(
          Fault.tooManyRequests(
            ["5", "Sat, 21 Nov 2026 09:01:00 GMT", "-7", "1e99", "soon", "120"][dial % 6] ?? "1"
          )
        ),
        { forMs: 60_000 }
      )
    ]),
    also: onceEach
  }
]
