/** `/settings`: what the editor keeps for a user. */
import * as Wire from "./Wire.ts"

/** `GET /settings`; `POST /settings` merges such an object into it. */
export const Settings = Wire.make("settings", Wire.object)
export type Settings = Wire.Type<typeof Settings>

/** `GET` and `POST /settings/{id}`: any JSON; null for an unknown id. */
export const Value = Wire.make("setting", Wire.json)
