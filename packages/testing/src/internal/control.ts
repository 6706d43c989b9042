// What is said over the control port of a fake process: commands in, and looks at what happened out.
import * as Schema from "effect/Schema"
import type * as FakeComfy from "../FakeComfy.ts"
import type { RequestRecord, Snapshot } from "../FaultyComfy.ts"
import * as faultCodec from "./faultCodec.ts"

const ms = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))
const which = Schema.Struct({ clientId: Schema.optionalKey(Schema.String) })
const ids = Schema.Array(Schema.Int)

/** The body of `POST /command`. */
export const Command = Schema.Union([
  Schema.TaggedStruct("Inject", { faults: Schema.Array(faultCodec.fault) }),
  /** Without ids all of them. */
  Schema.TaggedStruct("Heal", { ids: Schema.optionalKey(ids) }),
  Schema.TaggedStruct("CutSockets", { which }),
  Schema.TaggedStruct("DeafenSockets", { which }),
  Schema.TaggedStruct("HalfOpenSockets", { which, serverNoticesMs: Schema.optionalKey(ms) }),
  Schema.TaggedStruct("SendFrames", { which, frames: Schema.Array(faultCodec.frame) }),
  Schema.TaggedStruct("Wipe", { folder: Schema.Literals(["input", "output", "temp"]) }),
  Schema.TaggedStruct("Stall", { ms }),
  Schema.TaggedStruct("KillWorker", {}),
  /** The process ends after the answer. */
  Schema.TaggedStruct("Kill", {}),
  /** A new fake process within the same process of the system: connections break, queue and history are gone. */
  Schema.TaggedStruct("Restart", {})
])

export type Command = typeof Command.Type

/** The answer to a command: the ids of injected faults, none for all others. */
export const Done = Schema.Struct({ ids })

/** The answer to what is no command (400), not JSON by its type (415), too large (413) or unknown (404). */
export const Refused = Schema.Struct({
  error: Schema.Struct({
    type: Schema.Literals(["BadCommand", "NotJson", "TooLarge", "NotFound"]),
    message: Schema.String
  })
})

export type Refused = typeof Refused.Type

const time = Schema.UndefinedOr(Schema.Finite)

/** `GET /ledger`. */
export const Ledger: Schema.Codec<FakeComfy.Ledger, unknown> = Schema.toCodecJson(Schema.Struct({
  prompts: Schema.Array(Schema.Struct({
    promptId: Schema.String,
    number: Schema.Finite,
    acceptedAt: Schema.Finite,
    startedAt: time,
    endedAt: time,
    outcome: Schema.UndefinedOr(Schema.Literals(["success", "error", "interrupted", "removed", "lost"]))
  })),
  nodes: Schema.Array(Schema.Struct({
    promptId: Schema.String,
    nodeId: Schema.String,
    classType: Schema.String,
    startedAt: Schema.Finite,
    endedAt: time,
    outcome: Schema.UndefinedOr(Schema.Literals(["success", "error", "interrupted", "blocked", "lost"]))
  })),
  dropped: Schema.Int
}))

/** `GET /requests`. */
export const Requests: Schema.Codec<ReadonlyArray<Readonly<RequestRecord>>, unknown> = Schema.toCodecJson(
  Schema.Array(Schema.Struct({
    at: Schema.Finite,
    method: Schema.String,
    target: Schema.String,
    headers: Schema.Record(Schema.String, Schema.String),
    body: Schema.Uint8Array,
    outcome: Schema.UndefinedOr(Schema.Union([Schema.Int, Schema.Literal("aborted")]))
  }))
)

const strings = Schema.Array(Schema.String)

/** `GET /snapshot`. */
export const Look: Schema.Codec<Snapshot, unknown> = Schema.toCodecJson(Schema.Struct({
  now: Schema.Finite,
  up: Schema.Boolean,
  boots: Schema.Int,
  workerAlive: Schema.Boolean,
  running: strings,
  pending: strings,
  history: strings,
  sockets: Schema.Array(Schema.Struct({
    conn: Schema.Int,
    clientId: Schema.String,
    registered: Schema.Boolean,
    flags: Schema.String
  })),
  interruptFlag: Schema.Boolean,
  cachedNodes: Schema.Int,
  files: Schema.Int,
  lastNode: Schema.UndefinedOr(Schema.String),
  faults: Schema.Int,
  underWay: Schema.Int,
  stalledUntil: time,
  reachable: Schema.Boolean,
  poisoned: Schema.Boolean
}))
