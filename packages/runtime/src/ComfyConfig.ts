/**
 * The configuration of a fleet: one schema for files, programs and the environment. It is plain JSON. Times are texts with
 * their unit, `"30 seconds"`, `"5 minutes"`, and `"Infinity"` for none; sizes are texts with theirs, `"24 GB"` (decimal) or
 * `"24 GiB"`. A bare number is neither. Every key but `servers` may be left out.
 */
import * as BaseUrl from "@effect-comfyui/client/BaseUrl"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import * as Discovery from "@effect-comfyui/pool/Discovery"
import * as Arr from "effect/Array"
import type * as ByteSize from "effect/ByteSize"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import { ConfigError, type Reason } from "./ConfigError.ts"
import { reasons } from "./internal/configIssues.ts"

// ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const time = Schema.DurationFromString.check(
  Schema.makeFilter((duration: Duration.Duration) => Duration.toMillis(duration) > 0)
).annotate({ expected: "a time with its unit", example: "\"30 seconds\"" })

const size = Schema.ByteSizeFromString.check(
  Schema.makeFilter((bytes: ByteSize.ByteSize) => bytes > 0n)
).annotate({ expected: "a size with its unit", example: "\"24 GB\"" })

const text = (expected: string, example: string) =>
  Schema.NonEmptyString.annotate({ expected, example: JSON.stringify(example) })

const texts = (expected: string, example: string) => Schema.Array(text(expected, example))

const count = (example: number) =>
  Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
    .annotate({ expected: "a whole number from 0", example: `${example}` })

const positive = (example: number) =>
  Schema.Finite.check(Schema.isGreaterThan(0)).annotate({ expected: "a number above 0", example: `${example}` })

