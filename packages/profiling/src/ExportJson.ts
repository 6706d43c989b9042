/** Profiles of jobs as one JSON document, whole: what `fromJson` reads again. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { read } from "./internal/document.ts"
import { write } from "./internal/text.ts"
import { JobProfile } from "./JobProfile.ts"
import type { ProfilingError } from "./ProfilingError.ts"

/** The version of documents that this release writes and reads. */
export const version = 1

/** The document. */
export const Document = Schema.Struct({ version: Schema.Literal(version), jobs: Schema.Array(JobProfile) })
export type Document = typeof Document.Type

/** The document as it is written: a text per job, so that memory does not grow with their number. */
export const stream = <E, R>(jobs: Stream.Stream<JobProfile, E, R>): Stream.Stream<string, E, R> =>
  write(jobs, () => {
    let separator = "\n"
    return {
      head: `{"version":${version},"jobs":[`,
      job: (job) => {
        const text = `${separator}${JSON.stringify(job)}`
        separator = ",\n"
        return text
      },
      foot: () => "\n]}\n"
    }
  })

/** The jobs of a document; another version, and what is none, is a typed error. */
export const fromJson = (text: string): Result.Result<ReadonlyArray<JobProfile>, ProfilingError> =>
  Result.map(read(Document, version, text), ({ jobs }) => jobs)
