// Between the queue's values and what the tables hold. What is read is checked first: a person may have written it.
import type { Attachment } from "@effect-comfyui/execution/Files"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import { DeadLettered, JobCancelled, type JobEnding, JobFailed, JobSucceeded } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { WorkflowError } from "@effect-comfyui/workflow/WorkflowError"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import { type HeadChange, isJobId, type JobHead, type OpenRun } from "../JobHead.ts"
import type { Claim, JobPayload, JobRecord, Offer } from "../JobQueue.ts"
import { unavailable } from "./groupCommit.ts"

// ── Texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** SQLite keeps UTF-8: halves of surrogate pairs would become one and the same character, so such a text is kept as JSON. */
export const toStored = (text: string): string =>
  text.isWellFormed() && !text.startsWith("\"") && !text.includes("\0") ? text : JSON.stringify(text)

const fromStored = (stored: string): string => {
  if (!stored.startsWith("\"")) return stored
  const value = Json.parse(stored)
  return Result.isSuccess(value) && typeof value.success === "string" ? value.success : stored
}

const isAffinity = (text: string): text is AffinityKey => text.startsWith("a1:")

// ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const headColumns = {
  sequence: Schema.Int,
  id: Schema.String,
  priority: Schema.Number,
  tenant: Schema.String,
  affinity: Schema.String,
  placement: Schema.String,
  cost: Schema.Number,
  not_before: Schema.Number
}

export const state = Schema.Literals(["waiting", "claimed", "dead", "succeeded", "failed", "cancelled"])

const run = Schema.NullOr(Schema.String)

export const Change = Schema.Struct({ ...headColumns, version: Schema.Int, state, in_ms: Schema.Number, run })

export const Record = Schema.Struct({
  ...headColumns,
  state,
  attempt: Schema.Int,
  token: Schema.Int,
  expires_at: Schema.NullOr(Schema.Number),
  cancel_requested: Schema.Int,
  queued_at: Schema.Int,
  ending: Schema.NullOr(Schema.String),
  ended_at: Schema.NullOr(Schema.Int),
  options: Schema.String,
  fingerprint: Schema.String,
  ledger: Schema.NullOr(Schema.String),
  run
})

/** What a job is made of, but for its files. */
const payloadColumns = {
  workflow: Schema.String,
  beside: Schema.NullOr(Schema.String),
  options: Schema.String,
  files: Schema.Int
}

export const Payload = Schema.Struct({ sequence: Schema.Int, ...payloadColumns })

export const Claimed = Schema.Struct({
  ...headColumns,
  attempt: Schema.Int,
  token: Schema.Int,
  ledger: Schema.NullOr(Schema.String),
  cancel_requested: Schema.Int,
  ...payloadColumns
})

/** SQLite has no word for bytes of length nought but null. */
export const File = Schema.Struct({ described: Schema.String, body: Schema.NullOr(Schema.Uint8Array) })

const broken = (what: string): PoolError => unavailable(`the database holds what no queue wrote: ${what}`)

/** Rows of this form, or `QueueUnavailable`. */
export const decode = <A>(schema: Schema.Codec<A>): (rows: unknown) => Effect.Effect<ReadonlyArray<A>, PoolError> => {
  const isRows = Schema.is(Schema.Array(schema))
  return (rows) => isRows(rows) ? Effect.succeed(rows) : Effect.fail(broken("a row of another form"))
}

/** The checked rows of a statement. */
export const query = <A>(
  connection: Connection,
  decode: (rows: unknown) => Effect.Effect<ReadonlyArray<A>, PoolError>,
  text: string,
  ...params: ReadonlyArray<string | number | null | Uint8Array>
): Effect.Effect<ReadonlyArray<A>, PoolError | SqlError> =>
  Effect.flatMap(connection.execute(text, params, undefined), decode)

const toJson = (text: string, what: string): Effect.Effect<Json.Json, PoolError> =>
  Effect.fromResult(orBroken(Json.parse(text), `${what} of another form`))

const orBroken = <A, E>(result: Result.Result<A, E>, what: string): Result.Result<A, PoolError> =>
  Result.mapError(result, () => broken(what))

const toHead = (
  row: typeof Change.Type | typeof Record.Type | typeof Claimed.Type
): Effect.Effect<JobHead, PoolError> => {
  const id = fromStored(row.id)
  const affinity = fromStored(row.affinity)
  if (!isJobId(id)) return Effect.fail(broken("an empty id"))
  if (!isAffinity(affinity)) return Effect.fail(broken("an affinity of another form"))
  return Effect.succeed({
    id,
    priority: row.priority,
    tenant: fromStored(row.tenant),
    affinity,
    placement: fromStored(row.placement),
    cost: row.cost,
    notBefore: row.not_before,
    sequence: row.sequence
  })
}

