/**
 * A bucket of yours as the place where every picture goes: a job has succeeded when its files are there, and its receipts
 * say where. A sink is twenty lines; it may get the same file twice, and keeps the last one.
 */
import { Pool } from "@effect-comfyui/pool/Pool"
import { type Sink, SinkError } from "@effect-comfyui/pool/Sink"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { layerPool } from "./support/testPool.ts"

/** What an S3 client looks like from here. */
interface Bucket {
  readonly name: string
  readonly put: (key: string, body: ReadonlyArray<Uint8Array>) => Effect.Effect<void, { readonly status: number }>
}

const sinkOf = (bucket: Bucket): Sink => ({
  name: `s3://${bucket.name}`,
  put: ({ file, jobId, nodeId }, bytes) => {
    // The names are a server's words: encoded, they cannot leave their place.
    const key = [jobId, nodeId, file.type, file.subfolder, file.filename].map(encodeURIComponent).join("/")
    return Stream.runCollect(bytes).pipe(
      Effect.flatMap((body) =>
        Effect.mapError(bucket.put(key, body), ({ status }) =>
          new SinkError({
            reason: { _tag: status === 403 || status === 404 ? "Refused" : "Unavailable", cause: `status ${status}` }
          }))
      ),
      Effect.as({ location: `s3://${bucket.name}/${key}` })
    )
  }
})

/** It is busy once. */
const pictures = () => {
  const objects = new Map<string, number>()
  let asked = 0
  const bucket: Bucket = {
    name: "pictures",
    put: (key, body) =>
      ++asked === 1
        ? Effect.fail({ status: 503 })
        : Effect.sync(() => void objects.set(key, body.reduce((sum, { byteLength }) => sum + byteLength, 0)))
  }
  return { bucket, objects }
}

const { bucket, objects } = pictures()

it.effect("a job is done when its picture is in the bucket", () =>
  Effect.gen(function*() {
    const { submit } = yield* Pool
    const job = yield* submit(Workflows.picture())
    const { receipts } = yield* ComfyTest.advanceWhile(job.result)
    assert.deepStrictEqual(
      receipts.map(({ location, sizeBytes }) => [location, sizeBytes]),
      [...objects].map(([key, sizeBytes]) => [`s3://pictures/${key}`, sizeBytes])
    )
    assert.strictEqual(receipts.length, 1)
  }).pipe(Effect.provide(layerPool(1, { collect: sinkOf(bucket) }))))
