import type { JobId } from "@effect-comfyui/execution/Ids"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HeadChange, JobHead, OpenRun } from "../JobHead.ts"

const batch = 4_096

/** A reader of heads: first all there was when it came, then the latest change of each job. */
interface Reader {
  readonly first: Array<JobHead>
  sent: number
  /** What each job is now; undefined: gone. */
  changed: Map<JobId, JobHead | undefined>
  wake: (() => void) | undefined
}

/** What the queue knows of the jobs that it announces. */
interface Source {
  readonly waiting: () => Iterable<JobHead>
  /** The run of this job that nobody holds any more. */
  readonly leftOf: (id: JobId) => OpenRun | null
  readonly now: () => number
}

/** A job that may be claimed later says in how many milliseconds. */
const toReady = ({ leftOf, now }: Source, head: JobHead): HeadChange => {
  const left = leftOf(head.id)
  const inMs = head.notBefore > 0 ? head.notBefore - now() : 0
  return { _tag: "Ready", head, ...inMs > 0 ? { inMs } : {}, ...left === null ? {} : { left } }
}

const take = (reader: Reader, source: Source): ReadonlyArray<HeadChange> => {
  if (reader.sent < reader.first.length) {
    const heads = reader.first.slice(reader.sent, reader.sent + batch)
    reader.sent += heads.length
    if (reader.sent === reader.first.length) {
      reader.first.length = 0
      reader.sent = 0
    }
    return heads.map((head) => toReady(source, head))
  }
  const { changed } = reader
  const changes: Array<HeadChange> = []
  const isAll = changed.size <= batch
  for (const [id, head] of changed) {
    if (changes.length >= batch) break
    changes.push(head === undefined ? { _tag: "Gone", id } : toReady(source, head))
    if (!isAll) changed.delete(id)
  }
  if (isAll) changed.clear()
  return changes
}

/** Tells any number of readers what waits; nobody waits for them, and each keeps at most one change per job. */
export const make = Effect.fnUntraced(function*(source: Source) {
  const readers = new Set<Reader>()
  let closed = false
  const tell = (id: JobId, head: JobHead | undefined) => {
    for (const reader of readers) {
      reader.changed.set(id, head)
      reader.wake?.()
    }
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      for (const reader of readers) reader.wake?.()
    })
  )

  const next = (reader: Reader): Effect.Effect<ReadonlyArray<HeadChange>, Cause.Done> =>
    Effect.suspend(() => {
      const changes = take(reader, source)
      if (changes.length > 0) return Effect.succeed(changes)
      return closed ? Cause.done() : Effect.flatMap(asleep(reader), () => next(reader))
    })

  const asleep = (reader: Reader) =>
    Effect.callback<void>((resume) => {
      if (closed || reader.changed.size > 0) return resume(Effect.void)
      reader.wake = () => {
        reader.wake = undefined
        // Not at once: what changes together is told together.
        resume(Effect.yieldNow)
      }
      return Effect.sync(() => {
        reader.wake = undefined
      })
    })

  const subscribe = Effect.acquireRelease(
    Effect.sync(() => {
      const reader: Reader = { first: [...source.waiting()], sent: 0, changed: new Map(), wake: undefined }
      readers.add(reader)
      return reader
    }),
    (reader) => Effect.sync(() => readers.delete(reader))
  )

  const heads: Stream.Stream<ReadonlyArray<HeadChange>, PoolError> = Stream.fromPull(
    Effect.map(subscribe, (reader) => Effect.map(next(reader), (changes) => [changes] as const))
  ).pipe(Stream.scoped)

  return {
    heads,
    ready: (head: JobHead) => tell(head.id, head),
    gone: (id: JobId) => tell(id, undefined)
  }
})

/** Rings at the instant that `at` gives, by `now`; `wake` says that it may be earlier now. One fiber. */
export const alarm = Effect.fnUntraced(function*(at: () => number, ring: () => void, now: () => number) {
  let next = Number.POSITIVE_INFINITY
  let waker: (() => void) | undefined
  const woken = Effect.callback<void>((resume) => {
    // Something may have been claimed since the loop looked.
    if (at() < next) return resume(Effect.void)
    waker = () => resume(Effect.void)
    return Effect.sync(() => {
      waker = undefined
    })
  })
  const loop = Effect.forever(
    Effect.suspend(() => {
      next = at()
      const wait = Math.ceil(next - now())
      if (wait <= 0) return Effect.sync(ring)
      return next === Number.POSITIVE_INFINITY ? woken : Effect.race(woken, Effect.sleep(wait))
    })
  )
  yield* Effect.forkScoped(loop)
  return {
    wake: (candidate: number) => {
      if (candidate < next) waker?.()
    }
  }
})