export const toChange = Effect.fnUntraced(function*(row: typeof Change.Type): Effect.fn.Return<HeadChange, PoolError> {
  const head = yield* toHead(row)
  if (row.state !== "waiting") return { _tag: "Gone", id: head.id }
  const left = yield* toRun(row.run)
  return {
    _tag: "Ready",
    head,
    ...row.in_ms > 0 ? { inMs: row.in_ms } : {},
    ...left === null ? {} : { left }
  }
})

// ── Runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const readRun = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({ runId: RunId, server: BackendId, number: Schema.Int, startedAt: Schema.Finite })
  )
)

const toRun = (stored: string | null): Effect.Effect<OpenRun | null, PoolError> =>
  stored === null ? Effect.succeed(null) : Effect.fromResult(orBroken(readRun(stored), "a run of another form"))

/** The run and its id, as a claim writes them. */
export const fromRun = (run: OpenRun | undefined): readonly [string | null, string | null] =>
  run === undefined ? [null, null] : [JSON.stringify(run), run.runId]

// ── Endings ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const Ending = Schema.fromJsonString(Schema.Union([JobSucceeded, JobFailed, JobCancelled, DeadLettered]))
const readEnding = Schema.decodeUnknownResult(Ending)
const writeEnding = Schema.encodeUnknownResult(Ending)

export const fromEnding = (ending: JobEnding): Result.Result<string, PoolError> =>
  Result.mapError(writeEnding(ending), ({ message }) => invalid("ending", message))

export const toRecord = Effect.fnUntraced(function*(row: typeof Record.Type) {
  const head = yield* toHead(row)
  const ending = row.ending === null
    ? null
    : yield* Effect.fromResult(orBroken(readEnding(row.ending), "an ending of another form"))
  const record: JobRecord = {
    head,
    state: row.state,
    attempt: row.attempt,
    queuedAt: row.queued_at,
    lease: row.state === "claimed" ? { token: row.token, expiresAt: row.expires_at ?? 0 } : null,
    cancelRequested: row.cancel_requested !== 0,
    ending,
    endedAt: row.ended_at,
    options: yield* toJson(row.options, "options"),
    fingerprint: fromStored(row.fingerprint),
    ledger: row.ledger === null ? null : yield* toJson(row.ledger, "a ledger"),
    run: yield* toRun(row.run)
  }
  return record
})

// ── Payloads ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const Described = Schema.fromJsonString(Schema.Struct({
  filename: Schema.String,
  subfolder: Schema.optionalKey(Schema.String),
  type: Schema.optionalKey(Schema.Literals(["input", "temp"])),
  naming: Schema.optionalKey(Schema.Literals(["content", "keep", "overwrite"])),
  input: Schema.optionalKey(Schema.Struct({ nodeId: Schema.String, inputName: Schema.String }))
}))
const readDescribed = Schema.decodeUnknownResult(Described)

const invalid = (option: string, problem: string): PoolError =>
  new PoolError({ reason: { _tag: "InvalidOptions", option, problem } })

/** A workflow as it was written has no limit of its own: what could be offered can be read. */
const unlimited: Json.DocumentLimits = { maxLength: Number.POSITIVE_INFINITY, maxDepth: 10_000 }

/** What may be a number that JavaScript would write otherwise, such as `8.0` or `1e2`: also where a text says so. */
const ownNumbers = /[:,[](?:-?[0-9]+(?:\.0+[,\]}]|(?:\.[0-9]+)?[eE])|-0[,\]}])/

/** V8's parser takes a third of the time. */
const parseWritten = (text: string): Result.Result<Json.Json, Json.JsonProblem> =>
  ownNumbers.test(text) ? Json.parseDocument(text, unlimited) : Json.parse(text)

const isNode = (id: string, value: Json.Json): value is Workflow.Node => Workflow.nodeProblem(id, value) === undefined

const isNodes = (value: Json.Json): value is Json.JsonObject & Workflow.Nodes =>
  Json.isObject(value) && Object.entries(value).every(([id, node]) => isNode(id, node))

const isNames = (value: Json.Json | undefined): value is Json.JsonObject & Workflow.Workflow["aliases"] =>
  Json.isObject(value) && Object.values(value).every((member) => typeof member === "string")

const isDetour = (value: Json.Json): value is Json.JsonObject & Workflow.Detour => {
  if (!Json.isObject(value)) return false
  const through = Json.get(value, "through")
  return typeof Json.get(value, "nodeId") === "string" && typeof Json.get(value, "inputName") === "string" &&
    Workflow.isLink(Json.get(value, "link")) && (through === null || typeof through === "string")
}

