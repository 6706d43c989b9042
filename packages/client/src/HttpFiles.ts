/** Files as endpoints. `Files` is what most callers want instead. */
import type { FileRef } from "@effect-comfyui/execution/Files"
import * as WireFiles from "@effect-comfyui/protocol/Files"
import * as Models from "@effect-comfyui/protocol/Models"
import type * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import { at, type HttpCall, type Query, withQuery } from "./HttpCall.ts"
import type { Answer } from "./HttpTransport.ts"

/** What a view may ask for: a byte range (`bytes=0-99`), a re-encoded preview, one channel. */
export interface ViewOptions {
  readonly range?: string
  readonly preview?: string
  readonly channel?: "rgb" | "a" | "rgba"
}

export interface HttpFiles {
  /** Opens a file: 200, or 206 for a range. The body is a stream. */
  readonly view: (file: FileRef, options?: ViewOptions) => Effect.Effect<Answer, ComfyHttpError>
  /** The headers of a file. */
  readonly stat: (file: FileRef) => Effect.Effect<Answer, ComfyHttpError>
  /** Uploads a form whose file part is called `image`; the answered name is the one to use. */
  readonly uploadImage: (form: HttpBody.HttpBody) => Effect.Effect<WireFiles.Uploaded, ComfyHttpError>
  /** As `uploadImage`, with `original_ref`: the picture whose alpha the upload becomes. */
  readonly uploadMask: (form: HttpBody.HttpBody) => Effect.Effect<WireFiles.Uploaded, ComfyHttpError>
  /** What a trainer wrote into the header of a model file. */
  readonly modelMetadata: (folder: string, filename: string) => Effect.Effect<Models.Metadata, ComfyHttpError>
}

const query = (file: FileRef): Query => ({
  filename: file.filename,
  subfolder: file.subfolder === "" ? undefined : file.subfolder,
  type: file.type
})

const refusals = [400, 403, 404, 416]

export const make = (call: HttpCall): HttpFiles => {
  const upload = (path: string) => (form: HttpBody.HttpBody) =>
    call.typed(WireFiles.Uploaded, path, { method: "POST", body: form, refusals: [400, 403] })
  return {
    view: (file, { range, ...options } = {}) =>
      call.transport.send(call.request(withQuery("/view", { ...query(file), ...options }), {
        refusals,
        emptyNotFound: true,
        ...(range === undefined ? {} : { headers: { range } })
      })),
    stat: (file) =>
      call.transport.send(call.request(withQuery("/view", query(file)), {
        method: "HEAD",
        refusals,
        emptyNotFound: true
      })),
    uploadImage: upload("/upload/image"),
    uploadMask: upload("/upload/mask"),
    modelMetadata: (folder, filename) =>
      call.typed(Models.Metadata, withQuery(at("/view_metadata", folder), { filename }), {
        refusals: [404],
        emptyNotFound: true
      })
  }
}
