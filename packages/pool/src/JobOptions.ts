/** What one job may ask for, checked once: everything behind it takes the checked form. */
import type { Attachment } from "@effect-comfyui/execution/Files"
import { BackendId, type JobId } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Sink } from "./Sink.ts"

/** What a server must have to get the job. */
export interface Requires {
  /** All of these tags. */
  readonly tags?: ReadonlyArray<string>
  /** At least so much VRAM in all, bytes. */
  readonly vramBytes?: number
  /** Node classes beyond those of the workflow. */
  readonly classes?: ReadonlyArray<string>
  /** Model files beyond those that the workflow names. */
  readonly models?: ReadonlyArray<string>
}

/** The job's own limits, each in the place of the pool's. `Duration.infinity` switches one off. */
export interface Timeouts {
  /** From submit until an attempt is placed. Default: none. */
  readonly queue?: Duration.Input
  /** From acceptance until the first node, while nothing is ahead on that server. Default 60 s. */
  readonly start?: Duration.Input
  /** Without a sign of a node. Default: see `Defaults`. */
  readonly nodeIdle?: Duration.Input
  /** Of one run, files included: it ends the job, for another server would need as long. Default: none. */
  readonly total?: Duration.Input
}

/** How a job is to be run. Everything has a default. */
export interface JobOptions<Metadata extends Json.Json = Json.Json> {
  /** The caller's name for it. Default: a fresh UUID. */
  readonly id?: JobId
  /** Higher goes first; any finite number. Default 0. */
  readonly priority?: number
  /** Who pays: tenants share the servers fairly. Default `""`. */
  readonly tenant?: string
  /** Ends the job this long after submit, wherever it is then. Default: none. */
  readonly deadline?: Duration.Input
  /** Taken where nothing speaks against them. */
  readonly prefer?: ReadonlyArray<BackendId>
  /** Never taken. */
  readonly exclude?: ReadonlyArray<BackendId>
  readonly requires?: Requires
  /** How long it runs with its models loaded, as far as the caller knows; counts until the pool has seen its like. */
  readonly estimate?: Duration.Input
  /** The same key with the same content is the same job; with another content a typed conflict. */
  readonly idempotencyKey?: string
  readonly timeouts?: Timeouts
  /** The caller's own, given back with the job; JSON. */
  readonly metadata?: Metadata
  /**
   * A POST without an answer: `verify` (default) asks until it is known and then fails over or goes to the dead letters;
   * `retry` runs it again, perhaps twice in all; `fail` ends the job at once.
   */
  readonly onAmbiguity?: "verify" | "retry" | "fail"
  /** Brought to the server that was chosen, again when the job moves. */
  readonly attachments?: ReadonlyArray<Attachment>
  /**
   * At most one execution ever. Default: whether a class of the workflow calls a paid partner, or a partner's key is sent
   * along to the server.
   */
  readonly paid?: boolean
  /** Run what is left where the server refuses some outputs. Default false. */
  readonly acceptPartial?: boolean
  /**
   * `reference`: its files stay on the server, and the outputs name them. A sink, one of the pool's: the job succeeds when
   * every file that its outputs name is there. Default: the pool's own `collect`.
   */
  readonly collect?: "reference" | Sink
}

const Ms = Schema.NullOr(Schema.Finite)

/** Limits in milliseconds; null where the pool's own counts, {@link unlimitedMs} for none. */
const Limits = Schema.Struct({
  queueMs: Ms,
  startMs: Ms,
  nodeIdleMs: Ms,
  totalMs: Ms,
  deadlineMs: Ms,
  estimateMs: Ms
})
export type Limits = typeof Limits.Type

/** A limit that never comes, as JSON can say it. */
export const unlimitedMs = Number.MAX_VALUE

const Texts = Schema.Array(Schema.String)
const Servers = Schema.Array(BackendId)

const Plain = Schema.Struct({
  priority: Schema.Finite,
  tenant: Schema.String,
  prefer: Servers,
  exclude: Servers,
  requires: Schema.Struct({ tags: Texts, vramBytes: Schema.Finite, classes: Texts, models: Texts }),
  limits: Limits,
  onAmbiguity: Schema.Literals(["verify", "retry", "fail"]),
  paid: Schema.NullOr(Schema.Boolean),
  acceptPartial: Schema.Boolean,
  /** The name of a sink; null: files stay where they are. */
  collect: Schema.NullOr(Schema.String),
  /** See `MemoryNeeds.sizeClassOf`. */
  sizeClass: Schema.Int
})

/** Options that were checked, with their defaults. Plain JSON: the queue keeps them with the job. */
export type Checked = typeof Plain.Type & { readonly metadata: Json.Json }

const isPlain = Schema.is(Plain)

/** Options as a queue kept them; undefined for what no pool wrote. */
export const fromJson = (kept: Json.Json): Checked | undefined => {
  const plain: unknown = kept
  return isPlain(plain) && Json.isObject(kept) ? { ...plain, metadata: Json.get(kept, "metadata") ?? null } : undefined
}

