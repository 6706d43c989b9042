/** Model files. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

/** `GET /models`: the folder keys; `GET /models/{folder}` and `GET /embeddings`: file names, relative to the folder. */
export const Names = Wire.make("names", Wire.strings)
export type Names = Wire.Type<typeof Names>

/** `GET /experiment/models`: where each folder's files are; `extensions` since 0.28. */
export const Folders = Wire.make(
  "model folders",
  Schema.Array(
    Schema.Struct({ name: Schema.String, folders: Wire.strings, extensions: Wire.nullish(Wire.strings) })
  )
)
export type Folders = Wire.Type<typeof Folders>

/** `GET /experiment/models/{folder}`: times in epoch seconds (fractions), size in bytes, `pathIndex` into the folders. */
export const Files = Wire.make(
  "model files",
  Schema.Array(
    Schema.Struct({
      name: Schema.String,
      pathIndex: Wire.double,
      modified: Wire.nullish(Wire.double),
      created: Wire.nullish(Wire.double),
      size: Wire.nullish(Wire.double)
    })
  )
)
export type Files = Wire.Type<typeof Files>

/** `GET /view_metadata/{folder}?filename=`: what the trainer wrote into the file's header, normally texts. */
export const Metadata = Wire.make("model metadata", Wire.object)
export type Metadata = Wire.Type<typeof Metadata>
