// Sinks in memory, S3-shaped: an object is there whole, under its key, or not at all.
import { FilesError } from "@effect-comfyui/execution/Files"
import { type Item, type Sink, SinkError, type SinkReason } from "@effect-comfyui/pool/Sink"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export const keyOf = ({ file, jobId, nodeId }: Item): string =>
  [jobId, nodeId, file.type, file.subfolder, file.filename].map(encodeURIComponent).join("/")

/** Keeps what it gets in the map. */
export const bucket = (objects: Map<string, Uint8Array>): Sink => ({
  name: "s3://bucket",
  put: (item, bytes) =>
    Effect.map(Stream.runCollect(bytes), (chunks) => {
      objects.set(keyOf(item), Buffer.concat(chunks))
      return { location: `s3://bucket/${keyOf(item)}` }
    })
})

/** Reads everything and keeps nothing. */
export const drain: Sink = {
  name: "drain",
  put: ({ file }, bytes) => Effect.as(Stream.runDrain(bytes), { location: file.filename })
}

/** The first so many tries end like this, the others are the sink's. */
export const failing = (times: number, reason: SinkReason, sink: Sink): Sink & { readonly tries: () => number } => {
  let tries = 0
  return {
    name: sink.name,
    tries: () => tries,
    put: (item, bytes) => ++tries <= times ? Effect.fail(new SinkError({ reason })) : sink.put(item, bytes)
  }
}

export const notFound = (name: string): FilesError => new FilesError({ reason: { _tag: "NotFound", name } })
