/** What ran: the authority on how a prompt ended, also where no socket was open. */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"
import * as Queue from "./Queue.ts"
import * as Wire from "./Wire.ts"

/** One thing that the server logged about a run: the type of the event and its data, which carries a `timestamp` (ms). */
export const message = Schema.TupleWithRest(Schema.Tuple([Schema.String, Wire.json]), [Wire.json])

/** How a run ended, in history and in jobs; an interrupted one has `status_str` "error" too. */
export const status = Schema.Struct({
  status_str: Wire.open("success", "error"),
  completed: Schema.Boolean,
  messages: Schema.Array(message)
})
export type Status = typeof status.Type

const entry = Schema.Struct({
  prompt: Queue.item,
  outputs: Schema.Record(Schema.String, Wire.json),
  status: Wire.nullish(status),
  meta: Wire.nullish(Schema.Record(Schema.String, Wire.json))
})

/**
 * One run. `outputs` holds the UI output of each node that had one, normally an object of arrays, also of a run that
 * failed later; `meta` says which node of the graph an expanded one stands for.
 */
export const Entry = Wire.make("history entry", entry)
export type Entry = Wire.Type<typeof Entry>

/**
 * `GET /history` (oldest first) and `GET /history/{prompt_id}`: entries by prompt id. `{}` for an unknown id, and for
 * one that still waits or runs.
 */
export const History = Wire.make("history", Schema.Record(Schema.String, entry))
export type History = Wire.Type<typeof History>

/** Query of `GET /history`. `max_items` alone means the last so many; never ask without it. `offset` (0.3.60) counts
 * from the oldest. */
export interface Query {
  readonly max_items?: number
  readonly offset?: number
}

/** The entry of that prompt, if the answer has it. */
export const find = (history: History, promptId: string): Entry | undefined =>
  Object.hasOwn(history, promptId) ? history[promptId] : undefined

/** The message that ended a run; its data is that of the socket event of this type. */
export interface Terminal {
  readonly type: "execution_success" | "execution_error" | "execution_interrupted"
  readonly data: Json.JsonObject
}

const isTerminal = (type: string): type is Terminal["type"] =>
  type === "execution_success" || type === "execution_error" || type === "execution_interrupted"

/** The last terminal message of a history entry, or of a job's `execution_status`; undefined if there is none. */
export const terminal = (status: Status | null | undefined): Terminal | undefined => {
  const found = status?.messages.findLast((message) => isTerminal(message[0]))
  return found !== undefined && isTerminal(found[0])
    ? { type: found[0], data: Json.isObject(found[1]) ? found[1] : {} }
    : undefined
}
