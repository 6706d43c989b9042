/** `/users`. Users separate settings and userdata, nothing else. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

/** `GET /users`: names by id on a multi-user server; otherwise there is only `migrated`. */
export const Users = Wire.make(
  "users",
  Schema.Struct({
    storage: Wire.open("server", "browser"),
    migrated: Wire.nullish(Schema.Boolean),
    users: Wire.nullish(Schema.Record(Schema.String, Schema.String))
  })
)
export type Users = Wire.Type<typeof Users>

/** `POST /users`. */
export const Create = Wire.make("create user", Schema.Struct({ username: Schema.String }))
export type Create = Wire.Type<typeof Create>

/** Its answer: the new id, for the header `comfy-user`. */
export const UserId = Wire.make("user id", Schema.String)
