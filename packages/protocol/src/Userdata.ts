/** Files of a user, such as saved workflows. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

const info = Schema.Struct({
  path: Schema.String,
  size: Wire.nullish(Wire.double),
  modified: Wire.nullish(Wire.double),
  created: Wire.nullish(Wire.double)
})

/** Size in bytes; times in epoch milliseconds since 0.21, seconds before. */
export const Info = Wire.make("userdata info", info)
export type Info = Wire.Type<typeof Info>

/** `GET /userdata?dir=`: names; with `split` each path in parts (the whole first); with `full_info` infos. */
export const Listing = Wire.make(
  "userdata",
  Schema.Union([Wire.strings, Schema.Array(Wire.strings), Schema.Array(info)])
)
export type Listing = Wire.Type<typeof Listing>

/** `GET /v2/userdata?path=` (0.3.31): recursive; `modified` in epoch seconds, only of files. */
export const Tree = Wire.make(
  "userdata tree",
  Schema.Array(
    Schema.Struct({
      name: Schema.String,
      path: Schema.String,
      type: Wire.open("file", "directory"),
      size: Wire.nullish(Wire.double),
      modified: Wire.nullish(Wire.double)
    })
  )
)
export type Tree = Wire.Type<typeof Tree>

/** What a write or a move answers: the path, or its info with `full_info=true`. */
export const Written = Wire.make("userdata written", Schema.Union([Schema.String, info]))
export type Written = Wire.Type<typeof Written>

/** Query of `GET /userdata`; `dir` is a must. */
export interface Query {
  readonly dir: string
  readonly recurse?: boolean
  readonly split?: boolean
  readonly full_info?: boolean
}

/** Query of a write or a move. Without `overwrite: false` an existing file is replaced. */
export interface WriteQuery {
  readonly overwrite?: boolean
  readonly full_info?: boolean
}
