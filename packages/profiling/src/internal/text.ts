/** Documents that are written as they come. */
import * as Stream from "effect/Stream"
import type { JobProfile } from "../JobProfile.ts"

/** A document in its making: what opens it, the text of one job, what closes it. */
export interface Writer {
  readonly head: string
  readonly job: (job: JobProfile) => string
  readonly foot: () => string
}

/** One text per job, whatever batches they come in: no more than one of them is held. A writer per subscription. */
export const write = <E, R>(
  jobs: Stream.Stream<JobProfile, E, R>,
  make: () => Writer
): Stream.Stream<string, E, R> =>
  Stream.suspend(() => {
    const { foot, head, job } = make()
    return Stream.succeed(head).pipe(
      Stream.concat(Stream.map(Stream.rechunk(jobs, 1), job)),
      Stream.concat(Stream.suspend(() => Stream.succeed(foot()))),
      Stream.filter((text) => text !== "")
    )
  })
