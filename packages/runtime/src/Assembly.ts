/** What a configuration means to the parts below it: pure, one function per part. */
import type * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as Credentials from "@effect-comfyui/client/Credentials"
import { BackendId } from "@effect-comfyui/execution/Ids"
import type * as Failover from "@effect-comfyui/pool/Failover"
import type { JobOptions } from "@effect-comfyui/pool/JobOptions"
import type { Options } from "@effect-comfyui/pool/PoolOptions"
import type { ServerSpec } from "@effect-comfyui/pool/Servers"
import * as Duration from "effect/Duration"
import { idOf, type Server, type Settings } from "./ComfyConfig.ts"

/** The object without the members that nobody said. */
const said = <A extends object>(members: A): { readonly [Key in keyof A]?: Exclude<A[Key], undefined> } => {
  const out: { [Key in keyof A]?: Exclude<A[Key], undefined> } = {}
  for (const key in members) {
    const value = members[key]
    if (isSaid(value)) out[key] = value
  }
  return out
}

const isSaid = <A>(value: A): value is Exclude<A, undefined> => value !== undefined

const millis = (duration: Duration.Duration | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

const credentialsOf = ({ bearer, cookies, headers, password, query, username }: NonNullable<Server["credentials"]>) =>
  Credentials.all(
    ...bearer === undefined ? [] : [Credentials.bearer(bearer)],
    ...username === undefined || password === undefined ? [] : [Credentials.basic(username, password)],
    ...Object.entries(headers ?? {}).map(([name, value]) => Credentials.header(name, value)),
    ...Object.entries(query ?? {}).map(([name, value]) => Credentials.query(name, value)),
    ...Object.entries(cookies ?? {}).map(([name, value]) => Credentials.cookie(name, value))
  )

/** The client of one server. */
export const clientOf = (server: Server, { timeouts = {} }: Settings): ComfyClient.Options => ({
  id: idOf(server),
  url: server.url,
  ...said({
    credentials: server.credentials === undefined ? undefined : credentialsOf(server.credentials),
    comfyOrgApiKey: server.comfyOrgApiKey,
    socket: server.socket,
    openTimeout: timeouts.connect,
    promptTimeout: timeouts.prompt,
    headersTimeout: timeouts.headers
  })
})

/** A server as a member of the pool, but for the way to it. */
export const memberOf = (server: Server): Omit<ServerSpec, "make" | "control"> => ({
  id: idOf(server),
  address: server.url,
  ...said({
    tags: server.tags,
    weight: server.weight,
    vramBytes: server.vram === undefined ? undefined : Number(server.vram),
    host: server.host,
    availableUntil: server.availableUntil === undefined ? undefined : Date.parse(server.availableUntil),
    costPerHour: server.costPerHour
  })
})

const failoverOf = ({ delay, maxDelay, ...counts }: NonNullable<Settings["failover"]>): Partial<Failover.Policy> => ({
  ...counts,
  ...said({ delay: millis(delay), delayCap: millis(maxDelay) })
})

const laneOf = ({ servers, tags, under }: NonNullable<NonNullable<Settings["routing"]>["lanes"]>[number]) => ({
  under,
  ...said({ tags, servers: servers?.map((name) => BackendId.make(name)) })
})

/** The pool, but for its servers. */
export const poolOf = (
  { failover, queue = {}, routing = {}, timeouts = {} }: Settings
): Omit<Options, "servers" | "discovery"> =>
  said({
    failover: failover === undefined ? undefined : failoverOf(failover),
    maxQueued: queue.maxQueued,
    maxQueuedPerTenant: queue.maxQueuedPerTenant,
    maxRunningPerTenant: queue.maxRunningPerTenant,
    tenantWeights: queue.tenantWeights,
    onClose: queue.onClose,
    lanes: routing.lanes?.map(laneOf),
    prefetch: routing.prefetch === "off" ? "off" as const : undefined,
    sharing: routing.sharing,
    probe: timeouts.probe
  })

/** What jobs are limited by that do not say so themselves. */
export const limitsOf = ({ timeouts = {} }: Settings): Pick<JobOptions, "timeouts" | "deadline"> => ({
  timeouts: said({
    queue: timeouts.queue,
    start: timeouts.start,
    nodeIdle: timeouts.nodeIdle,
    total: timeouts.total
  }),
  ...said({ deadline: timeouts.deadline })
})
