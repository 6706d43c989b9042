/**
 * Many servers as one: jobs go in, each runs on the server that suits it best, and ends once, with the truth. Everything
 * that decides is a value or a layer: the queue, the router, the breakers, what follows a failure.
 */
import { type BackendId, type JobId, makeUuid } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type * as Json from "@effect-comfyui/workflow/Json"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Admission from "./Admission.ts"
import * as Adoption from "./Adoption.ts"
import type * as Breakers from "./Breakers.ts"
import * as Control from "./Control.ts"
import * as Deaths from "./Deaths.ts"
import * as DemandReading from "./DemandReading.ts"
import * as Discovery from "./Discovery.ts"
import * as EstimatesStore from "./EstimatesStore.ts"
import * as Etas from "./Etas.ts"
import * as Explanation from "./Explanation.ts"
import * as Failover from "./Failover.ts"
import * as Fleet from "./Fleet.ts"
import { latest } from "./internal/latest.ts"
import * as Job from "./Job.ts"
import { type JobOptions, sinksOf } from "./JobOptions.ts"
import { JobQueue } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import type * as Member from "./Member.ts"
import * as Membership from "./Membership.ts"
import type { PoolEvent, ServerEvent } from "./PoolEvent.ts"
import type { PoolJob } from "./PoolJob.ts"
import * as PoolLog from "./PoolLog.ts"
import * as PoolMetrics from "./PoolMetrics.ts"
import type { Options } from "./PoolOptions.ts"
import type { Shape } from "./PoolShape.ts"
import * as Prefetch from "./Prefetch.ts"
import * as Profiles from "./Profiles.ts"
import * as ReadySet from "./ReadySet.ts"
import * as Recovery from "./Recovery.ts"
import * as RetryBudget from "./RetryBudget.ts"
import { Router } from "./Router.ts"
import * as Scheduler from "./Scheduler.ts"
import * as Servers from "./Servers.ts"
import * as Snapshot from "./Snapshot.ts"
import * as Submission from "./Submission.ts"
import * as Trail from "./Trail.ts"
import * as Waiting from "./Waiting.ts"

export type { PoolJob } from "./PoolJob.ts"
export type { Options } from "./PoolOptions.ts"
export type { Shape } from "./PoolShape.ts"

/** Many servers as one. */
export class Pool extends Context.Service<Pool, Shape>()("@effect-comfyui/pool/Pool") {}

const poolError = (reason: PoolError["reason"]): PoolError => new PoolError({ reason })

const eventsKept = 1_024

