/** What a configuration means to the parts below it: pure, one function per part. */
import type * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as Credentials from "@effect-comfyui/client/Credentials"
import { BackendId } from "@effect-comfyui/execution/Ids"
import type * as Breakers from "@effect-comfyui/pool/Breakers"
import { type Found, nameOf } from "@effect-comfyui/pool/Discovery"
import type * as Failover from "@effect-comfyui/pool/Failover"
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

/** The same of a server that was found. */
export const foundOf = ({ url, ...facts }: Found): Omit<ServerSpec, "make" | "control"> => ({
  ...facts,
  id: nameOf(facts.id === undefined ? { url } : { url, id: facts.id }),
  address: url
})

/** How ambiguity is met is said per job. */
const failoverOf = (failover: NonNullable<Settings["failover"]>): Partial<Failover.Policy> => {
  const { delay, foreignInterrupts, maxDelay, nodeFailures, outOfMemory, serverDeaths, serverFaults } = failover
  return said({
    serverDeaths,
    outOfMemory,
    foreignInterrupts,
    serverFaults,
    nodeFailures,
    delay: millis(delay),
    delayCap: millis(maxDelay)
  })
}

const breakersOf = (
  { fastWithin, keyWindow, maxOpen, open, ...counts }: NonNullable<Settings["breakers"]>
): Partial<Breakers.Options> => ({
  ...counts,
  ...said({
    keyWindow: millis(keyWindow),
    fastWithin: millis(fastWithin),
    open: millis(open),
    openCap: millis(maxOpen)
  })
})

/** What jobs are limited by, and how they are treated, that do not say so themselves. */
const defaultsOf = ({ failover = {}, timeouts = {} }: Settings): Options["defaults"] => {
  const { deadline, nodeIdle, queue, start, total } = timeouts
  const limits = said({ queue, start, nodeIdle, total })
  const defaults = said({
    timeouts: Object.keys(limits).length === 0 ? undefined : limits,
    deadline,
    onAmbiguity: failover.onAmbiguity
  })
  return Object.keys(defaults).length === 0 ? undefined : defaults
}

const laneOf = ({ servers, tags, under }: NonNullable<NonNullable<Settings["routing"]>["lanes"]>[number]) => ({
  under,
  ...said({ tags, servers: servers?.map((name) => BackendId.make(name)) })
})

/** The pool, but for its servers and for what only a platform can do. */
export const poolOf = (settings: Settings): Omit<Options, "servers" | "discovery" | "collect"> => {
  const { breakers, failover, profiling, queue = {}, routing = {}, timeouts = {} } = settings
  return said({
    defaults: defaultsOf(settings),
    failover: failover === undefined ? undefined : failoverOf(failover),
    breakers: breakers === undefined ? undefined : breakersOf(breakers),
    maxQueued: queue.maxQueued,
    maxQueuedPerTenant: queue.maxQueuedPerTenant,
    maxRunningPerTenant: queue.maxRunningPerTenant,
    tenantWeights: queue.tenantWeights,
    onClose: queue.onClose,
    lanes: routing.lanes?.map(laneOf),
    prefetch: routing.prefetch === "off" ? "off" as const : undefined,
    sharing: routing.sharing,
    probe: timeouts.probe,
    profiles: profiling === undefined || profiling.jobs === false ? undefined : true
  })
}
