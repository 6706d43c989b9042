/**
 * The configuration of a fleet: one schema for files, programs and the environment. It is plain JSON. Times are texts with
 * their unit, `"30 seconds"`, `"5 minutes"`, and `"Infinity"` for none; sizes are texts with theirs, `"24 GB"` (decimal) or
 * `"24 GiB"`. A bare number is neither. Every key may be left out but `servers`, and that one where `discovery` is there.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { nameOf } from "@effect-comfyui/pool/Discovery"
import * as Arr from "effect/Array"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { ConfigError, type Reason } from "./ConfigError.ts"
import { reasons } from "./internal/configIssues.ts"
import {
  count,
  date,
  few,
  finite,
  oneOf,
  positive,
  secret,
  secrets,
  share,
  size,
  text,
  texts,
  time,
  truth,
  url
} from "./internal/configValues.ts"

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
  nameOf(id === undefined ? { url } : { url, id })

const Servers = Schema.Array(Server).check(Schema.makeFilter((servers: ReadonlyArray<Server>) => {
  const names = servers.map(idOf)
  return names.flatMap((name, i) =>
    names.indexOf(name) === i
      ? []
      : [{ path: [i, servers[i]?.id === undefined ? "url" : "id"], issue: "another server has this name" }]
  )
})).annotate({ example: "[{\"url\": \"http://gpu-1:8188\"}]", expected: "a list of servers", hidden: true })

const Discovery = Schema.Struct({
  /**
   * A JSON file, a list of servers as `Found` of the pool's `Discovery` has them: `url`, and if need be `id`, `tags`,
   * `weight`, `vramBytes`, `host`, `availableUntil` (epoch milliseconds), `costPerHour`. Read again when it changes.
   */
  file: Schema.optionalKey(text("a path", "./servers.json")),
  /** The hosts of a service in the DNS, those of the best priority. */
  dns: Schema.optionalKey(Schema.Struct({
    /** Whose SRV records name them. */
    service: text("the name of a service", "_comfyui._tcp.example.org"),
    /** How its hosts are spoken to. Default `http`. */
    scheme: Schema.optionalKey(oneOf(["http", "https"])),
    /** Who is asked. Default: whom the machine asks. */
    nameservers: Schema.optionalKey(texts("an address, with its port if need be", "10.0.0.2:53"))
  })),
  /** How often both are asked, whatever happens. Default 30 seconds. */
  every: Schema.optionalKey(finite)
}).check(
  Schema.makeFilter(({ dns, file }) =>
    dns === undefined && file === undefined ? "has neither file nor dns, one of which it needs" : undefined
  )
)

/** Where servers are found, decoded. */
export type Discovery = typeof Discovery.Type

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
  }))),
  /** The folder in which it is kept how long things take, so that the next process knows it too. See `ComfyNode`. */
  estimates: Schema.optionalKey(text("a path", "./estimates"))
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

/** When servers, and workflows on a server, are avoided for a while, and for how long. */
const Breakers = Schema.Struct({
  /** Failures of a workflow that keep it from a server, without a success between them. Default 3. */
  keyFailures: Schema.optionalKey(few(3, 8)),
  /** Of at least so many different contents. Default 2. */
  keyContents: Schema.optionalKey(few(2, 8)),
  /** All within this. Default 10 minutes. */
  keyWindow: Schema.optionalKey(time),
  /** Runs in a row that close a server by failing fast. Default 5. */
  fastFailures: Schema.optionalKey(few(5, 8)),
  /** So soon after its start a failure is a fast one. Default 2 seconds. */
  fastWithin: Schema.optionalKey(finite),
  /** For how long at first, doubled each time. Default 5 minutes. */
  open: Schema.optionalKey(finite),
  /** The longest. Default 1 hour. */
  maxOpen: Schema.optionalKey(finite),
  /** Of the servers, that failures alone may take out. Default 0.5. */
  ejectShare: Schema.optionalKey(share(0.5))
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

const Collect = Schema.Struct({
  /**
   * Where the files of jobs are brought; made where it is missing. A job succeeds when all that its outputs name are there,
   * and its results say where: see `DirectorySinkNode` of the pool. Default: they stay on their servers.
   */
  directory: text("a path", "./out")
})

/** Where files are brought, decoded. */
export type Collect = typeof Collect.Type

const Profiling = Schema.Struct({
  /** Whether the time of every job is accounted for, in `profiles` of the pool. Default true; without `profiling` it is not. */
  jobs: Schema.optionalKey(truth(true)),
  /** How often it is logged what the runs of each server took, of the jobs that have ended since. Default: never. */
  every: Schema.optionalKey(finite)
}).check(
  Schema.makeFilter(({ every, jobs }) =>
    every !== undefined && jobs === false
      ? { path: ["jobs"], issue: "false leaves nothing for every to tell" }
      : undefined
  )
)

const Logging = Schema.Struct({
  /** The least that is logged. Default `Info`. */
  level: Schema.optionalKey(oneOf(["All", "Trace", "Debug", "Info", "Warn", "Error", "Fatal", "None"])),
  /** Default: for people. */
  format: Schema.optionalKey(oneOf(["pretty", "json", "logfmt"]))
})

const nobody = "has neither servers nor discovery, one of which it needs"

/** The schema; what {@link decode} reads. */
export const Fleet = Schema.Struct({
  servers: Schema.optionalKey(Servers),
  discovery: Schema.optionalKey(Discovery),
  routing: Schema.optionalKey(Routing),
  failover: Schema.optionalKey(Failover),
  breakers: Schema.optionalKey(Breakers),
  timeouts: Schema.optionalKey(Timeouts),
  queue: Schema.optionalKey(Queue),
  collect: Schema.optionalKey(Collect),
  profiling: Schema.optionalKey(Profiling),
  logging: Schema.optionalKey(Logging)
}).check(
  Schema.makeFilter(({ discovery, servers }) => discovery === undefined && servers === undefined ? nobody : undefined)
)

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
const nothing: ReadonlyArray<Reason> = [{ _tag: "WrongValue", path: "", problem: nobody, example: null }]

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