/** A pool that lives as long as its scope; closing it settles every job that is open. */
export const make = Effect.fnUntraced(function*<R = never>(
  options: Options<R> = {}
): Effect.fn.Return<Shape, never, R | Scope.Scope | JobQueue | Router> {
  const context = yield* Effect.context<R>()
  const clock = yield* Clock.Clock
  const queue = yield* JobQueue
  const router = yield* Router
  const hub = yield* PubSub.sliding<PoolEvent>(eventsKept)
  const fork = yield* FiberSet.makeRuntime()
  const learnt = options.estimates === undefined ? Estimates.init() : yield* EstimatesStore.open(options.estimates)
  const fleet = Fleet.make(learnt, options.breakers, options.sharing)
  const jobs = Jobs.make()
  const ready = ReadySet.init()
  const activeOf = (id: JobId) => scheduler.active.get(id)
  const profiles = options.profiles === true
    ? yield* Profiles.make({ fleet, ready, jobs, activeOf, events: Stream.fromPubSub(hub) })
    : undefined
  const sinks = sinksOf(options.collect, options.sinks)
  let closed = false
  let metrics: PoolMetrics.Recorder | undefined
  const time = () => readTime(clock)
  const budget = RetryBudget.init(options.budget)
  const maxRunningPerTenant = options.maxRunningPerTenant ?? Number.POSITIVE_INFINITY
  const admission = Admission.init(options, time().now)
  for (const [tenant, weight] of Object.entries(options.tenantWeights ?? {})) ReadySet.setWeight(ready, tenant, weight)

  const publish = (events: ReadonlyArray<PoolEvent>) => {
    for (const event of events) {
      PubSub.publishUnsafe(hub, event)
      const line = PoolLog.of(event)
      if (line !== undefined) fork(Effect.annotateLogs(Effect.logWithLevel(line.level)(line.message), line.about))
    }
  }
  const tellServer = (server: BackendId, told: ReadonlyArray<Member.Told>) => {
    if (told.length === 0) return
    const { at } = time()
    const events = told.map((one): ServerEvent => ({ ...one, server, at }))
    publish(events)
    for (const event of events) metrics?.server(event)
    control.told(server, told)
  }
  const notice = (notices: ReadonlyArray<Breakers.Notice>) => {
    for (const one of notices) {
      control.noticed(one)
      const { at, now } = time()
      for (const { entry, member } of scheduler.active.values()) {
        if (member.facts.id === one.server) Trail.noticed(entry, entry.kind.affinity, one, { at, now })
      }
      tellServer(one.server, [
        one._tag === "Blocked"
          ? { _tag: "ServerBlocked", key: one.key, until: at + one.until - now, cause: one.cause }
          : { _tag: "ServerUnblocked", key: one.key }
      ])
    }
  }
  /** `elsewhere`: another pool did it, or an earlier process. */
  const tellJob = (entry: Job.Entry, told: ReadonlyArray<Job.Told>, at = time().at, elsewhere = false) => {
    const events = Job.tell(entry, told, at)
    publish(events)
    for (const event of events) Trail.told(entry, event, entry.attempts.at(-1))
    if (!elsewhere) metrics?.job(entry, events)
    if (entry.isQueued) profiles?.told(entry, events, time())
    // It waited until its first placement, or until its end.
    if (!entry.wasPlaced && (entry.ending !== undefined || told.some((one) => one._tag === "Placed"))) {
      entry.wasPlaced = true
      Admission.left(admission, entry.options.tenant, time().now)
    }
    if (entry.ending !== undefined) waiting.forget(entry)
  }

  const waiting: Waiting.Waiting = yield* Waiting.make({
    queue,
    fleet,
    jobs,
    isActive: (id) => isActive(id),
    tellJob
  })

  const control = yield* Control.make({
    fleet,
    tell: tellServer,
    wake: () => scheduler.wake(),
    restarts: options.restarts
  })

  const onClose = options.onClose ?? (queue.durable ? "leave" : "cancel")
  const scope = yield* Effect.scope
  /** Both end before the servers do: first what takes jobs in, then what runs. */
  const intake = yield* Scope.fork(scope)
  const work = yield* Scope.fork(scope)
  const scheduler = yield* Scheduler.make({
    queue,
    router,
    fleet,
    jobs,
    ready,
    policy: {
      failover: { ...Failover.defaults, ...options.failover },
      budget
    },
    sinks: sinks.byName,
    maxRunningPerTenant,
    onClose,
    prefetch: options.prefetch === "off" ? "off" : { ...Prefetch.defaults, ...options.prefetch },
    tellJob,
    tellServer: (member, told) => tellServer(member.facts.id, told),
    notice,
    began: (entry, workflow) => void profiles?.began(entry, workflow),
    released: waiting.refuse,
    handedOn: (entry) => adoption.follow(entry)
  }).pipe(Scope.provide(work))
  const recovery = yield* Recovery.make({
    queue,
    fleet,
    runner: scheduler,
    handedOn: (entry) => adoption.follow(entry)
  }).pipe(Scope.provide(intake))
  const look = () => {
    const [running, recovering] = [scheduler.active.size, recovery.size()]
    return Snapshot.of({ fleet, ready, jobs, budget, running, recovering }, time().now)
  }
  const snapshot = Effect.sync(look)
  const warn = (message: string) => void fork(Effect.logWarning(message))
  if (options.metrics === true) metrics = yield* PoolMetrics.make({ snapshot: look, time, warn })
  const { active } = scheduler
  const isActive = (id: JobId): boolean => scheduler.active.has(id) || recovery.isOpen(id)

  /** The queue has it, and so does this pool. */
  const joined = (entry: Job.Entry) => {
    Admission.joined(admission, entry.options.tenant, time().now)
    const events = Job.queued(entry)
    publish(events)
    metrics?.job(entry, events)
    profiles?.told(entry, events, time())
    scheduler.wake()
    waiting.watch(entry)
    return waiting.refuse(entry)
  }

  const adoption = yield* Adoption.make({
    queue,
    jobs,
    ready,
    recovery,
    isActive,
    redriven: (entry) => Deaths.forgive(fleet.deaths, Job.contentOf(entry)),
    joined: (entry) =>
      Effect.suspend(() => {
        Jobs.add(jobs, entry)
        return joined(entry)
      }),
    tellJob: (entry, told, at) => tellJob(entry, told, at, true),
    wake: scheduler.wake
  }).pipe(Scope.provide(intake))

  // ── Jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  const profiled: Profiles.Shape = profiles ?? Profiles.none
  const toJob = <Metadata extends Json.Json>(entry: Job.Entry, metadata: Metadata | null): PoolJob<Metadata> => ({
    id: entry.id,
    metadata,
    events: (wanted) => Job.events(entry, wanted),
    result: Job.result(entry),
    cancel: cancelEntry(entry),
    status: Effect.sync(() => Job.status(entry)),
    why: Effect.sync(() => entry.attempts.map((attempt) => ({ ...attempt }))),
    explain: explain(entry),
    profile: profiled.get(entry.id),
    eta: profiled.eta(entry.id)
  })

  const isClosed = () => closed
  const isRecovering = recovery.isOpen
  const { isElsewhere } = adoption
  const parts = { fleet, ready, jobs, router, active, isRecovering, isElsewhere, isClosed, maxRunningPerTenant }
  const explain = (entry: Job.Entry) => Effect.sync(() => Explanation.of(parts, entry, time()))

  const cancelEntry = (entry: Job.Entry): Effect.Effect<void, PoolError> =>
    Effect.gen(function*() {
      if (entry.ending !== undefined) return
      entry.cancelAsked = true
      const told = { _tag: "JobCancelled", by: "us", executions: entry.executions } as const
      if (yield* waiting.end(entry, told)) return
      // Whoever holds it is told, and if that is us and we end, whoever takes it over.
      if (queue.durable) yield* queue.cancel(entry.id)
      yield* scheduler.cancel(entry)
    })

  const submit = Effect.fnUntraced(function*<Metadata extends Json.Json = null>(
    workflow: Workflow.Workflow,
    wanted: JobOptions<Metadata> = {}
  ): Effect.fn.Return<PoolJob<Metadata>, PoolError> {
    const metadata = wanted.metadata ?? null
    if (closed) return yield* poolError({ _tag: "Closed" })
    const { entry, offer } = yield* Effect.fromResult(
      Submission.prepare(jobs, workflow, wanted, yield* makeUuid, time(), sinks, options.defaults)
    )
    const { limits, tenant } = entry.options
    const known = Jobs.get(jobs, entry.id)
    const full = known === undefined ? Admission.refusal(admission, tenant, time().now) : undefined
    if (full !== undefined) return yield* poolError(full)
    if (known === undefined) profiles?.foreseen(entry, workflow)
    // It is known before the queue tells of it, or a claim would find nobody.
    if (known === undefined) Jobs.add(jobs, entry)
    const { samples, warmMs } = Estimates.estimate(fleet.estimates, Etas.anywhere, entry.kind.affinity)
    const cost = samples > 0 ? warmMs : limits.estimateMs ?? warmMs
    const forget = Effect.suspend(() => {
      if (known === undefined) {
        Jobs.drop(jobs, entry)
        profiles?.dropped(entry)
      }
      return adoption.answered(entry.id)
    })
    const offered = yield* Effect.onError(queue.offer(offer(cost)), () => forget)
    if (offered === "queued") {
      yield* joined(entry)
      yield* adoption.answered(entry.id)
      return toJob(entry, metadata)
    }
    if (known === undefined) yield* forget
    return toJob(yield* find(entry.id), metadata)
  })

  /** Its ending is on record, and a person may have put it back since. */
  const mayBeRedriven = ({ ending, id }: Job.Entry) => ending?._tag === "DeadLettered" && !isActive(id)

  const redrive = Effect.fnUntraced(function*(id: JobId) {
    const dead = Option.filter(yield* queue.get(id), ({ state }) => state === "dead")
    if (Option.isNone(dead)) return false
    // Before it waits again, or what it is suspected of would end it at once.
    Deaths.forgive(fleet.deaths, Job.contentOf({ content: Submission.contentOf(dead.value), id }))
    return yield* queue.redrive(id)
  })

  /** A job that this pool has, or the queue. One that is being submitted is one or the other in a moment. */
  const find = Effect.fnUntraced(function*(id: JobId) {
    const isUnanswered = () => jobs.open.get(id)?.isQueued === false
    while (isUnanswered()) yield* Effect.sleep("1 millis")
    const here = Jobs.get(jobs, id)
    if (here !== undefined && !mayBeRedriven(here)) return here
    const adopted = adoption.adopt(id)
    const entry = here === undefined ? yield* adopted : (yield* Effect.orElseSucceed(adopted, () => here)) ?? here
    if (entry !== undefined) return entry
    return yield* poolError({ _tag: "InvalidOptions", option: "id", problem: `no job is known as ${id}` })
  })

  // ── Servers ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const servers = yield* Membership.make({
    fleet,
    tell: tellServer,
    notice,
    wake: scheduler.wake,
    learnt: (member) => {
      control.described(member)
      waiting.learnt()
    },
    lanes: options.lanes ?? [],
    freeAfter: options.freeMemory?.idleFor,
    ...options.probe === undefined ? {} : { probe: options.probe }
  })
  yield* Effect.forEach(options.servers ?? [], (spec) => servers.add(Servers.provide(spec, context)), { discard: true })

  if (options.discovery !== undefined) {
    const sets = Stream.map(options.discovery, (set) => set.map((spec) => Servers.provide(spec, context)))
    yield* Effect.forkScoped(Discovery.follow(servers, sets))
  }

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      closed = true
      scheduler.stop()
      yield* Scope.close(intake, Exit.void)
      // Whoever waits for a job is told, whatever becomes of its prompt.
      const error = poolError({ _tag: "Closed" })
      for (const entry of [...jobs.open.values()]) {
        tellJob(entry, [{ _tag: "JobFailed", error, executions: entry.executions }])
        Jobs.end(jobs, entry, time().now)
      }
      yield* Scope.close(work, Exit.void)
    })
  )

  const shape: Shape = {
    submit,
    submitAll: (workflows, wanted) => Effect.forEach(workflows, (workflow) => submit(workflow, wanted)),
    run: (workflow, wanted) => Stream.unwrap(Effect.map(submit(workflow, wanted), (job) => job.events())),
    get: (id) => Effect.map(find(id), (entry) => toJob(entry, entry.options.metadata)),
    list: Effect.sync(() => Jobs.list(jobs).map(Job.view)),
    cancel: (id) => Effect.flatMap(find(id), cancelEntry),
    explain: (id) => Effect.flatMap(find(id), explain),
    redrive,
    forget: (id) =>
      Effect.map(queue.forget(id), (wasInQueue) => {
        const wasHere = Jobs.forget(jobs, id)
        return wasHere || wasInQueue
      }),
    events: Stream.fromPubSub(hub),
    snapshot,
    state: {
      get: snapshot,
      changes: latest(snapshot, hub)
    },
    servers,
    profiles: profiled,
    demand: DemandReading.changes(fleet, jobs, active),
    drain: (timeout) =>
      Effect.suspend(() => {
        closed = true
        scheduler.stop()
        const idle = Effect.repeat(Effect.delay(Effect.sync(() => scheduler.active.size), "100 millis"), {
          until: (size) => size === 0
        })
        return Effect.map(Effect.timeoutOption(idle, timeout), (done) => done._tag === "Some")
      })
  }
  return shape
})

/** A pool as a layer. It needs a queue and a router: `JobQueueMemory.layerMemory`, `RouterPolicies.layerCostAware`. */
export const layer = <R = never>(options: Options<R> = {}): Layer.Layer<Pool, never, R | JobQueue | Router> =>
  Layer.effect(Pool, make(options))
