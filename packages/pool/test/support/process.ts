// Processes that work on one queue, and can be killed: from that instant on nothing that one of them does reaches anybody,
// and none of its finalizers has any effect. Their queue outlives them.
import { isJobEnding, type JobEnding } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest, FakeServers, TestNodes } from "@effect-comfyui/testing"
import { FakeNodeSocket, FakeSocket } from "@effect-comfyui/testing/FakeSocket"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { spec } from "./fleet.ts"

/** Alive until it is killed; its way to the world leads through here. */
interface Life {
  dead: boolean
  /** It dies with so many more requests to servers and to the queue. */
  left: number
  /** Closed while it is stopped: whatever it asks for waits. */
  readonly gate: Latch.Latch
  /** The store of the queue takes nothing more. */
  full: boolean
  /** Of an offer, while its job is announced already. */
  readonly answersAfterMs: number
  readonly sockets: Set<Socket.WebSocketLike>
}

/** Of two deaths one comes before the request is made, one when it was answered. */
const pass = (life: Life): void => {
  life.left -= 0.5
  if (life.left <= 0) die(life)
}

const die = (life: Life): void => {
  if (life.dead) return
  life.dead = true
  for (const socket of life.sockets) if (socket instanceof FakeNodeSocket) socket.terminate()
}

const unlessDead = <A, E, R>(life: Life, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const passed = Effect.suspend(() => {
    pass(life)
    return life.dead ? Effect.never : life.gate.await
  })
  return Effect.andThen(passed, Effect.tap(effect, passed))
}

const unlessFull = <A>(life: Life, write: Effect.Effect<A, PoolError>): Effect.Effect<A, PoolError> =>
  unlessDead(
    life,
    Effect.suspend(() =>
      life.full
        ? Effect.fail(new PoolError({ reason: { _tag: "QueueUnavailable", cause: "database or disk is full" } }))
        : write
    )
  )

const mortalQueue = (life: Life, queue: JobQueue["Service"]): JobQueue["Service"] => ({
  durable: true,
  offer: (offer) =>
    unlessFull(
      life,
      Effect.tap(queue.offer(offer), () => life.answersAfterMs > 0 ? Effect.sleep(life.answersAfterMs) : Effect.void)
    ),
  heads: Stream.filter(queue.heads, () => !life.dead),
  claim: (id, ttl, run) => unlessFull(life, queue.claim(id, ttl, run)),
  extend: (id, token, ttl) => unlessFull(life, queue.extend(id, token, ttl)),
  settle: (id, token, ending) => unlessFull(life, queue.settle(id, token, ending)),
  release: (id, token, options) => unlessFull(life, queue.release(id, token, options)),
  cancel: (id, ending) => unlessFull(life, queue.cancel(id, ending)),
  deadLetter: (id, token, ending) => unlessFull(life, queue.deadLetter(id, token, ending)),
  redrive: (id) => unlessDead(life, queue.redrive(id)),
  get: (id) => unlessDead(life, queue.get(id)),
  payload: (id) => unlessDead(life, queue.payload(id)),
  list: (filter) => unlessDead(life, queue.list(filter)),
  stats: unlessDead(life, queue.stats),
  forget: (id) => unlessDead(life, queue.forget(id))
})

const silent = { send: () => undefined, ping: () => undefined, close: () => undefined, terminate: () => undefined }

const mortalSockets =
  (life: Life, make: Socket.WebSocketConstructor["Service"]): Socket.WebSocketConstructor["Service"] =>
  (url, options) => {
    if (life.dead) return new FakeSocket(url, silent)
    const socket = make(url, options)
    life.sockets.add(socket)
    return socket
  }

/** A process with a pool of `n` servers. */
export interface Process {
  readonly pool: Pool.Shape
  /** What it told whoever listened, by job. */
  readonly endings: ReadonlyArray<JobEnding>
  /** As `kill -9` would. */
  readonly kill: Effect.Effect<void>
  readonly isDead: () => boolean
  /** The disk under its queue is full, or is not any more. */
  readonly fill: (full: boolean) => Effect.Effect<void>
  /** As `SIGSTOP` and `SIGCONT` would. */
  readonly stop: Effect.Effect<void>
  readonly goOn: Effect.Effect<void>
  /** As the end of its scope: runs are left where they are. */
  readonly close: Effect.Effect<void>
}

/** Starts one on the queue and the servers of the context; it dies by itself after so many requests (in halves). */
export const start = Effect.fnUntraced(function*(
  n: number,
  { answersAfterMs = 0, requests = Number.POSITIVE_INFINITY, ...options }: Omit<Pool.Options, "servers"> & {
    readonly requests?: number
    readonly answersAfterMs?: number
  } = {}
) {
  const life: Life = {
    dead: false,
    left: requests,
    gate: Latch.makeUnsafe(true),
    full: false,
    answersAfterMs,
    sockets: new Set()
  }
  const context = yield* Effect.context<HttpClient.HttpClient | Socket.WebSocketConstructor | JobQueue>()
  const http = HttpClient.transform(Context.get(context, HttpClient.HttpClient), (sent) => unlessDead(life, sent))
  const mortal = context.pipe(
    Context.add(HttpClient.HttpClient, http),
    Context.add(Socket.WebSocketConstructor, mortalSockets(life, Context.get(context, Socket.WebSocketConstructor))),
    Context.add(JobQueue, mortalQueue(life, Context.get(context, JobQueue)))
  )
  // Never closed where it is killed: the end of a process runs no finalizer.
  const scope = yield* Scope.make()
  const servers = Array.from({ length: n }, (_, index) => spec(index + 1))
  const pool = yield* Pool.make({ ...options, servers }).pipe(
    Effect.provide(RouterPolicies.layerCostAware),
    Effect.provideContext(Context.add(mortal, Scope.Scope, scope))
  )
  const endings: Array<JobEnding> = []
  yield* Scope.provide(
    Effect.forkScoped(
      Stream.runForEach(pool.events, (event) =>
        Effect.sync(() => {
          if ("jobId" in event && "sequence" in event && isJobEnding(event) && !life.dead) endings.push(event)
        })),
      { startImmediately: true }
    ),
    scope
  )
  const process: Process = {
    pool,
    endings,
    kill: Effect.sync(() => die(life)),
    isDead: () => life.dead,
    fill: (full) => Effect.sync(() => void (life.full = full)),
    stop: Effect.sync(() => life.gate.closeUnsafe()),
    goOn: Effect.sync(() => life.gate.openUnsafe()),
    close: Scope.close(scope, Exit.void)
  }
  return process
})

/** `n` servers and a queue that outlives every process. */
export const layerWorld = (n: number, seed: number) =>
  Layer.mergeAll(
    JobQueueMemory.layerMemory,
    FakeServers.layer(Object.fromEntries(
      Array.from({ length: n }, (_, index) => [
        ComfyTest.urlOf(ComfyTest.nameOf(index + 1)),
        { nodes: TestNodes.nodes, seed: seed + index }
      ])
    )),
    Layer.succeed(References.MinimumLogLevel, "None")
  )
