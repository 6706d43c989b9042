/** Reading and sending files. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

/** Where the server keeps a file. */
export type Folder = "input" | "output" | "temp"

/**
 * Query of `GET /view`. `filename` may end in an annotation such as ` [temp]`, which overrides `type` (default output),
 * and may be `blake3:<hex>` since 0.18. `preview` re-encodes: `webp` or `jpeg`, perhaps with `;quality`.
 */
export interface ViewQuery {
  readonly filename: string
  readonly type?: Folder
  readonly subfolder?: string
  readonly preview?: string
  readonly channel?: "rgb" | "a" | "rgba"
}

/** The form of `POST /upload/image`, beside the file part `image`, whose filename must not be empty. */
export interface UploadForm {
  readonly type?: Folder
  readonly subfolder?: string
  readonly overwrite?: "true" | "1"
}

/** The form of `POST /upload/mask`: `original_ref` is JSON, the image whose alpha the upload becomes. */
export interface MaskForm extends UploadForm {
  readonly original_ref: string
}

/** The reference of a mask upload. */
export const OriginalRef = Wire.make(
  "original ref",
  Schema.Struct({
    filename: Schema.String,
    subfolder: Schema.optionalKey(Schema.String),
    type: Schema.optionalKey(Schema.String)
  })
)
export type OriginalRef = Wire.Type<typeof OriginalRef>

/** What an upload answers. The name may differ from the one that was sent: always use this one. */
export const Uploaded = Wire.make(
  "uploaded",
  Schema.Struct({
    name: Schema.String,
    subfolder: Schema.String,
    type: Wire.open("input", "temp", "output"),
    asset: Wire.nullish(Wire.object)
  })
)
export type Uploaded = Wire.Type<typeof Uploaded>

/** The value of a node's input that means this file: `sub/name`, with ` [temp]` or ` [output]` unless it is an input. */
export const annotated = (file: Pick<Uploaded, "name" | "subfolder" | "type">): string => {
  const path = file.subfolder === "" ? file.name : `${file.subfolder}/${file.name}`
  return file.type === "input" ? path : `${path} [${file.type}]`
}

const file = Wire.make(
  "file",
  Schema.Struct({
    filename: Schema.String,
    subfolder: Wire.nullish(Schema.String),
    type: Wire.nullish(Wire.open("input", "temp", "output"))
  })
)

/** A file in a node's UI output; further members such as `format` or asset ids stay where they are. */
export type File = Wire.Type<typeof file>

/** Whether an item of a UI output is a file. */
export const isFile = file.is
