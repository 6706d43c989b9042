/** The asset store, since 0.9, off by default up to 0.33. Changes often: treat as optional. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

const optionalText = Wire.nullish(Schema.String)

const asset = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  hash: optionalText,
  asset_hash: optionalText,
  loader_path: optionalText,
  display_name: optionalText,
  size: Wire.nullish(Wire.double),
  mime_type: optionalText,
  tags: Wire.nullish(Wire.strings),
  preview_url: optionalText,
  preview_id: optionalText,
  user_metadata: Wire.nullish(Wire.object),
  metadata: Wire.nullish(Wire.object),
  job_id: optionalText,
  is_immutable: Wire.nullish(Schema.Boolean),
  created_at: optionalText,
  updated_at: optionalText,
  last_access_time: optionalText,
  created_new: Wire.nullish(Schema.Boolean)
})

/**
 * One file under one name; several may share bytes (`hash`). Size in bytes, times ISO without a zone; `created_new` is
 * false where an upload found the bytes already there.
 */
export const Asset = Wire.make("asset", asset)
export type Asset = Wire.Type<typeof Asset>

/** `GET /api/assets`. */
export const Page = Wire.make(
  "assets",
  Schema.Struct({
    assets: Schema.Array(asset),
    total: Wire.nullish(Wire.double),
    has_more: Wire.nullish(Schema.Boolean),
    next_cursor: optionalText
  })
)
export type Page = Wire.Type<typeof Page>

/** Query of `GET /api/assets`; tags are lists joined by commas, `metadata_filter` is JSON, `limit` 1 to 500. */
export interface Query {
  readonly tags_all?: string
  readonly tags_any?: string
  readonly tags_none?: string
  readonly include_tags?: string
  readonly exclude_tags?: string
  readonly name_contains?: string
  readonly metadata_filter?: string
  readonly limit?: number
  readonly offset?: number
  readonly after?: string
  readonly sort?: "name" | "created_at" | "updated_at" | "size" | "last_access_time"
  readonly order?: "asc" | "desc"
}

/** `POST /api/assets/from-hash`: a new name for bytes that are there (404 if they are not). */
export const FromHash = Wire.make(
  "asset from hash",
  Schema.Struct({
    hash: Schema.String,
    name: Schema.optionalKey(Schema.String),
    tags: Schema.optionalKey(Wire.strings),
    user_metadata: Schema.optionalKey(Wire.object)
  })
)
export type FromHash = Wire.Type<typeof FromHash>

/** `PUT /api/assets/{id}`. */
export const Update = Wire.make(
  "asset update",
  Schema.Struct({
    name: Schema.optionalKey(Schema.String),
    user_metadata: Schema.optionalKey(Wire.object)
  })
)
export type Update = Wire.Type<typeof Update>

/** `POST` and `DELETE /api/assets/{id}/tags`. */
export const TagsUpdate = Wire.make("asset tags update", Schema.Struct({ tags: Wire.strings }))
export type TagsUpdate = Wire.Type<typeof TagsUpdate>

/** Their answer. */
export const TagsUpdated = Wire.make(
  "asset tags",
  Schema.Struct({
    added: Wire.nullish(Wire.strings),
    already_present: Wire.nullish(Wire.strings),
    removed: Wire.nullish(Wire.strings),
    not_present: Wire.nullish(Wire.strings),
    total_tags: Wire.nullish(Wire.strings)
  })
)
export type TagsUpdated = Wire.Type<typeof TagsUpdated>

/** `GET /api/tags`. */
export const Tags = Wire.make(
  "tags",
  Schema.Struct({
    tags: Schema.Array(Schema.Struct({ name: Schema.String, count: Wire.nullish(Wire.double) })),
    total: Wire.nullish(Wire.double),
    has_more: Wire.nullish(Schema.Boolean)
  })
)
export type Tags = Wire.Type<typeof Tags>

/** State of the scan of files into assets: `POST /api/assets/seed`, `GET /api/assets/seed/status`. */
export const Seed = Wire.make(
  "asset seed",
  Schema.Struct({
    status: optionalText,
    state: optionalText,
    progress: Schema.optionalKey(Wire.json),
    errors: Schema.optionalKey(Wire.json)
  })
)
export type Seed = Wire.Type<typeof Seed>

/** A task of the server (0.40): `POST /api/assets/export` (202), `GET /api/tasks/{id}`. */
export const Task = Wire.make(
  "task",
  Schema.Struct({
    task_id: optionalText,
    status: Wire.nullish(Wire.open("created", "running", "completed", "failed")),
    message: optionalText
  })
)
export type Task = Wire.Type<typeof Task>

/** `GET /api/assets/exports/{name}`. */
export const Export = Wire.make("asset export", Schema.Struct({ url: Schema.String }))
export type Export = Wire.Type<typeof Export>