const isBypassed = (value: Json.Json | undefined): value is Json.JsonObject & Workflow.Workflow["bypassed"] =>
  Json.isObject(value) && Object.entries(value).every(([id, member]) => {
    if (!Json.isObject(member)) return false
    const links = Json.get(member, "links")
    return isNode(id, Json.get(member, "node") ?? null) && Array.isArray(links) && links.every(isDetour)
  })

/** Aliases and bypassed nodes, which are not sent, as JSON; null without any. */
const besideOf = ({ aliases, bypassed }: Workflow.Workflow): string | null => {
  if (Object.keys(aliases).length === 0 && Object.keys(bypassed).length === 0) return null
  const plain = Object.entries(bypassed).map(([id, { links, node }]) =>
    [id, { node, links: links.map((detour) => ({ ...detour })) }] as const
  )
  return Json.stringify({ aliases, bypassed: Object.fromEntries(plain) })
}

/** What is written of an offer, checked; files that cannot be kept are refused. */
export const fromOffer = ({ fingerprint, head, payload }: Offer) => {
  const { affinity, cost, id, notBefore, placement, priority, tenant } = head
  if (!isJobId(id)) return Result.fail(invalid("id", "not 1 to 200 characters"))
  for (const [name, value] of Object.entries({ priority, cost })) {
    if (!Number.isFinite(value)) return Result.fail(invalid(name, `${value} is no number`))
  }
  if (Number.isNaN(notBefore)) return Result.fail(invalid("notBefore", "not a time"))
  for (const [nodeId, node] of Object.entries(payload.workflow.nodes)) {
    const reason = Workflow.nodeProblem(nodeId, node)
    if (reason !== undefined) return Result.fail(invalid("workflow", new WorkflowError({ reason }).message))
  }
  const files: Array<readonly [described: string, body: Uint8Array]> = []
  for (const { content, ...described } of payload.attachments) {
    if (!(content instanceof Uint8Array)) {
      const problem = `${described.filename} is a stream, which can be read once and not be kept: give its bytes`
      return Result.fail(invalid("attachments", problem))
    }
    files.push([JSON.stringify(described), content])
  }
  return Result.succeed({
    job: [
      toStored(id),
      priority,
      toStored(tenant),
      toStored(affinity),
      toStored(placement),
      Math.round(cost),
      notBefore,
      toStored(fingerprint),
      Json.stringify(payload.options),
      files.length
    ],
    payload: [Workflow.toJson(payload.workflow), besideOf(payload.workflow)],
    files
  })
}

const toWorkflow = (nodes: string, beside: string | null): Result.Result<Workflow.Workflow, PoolError> => {
  const document = parseWritten(nodes)
  if (Result.isFailure(document) || !isNodes(document.success)) return Result.fail(broken("a workflow of another form"))
  if (beside === null) return Result.succeed({ nodes: document.success, aliases: {}, bypassed: {} })
  const more = parseWritten(beside)
  if (Result.isFailure(more) || !Json.isObject(more.success)) return Result.fail(broken("aliases of another form"))
  const aliases = Json.get(more.success, "aliases")
  const bypassed = Json.get(more.success, "bypassed")
  if (!isNames(aliases) || !isBypassed(bypassed)) return Result.fail(broken("aliases of another form"))
  return Result.succeed({ nodes: document.success, aliases, bypassed })
}

const toAttachment = ({ body, described }: typeof File.Type): Result.Result<Attachment, PoolError> =>
  Result.map(orBroken(readDescribed(described), "a file of another form"), (upload) => ({
    ...upload,
    content: body ?? new Uint8Array(0)
  }))

export const toPayload = Effect.fnUntraced(function*(
  row: Pick<typeof Payload.Type, "workflow" | "beside" | "options">,
  files: ReadonlyArray<typeof File.Type>
) {
  const attachments: Array<Attachment> = []
  for (const file of files) attachments.push(yield* Effect.fromResult(toAttachment(file)))
  const payload: JobPayload = {
    workflow: yield* Effect.fromResult(toWorkflow(row.workflow, row.beside)),
    options: yield* toJson(row.options, "options"),
    attachments
  }
  return payload
})

export const toClaim = Effect.fnUntraced(
  function*(row: typeof Claimed.Type, files: ReadonlyArray<typeof File.Type>) {
    const claim: Claim = {
      head: yield* toHead(row),
      token: row.token,
      attempt: row.attempt,
      payload: yield* toPayload(row, files),
      ledger: row.ledger === null ? null : yield* toJson(row.ledger, "a ledger"),
      cancelRequested: row.cancel_requested !== 0
    }
    return claim
  }
)