const none: ReadonlyArray<never> = []

/** What most jobs ask for and are limited by: the same objects, a hundred thousand times. */
const noRequires: Checked["requires"] = { tags: none, vramBytes: 0, classes: none, models: none }
const noLimits: Limits = {
  queueMs: null,
  startMs: null,
  nodeIdleMs: null,
  totalMs: null,
  deadlineMs: null,
  estimateMs: null
}

/** The sinks of a pool by name, and the one that its jobs use by default. */
export interface Sinks {
  readonly byName: ReadonlyMap<string, Sink>
  readonly collect: string | null
}

const noSinks: Sinks = { byName: new Map(), collect: null }

const nameOf = (collect: "reference" | Sink): string | null => collect === "reference" ? null : collect.name

/** Of two sinks of one name the later one counts. */
export const sinksOf = (collect: "reference" | Sink = "reference", others: ReadonlyArray<Sink> = []): Sinks => ({
  byName: new Map([...others, ...collect === "reference" ? [] : [collect]].map((sink) => [sink.name, sink])),
  collect: nameOf(collect)
})

const maxText = 512
const maxList = 10_000

/** What one job asks for, in its parts: what names it, how it is run, and its files, which the queue keeps for it. */
export interface Asked {
  readonly id: JobId | undefined
  readonly idempotencyKey: string | undefined
  readonly options: Checked
  readonly attachments: ReadonlyArray<Attachment>
}

/**
 * Checks options; every problem is told, not only the first. `sinks`: those of the pool, of which one is the default.
 * `sizeClass`: of the workflow.
 */
export const check = (options: JobOptions, sinks: Sinks = noSinks, sizeClass = 0): Result.Result<Asked, PoolError> => {
  const problems: Array<string> = []
  const wrong = (condition: boolean, problem: string): void => {
    if (condition) problems.push(problem)
  }
  const text = (name: string, value: string | undefined): void => {
    wrong(value !== undefined && value.length > maxText, `${name}: longer than ${maxText} characters`)
  }
  const list = (name: string, value: ReadonlyArray<unknown> | undefined): void => {
    wrong(value !== undefined && value.length > maxList, `${name}: more than ${maxList} entries`)
  }
  const ms = (name: string, value: Duration.Input | undefined): number | null => {
    if (value === undefined) return null
    const duration = Duration.fromInput(value)
    const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
    wrong(!(millis > 0), `${name}: ${String(value)} is no time to wait`)
    return Math.min(millis, unlimitedMs)
  }
  const { deadline, id, idempotencyKey, priority = 0, requires = {}, tenant = "", timeouts = {} } = options
  wrong(!Number.isFinite(priority), `priority: ${priority} is no number`)
  wrong(id !== undefined && (id.length === 0 || id.length > 200), "id: not 1 to 200 characters")
  text("tenant", tenant)
  text("idempotencyKey", idempotencyKey)
  wrong(idempotencyKey === "", "idempotencyKey: empty")
  wrong(requires.vramBytes !== undefined && !(requires.vramBytes >= 0), `requires.vramBytes: ${requires.vramBytes}`)
  list("prefer", options.prefer)
  list("exclude", options.exclude)
  list("requires.tags", requires.tags)
  list("requires.classes", requires.classes)
  list("requires.models", requires.models)
  list("attachments", options.attachments)
  const collect = options.collect === undefined ? sinks.collect : nameOf(options.collect)
  wrong(collect !== null && !sinks.byName.has(collect), `collect: the pool has no sink ${JSON.stringify(collect)}`)
  const isLimited = options.timeouts !== undefined || deadline !== undefined || options.estimate !== undefined
  const limits: Limits = !isLimited ? noLimits : {
    queueMs: ms("timeouts.queue", timeouts.queue),
    startMs: ms("timeouts.start", timeouts.start),
    nodeIdleMs: ms("timeouts.nodeIdle", timeouts.nodeIdle),
    totalMs: ms("timeouts.total", timeouts.total),
    deadlineMs: ms("deadline", deadline),
    estimateMs: ms("estimate", options.estimate)
  }
  if (problems.length > 0) {
    return Result.fail(
      new PoolError({ reason: { _tag: "InvalidOptions", option: "options", problem: problems.join("; ") } })
    )
  }
  const checked: Checked = {
    priority,
    tenant,
    prefer: options.prefer ?? none,
    exclude: options.exclude ?? none,
    requires: options.requires === undefined ? noRequires : {
      tags: requires.tags ?? none,
      vramBytes: requires.vramBytes ?? 0,
      classes: requires.classes ?? none,
      models: requires.models ?? none
    },
    limits,
    metadata: options.metadata ?? null,
    onAmbiguity: options.onAmbiguity ?? "verify",
    paid: options.paid ?? null,
    acceptPartial: options.acceptPartial ?? false,
    collect,
    sizeClass
  }
  return Result.succeed({ id, idempotencyKey, options: checked, attachments: options.attachments ?? none })
}
