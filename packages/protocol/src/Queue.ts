/** What waits and what runs, and the commands that change it. */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

/** Checked so far: number, prompt id, prompt, extra data (no object where the client sent none), output nodes to run. */
export const item = Schema.TupleWithRest(
  Schema.Tuple([Wire.number, Schema.String, Wire.object, Wire.json, Wire.strings]),
  [Wire.json]
)

/** One entry, a tuple; the prompt is what validation made of the one that was posted. See the accessors below. */
export type Item = typeof item.Type

/** `GET /queue`. `queue_pending` is a heap: see {@link sorted}. With whole prompts, it can be megabytes. */
export const Queue = Wire.make(
  "queue",
  Schema.Struct({ queue_running: Schema.Array(item), queue_pending: Schema.Array(item) })
)
export type Queue = Wire.Type<typeof Queue>

/** The priority; the lowest runs first. */
export const numberOf = (item: Item): number | bigint => item[0]

/** The prompt's id; not unique on servers that take one id twice. */
export const promptIdOf = (item: Item): string => item[1]

/** The graph as the server runs it: coerced literals, unwrapped values, replaced nodes. */
export const promptOf = (item: Item): Json.JsonObject => item[2]

/** Everything of the request's `extra_data` that is no secret, and what the server adds; `{}` where it is no object. */
export const extraDataOf = (item: Item): Json.JsonObject => Json.isObject(item[3]) ? item[3] : {}

/** The output nodes that will run: those that passed validation, or the targets of the request. */
export const outputsOf = (item: Item): ReadonlyArray<string> => item[4]

/** Who gets the events; null for a prompt without client. */
export const clientIdOf = (item: Item): string | null => {
  const id = Json.get(extraDataOf(item), "client_id")
  return typeof id === "string" ? id : null
}

/** When it was queued, epoch milliseconds on the server's clock; null before 0.3.69. */
export const createTimeOf = (item: Item): number | null => {
  const time = Json.get(extraDataOf(item), "create_time")
  return typeof time === "number" ? time : null
}

const before = (a: string | number | bigint, b: string | number | bigint): number => a < b ? -1 : a > b ? 1 : 0

/** The order in which entries will run: by number, then by id as text (not first in, first out). */
export const sorted = (items: ReadonlyArray<Item>): ReadonlyArray<Item> =>
  items.toSorted((a, b) => before(a[0], b[0]) || before(a[1], b[1]))

/**
 * `POST /queue` and `POST /history`. `delete` takes pending ids (history: any), unknown ones are ignored; `clear` takes
 * those of every client. The answer is empty and says nothing.
 */
export const Update = Wire.make(
  "queue update",
  Schema.Struct({ clear: Schema.optionalKey(Schema.Boolean), delete: Schema.optionalKey(Wire.strings) })
)
export type Update = Wire.Type<typeof Update>

/** `POST /interrupt`. Without `prompt_id` (honoured since 0.3.57) it hits whatever runs, of whatever client. */
export const Interrupt = Wire.make("interrupt", Schema.Struct({ prompt_id: Schema.optionalKey(Schema.String) }))
export type Interrupt = Wire.Type<typeof Interrupt>

/** `POST /free`. `free_memory` unloads models too, and drops the cache of node outputs. */
export const Free = Wire.make(
  "free",
  Schema.Struct({
    unload_models: Schema.optionalKey(Schema.Boolean),
    free_memory: Schema.optionalKey(Schema.Boolean)
  })
)
export type Free = Wire.Type<typeof Free>