const oneOf = <const Words extends ReadonlyArray<string>>(words: Words) =>
  Schema.Literals(words).annotate({
    expected: `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
    example: JSON.stringify(words[0])
  })

const url = Schema.String.check(Schema.makeFilter((address: string) => {
  const parsed = BaseUrl.parse(address)
  return Result.isSuccess(parsed) ? undefined : parsed.failure.message
})).annotate({ expected: "an address", example: "\"http://gpu-1:8188\"", hidden: true })

const named = Schema.Struct({ env: Schema.NonEmptyString })

const isNamed = Schema.is(named)

/** From the variable of that name, of whatever `ConfigProvider` is there: the environment, if nobody says another. */
const variable = (name: string): Effect.Effect<Redacted.Redacted<string>, SchemaIssue.Issue> =>
  Effect.mapError(
    Config.Redacted(name),
    () => new SchemaIssue.InvalidValue({ message: `the variable ${name} is not set` })
  )

/** A secret is `Redacted` from here on. Files name a variable of the environment, and so hold none. */
const secret = Schema.Union([Schema.NonEmptyString, named, Schema.Redacted(Schema.String)]).pipe(
  Schema.decodeTo(Schema.Redacted(Schema.String), {
    decode: SchemaGetter.transformEffect((given) =>
      isNamed(given)
        ? variable(given.env)
        : Effect.succeed(Redacted.isRedacted(given) ? given : Redacted.make(given))
    ),
    encode: SchemaGetter.passthroughSupertype()
  })
).annotate({ expected: "a secret", example: "{\"env\": \"COMFY_TOKEN\"}", hidden: true })

const secrets = Schema.Record(Schema.String, secret)

/** Without a zone it would be another moment on each machine. */
const isDate = (moment: string): boolean => /T.*(Z|[+-]\d\d:\d\d)$/.test(moment) && Number.isFinite(Date.parse(moment))

const date = Schema.String.check(Schema.makeFilter(isDate))
  .annotate({ expected: "a date with its time and zone", example: "\"2027-01-31T18:00:00Z\"" })

// ── Parts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What opens the door of a server behind a proxy. All of them are sent, to this server and nowhere else. */
const Credentials = Schema.Struct({
  bearer: Schema.optionalKey(secret),
  /** With `password`: HTTP basic authentication. */
  username: Schema.optionalKey(text("a name", "studio")),
  password: Schema.optionalKey(secret),
  headers: Schema.optionalKey(secrets),
  query: Schema.optionalKey(secrets),
  cookies: Schema.optionalKey(secrets)
}).check(Schema.makeFilter(({ password, username }) => {
  if ((username === undefined) === (password === undefined)) return undefined
  return { path: [username === undefined ? "username" : "password"], issue: new SchemaIssue.MissingKey(undefined) }
}))

const Server = Schema.Struct({
  url,
  /** Its name in events. Default: host and port of its address. */
  id: Schema.optionalKey(text("a name", "gpu-1")),
  /** What jobs may require. */
  tags: Schema.optionalKey(texts("a tag", "fast")),
  /** How much it is given beside others. Default 1. */
  weight: Schema.optionalKey(positive(2)),
  /** Of its card. Default: what it says. */
  vram: Schema.optionalKey(size),
  /** The machine or site that it stands and falls with. Default: the host of its address. */
  host: Schema.optionalKey(text("a name", "rack-1")),
  /** Until when it is rented. Default: for good. */
  availableUntil: Schema.optionalKey(date),
  costPerHour: Schema.optionalKey(positive(0.4)),
  credentials: Schema.optionalKey(Credentials),
  /** Sent along with each prompt: every run there may cost money, and happens at most once. */
  comfyOrgApiKey: Schema.optionalKey(secret),
  /** Whether to listen on a socket, see the client. Default `auto`. */
  socket: Schema.optionalKey(oneOf(["auto", "required", "none"]))
})

/** One server of a configuration, decoded. */
export type Server = typeof Server.Type

/** The name of a server: its own, or host and port of its address. */
export const idOf = ({ id, url }: Pick<Server, "id" | "url">): BackendId =>
  Discovery.nameOf(id === undefined ? { url } : { url, id })

const Servers = Schema.Array(Server).check(Schema.makeFilter((servers: ReadonlyArray<Server>) => {
  const names = servers.map(idOf)
  return names.flatMap((name, i) =>
    names.indexOf(name) === i
      ? []
      : [{ path: [i, servers[i]?.id === undefined ? "url" : "id"], issue: "another server has this name" }]
  )
})).annotate({ example: "[{\"url\": \"http://gpu-1:8188\"}]", expected: "a list of servers", hidden: true })

const Routing = Schema.Struct({
  /** Which server gets the next job. Default `cost-aware`. */
  policy: Schema.optionalKey(oneOf(["cost-aware", "least-loaded", "round-robin", "hash"])),
  /** `polite` (default): nothing is placed where others have prompts. */
  sharing: Schema.optionalKey(oneOf(["polite", "greedy"])),
  /** `auto` (default): the next prompt may go ahead to a server that is about to be free. */
  prefetch: Schema.optionalKey(oneOf(["auto", "off"])),
  /** Servers kept for jobs that are expected to be shorter. */
  lanes: Schema.optionalKey(Schema.Array(Schema.Struct({
    under: time,
    servers: Schema.optionalKey(texts("a server's name", "gpu-1")),
    tags: Schema.optionalKey(texts("a tag", "fast"))
  })))
})

const Failover = Schema.Struct({
  /** Executions in all while servers die under a job. */
  serverDeaths: Schema.optionalKey(count(2)),
  /** Further attempts after one that ended so. */
  outOfMemory: Schema.optionalKey(count(1)),
  foreignInterrupts: Schema.optionalKey(count(1)),
  serverFaults: Schema.optionalKey(count(2)),
  nodeFailures: Schema.optionalKey(count(0)),
  /** What becomes of a job of which nobody knows whether the server took it. Default `verify`. */
  onAmbiguity: Schema.optionalKey(oneOf(["verify", "retry", "fail"])),
  /** Before the next attempt, doubled each time up to `maxDelay`. */
  delay: Schema.optionalKey(time),
  maxDelay: Schema.optionalKey(time)
})

const Timeouts = Schema.Struct({
  /** Of jobs that say nothing themselves: see `Timeouts` and `deadline` of the pool's `JobOptions`. */
  queue: Schema.optionalKey(time),
  start: Schema.optionalKey(time),
  nodeIdle: Schema.optionalKey(time),
  total: Schema.optionalKey(time),
  deadline: Schema.optionalKey(time),
  /** Until a socket is open. */
  connect: Schema.optionalKey(time),
  /** Until the headers of the answer to a prompt, and to anything else. */
  prompt: Schema.optionalKey(time),
  headers: Schema.optionalKey(time),
  /** Between two probes of a server that says nothing. */
  probe: Schema.optionalKey(time)
})

const Queue = Schema.Struct({
  /** `durable` (default): a file that outlives the process. `memory`: nothing does. */
  kind: Schema.optionalKey(oneOf(["durable", "memory"])),
  /** The file of a durable queue. Default: `effect-comfyui/queue.db` in the user's folder for state. */
  path: Schema.optionalKey(text("a path", "./queue.db")),
  /** Waiting jobs at which `submit` says `QueueFull`, in all and of one tenant. */
  maxQueued: Schema.optionalKey(count(1_000)),
  maxQueuedPerTenant: Schema.optionalKey(count(100)),
  /** Jobs of one tenant that run at once. */
  maxRunningPerTenant: Schema.optionalKey(count(4)),
  /** Shares of tenants beside the others, 1 each by default. */
  tenantWeights: Schema.optionalKey(Schema.Record(Schema.String, positive(2))),
  /** Ended jobs that are remembered, and for how long. */
  history: Schema.optionalKey(count(10_000)),
  historyAge: Schema.optionalKey(time),
  /** What happens to running prompts at the end. Default: with a durable queue `leave`, else `cancel`. */
  onClose: Schema.optionalKey(oneOf(["leave", "cancel"]))
})

const Profiling = Schema.Struct({
  /** How often it is logged what the jobs of each server took. */
  every: time
})

const Logging = Schema.Struct({
  /** The least that is logged. Default `Info`. */
  level: Schema.optionalKey(oneOf(["All", "Trace", "Debug", "Info", "Warn", "Error", "Fatal", "None"])),
  /** Default: for people. */
  format: Schema.optionalKey(oneOf(["pretty", "json", "logfmt"]))
})

/** The schema; what {@link decode} reads. */
export const Fleet = Schema.Struct({
  servers: Servers,
  routing: Schema.optionalKey(Routing),
  failover: Schema.optionalKey(Failover),
  timeouts: Schema.optionalKey(Timeouts),
  queue: Schema.optionalKey(Queue),
  profiling: Schema.optionalKey(Profiling),
  logging: Schema.optionalKey(Logging)
})

/** As people write it. */
export type Input = typeof Fleet.Encoded

/** Checked and typed: times are `Duration`, sizes `ByteSize`, secrets `Redacted`. */
export type Settings = typeof Fleet.Type

// ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const failed = (found: ReadonlyArray<Reason>): ConfigError =>
  new ConfigError({
    reasons: Arr.isReadonlyArrayNonEmpty(found)
      ? found
      : [{ _tag: "WrongValue", path: "", problem: "is no configuration", example: null }]
  })

const strictly = Schema.decodeUnknownEffect(Fleet, { errors: "all", onExcessProperty: "error" })

/** Checks what somebody wrote; fails with every problem at once. `{"env": "NAME"}` is read from the `ConfigProvider`. */
export const decode = (input: unknown): Effect.Effect<Settings, ConfigError> =>
  Effect.mapError(strictly(input), ({ issue }) => failed(reasons(issue, Fleet.ast, input)))

/** Nobody said anything. */
const nothing: ReadonlyArray<Reason> = [{ _tag: "Missing", path: "servers", example: null }]

/** The name under which a `ConfigProvider` has it, and what variables of the environment begin with. */
const root = "comfy"

/**
 * From the `ConfigProvider` under `comfy`. In the environment that is `COMFY_SERVERS_0_URL`, `COMFY_SERVERS_0_TAGS_0`,
 * `COMFY_TIMEOUTS_NODE_IDLE`: keys in capitals, words and places divided by underscores. Keys of nobody are not looked for
 * there.
 */
export const fromProvider: Effect.Effect<Settings, ConfigError> = Effect.gen(function*() {
  const provider = yield* ConfigProvider.ConfigProvider
  const either = ConfigProvider.orElse(provider, ConfigProvider.constantCase(provider))
  return yield* Config.schema(Fleet, root).parse(either)
}).pipe(
  Effect.catch(({ cause }) => {
    if (!Schema.isSchemaError(cause)) {
      return Effect.fail(failed([{ _tag: "WrongValue", path: "", problem: cause.message, example: null }]))
    }
    const { issue } = cause
    const inner = issue._tag === "Pointer" && issue.path[0] === root ? issue.issue : issue
    if (inner._tag === "InvalidType") return Effect.fail(failed(nothing))
    return Effect.fail(failed(reasons(inner, Fleet.ast, undefined)))
  })
)

/** A configuration, or where it comes from. */
export type Source = Input | Effect.Effect<Settings, ConfigError>

/** The settings of either. */
export const read = (source: Source): Effect.Effect<Settings, ConfigError> =>
  Effect.isEffect(source) ? source : decode(source)

/** The same object, typed: for `comfy.config.ts`. */
export const define = (config: Input): Input => config
