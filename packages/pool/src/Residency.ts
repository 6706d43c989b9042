/**
 * What each server is thought to have warm, and how we know. No server tells what models it has loaded, nor how many
 * workflows stay cached (k): the one is the order of what ran there, the other is inferred from what was seen to be
 * cached. A fold without a clock; times are whatever the driver gives, for people.
 */
import type { Machine } from "@effect-comfyui/execution/Backend"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { namedBy } from "@effect-comfyui/workflow/ModelInputs"
import type { NodeId, Workflow } from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Defaults from "./Defaults.ts"

/** What was there: results of every node, the loaders, or something of which nothing is known. */
export type Level = "outputs" | "loader" | "unknown"

/** How it is known: our run found it cached, our run executed it there, or it is only to be expected. */
export type Evidence = "own-cached" | "own-executed" | "assumed"

/** One workflow's models on one server. */
export interface Signature {
  readonly key: AffinityKey
  readonly level: Level
  readonly evidence: Evidence
  readonly at: number
}

/** What a server process says that its caching depends on. */
export interface Facts {
  readonly version: string
  readonly machine: Machine
}

/** Warm or not, and what that rests on. `among`: k, the workflows thought to stay cached there at once. */
export interface Warmth {
  readonly warm: boolean
  readonly level: Level
  readonly evidence: Evidence
  readonly at: number
  /** Other workflows that ran there since. */
  readonly since: number
  readonly among: number
}

export type Input =
  /** A server process was seen for the first time, or anew: what the one before had is gone. */
  | { readonly _tag: "Started"; readonly server: BackendId }
  /** It told of itself: its flags bound k from now on, and are the first guess where no run has said more yet. */
  | { readonly _tag: "Described"; readonly server: BackendId; readonly facts: Facts }
  /**
   * A run of ours got going: `found` says what it had cached, undefined where the frames that say it were missed. Nothing
   * found (`null`) is a cold start.
   */
  | {
    readonly _tag: "Ran"
    readonly server: BackendId
    readonly key: AffinityKey
    readonly found: "outputs" | "loader" | null | undefined
    readonly at: number
  }
  /**
   * Somebody else's run. Of which workflow nobody says: a server tells how many prompts there are, and to find out which
   * one ran, its queue or history would have to be read, megabytes each time.
   */
  | { readonly _tag: "Foreign"; readonly server: BackendId; readonly at: number }
  /** `all`: results and models were dropped; `models`: weights were moved out of the card, results stay. */
  | { readonly _tag: "Freed"; readonly server: BackendId; readonly what: "all" | "models" }
  | { readonly _tag: "Removed"; readonly server: BackendId }

interface Entry {
  /** Null: somebody else's. */
  readonly key: AffinityKey | null
  level: Level
  evidence: Evidence
  at: number
}

interface Server {
  /** Most recent first; also what has fallen out by our count, since a hit can prove the count wrong. */
  entries: Array<Entry>
  k: number
  /** A run has proved something of k. */
  proven: boolean
  /** What its flags allow; exact for classic (1) and none (0). */
  ceiling: number
  floor: number
}

/** Owned and updated in place by its driver. Sixteen signatures per server; servers go with `Removed`. */
export interface State {
  readonly servers: Map<BackendId, Server>
  readonly residents: Map<AffinityKey, Set<BackendId>>
}

export const init = (): State => ({ servers: new Map(), residents: new Map() })

const { remembered, roomyFreeRamBytes, roomyRamBytes } = Defaults.residency

const minorVersion = (version: string): number => {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? []
  return major === undefined || minor === undefined ? 0 : Number(major) * 1000 + Number(minor)
}

/**
 * k before anything was observed: 1 unless flags, version or memory say otherwise. `--cache-lru N` counts results of
 * nodes, not workflows, so it is no k either; it only makes more than one likely.
 */
export const prior = (facts: Facts | null): Pick<Server, "k" | "ceiling" | "floor"> => {
  if (facts === null) return { k: 1, ceiling: remembered, floor: 1 }
  const { machine: { argv, ramFreeBytes, ramTotalBytes }, version } = facts
  const has = (flag: string) => argv.some((arg) => arg === flag || arg.startsWith(`${flag}=`))
  if (has("--cache-none")) return { k: 0, ceiling: 0, floor: 0 }
  if (has("--cache-classic")) return { k: 1, ceiling: 1, floor: 1 }
  if (has("--cache-lru")) return { k: 2, ceiling: remembered, floor: 1 }
  if (!has("--cache-ram") && minorVersion(version) <= 20) return { k: 1, ceiling: 1, floor: 1 }
  const roomy = (ramTotalBytes ?? 0) >= roomyRamBytes && (ramFreeBytes ?? 0) >= roomyFreeRamBytes
  return { k: roomy ? 2 : 1, ceiling: remembered, floor: 1 }
}

const serverOf = (state: State, id: BackendId): Server => {
  const known = state.servers.get(id)
  if (known !== undefined) return known
  const server: Server = { entries: [], proven: false, ...prior(null) }
  state.servers.set(id, server)
  return server
}

/** Runs that may stand in the cache now: the first k, of which those without a key tell nothing. */
const resident = (server: Server): ReadonlyArray<Entry> => server.entries.slice(0, server.k)

const unindex = (state: State, id: BackendId, server: Server): void => {
  for (const { key } of resident(server)) {
    const servers = key === null ? undefined : state.residents.get(key)
    servers?.delete(id)
    if (key !== null && servers?.size === 0) state.residents.delete(key)
  }
}

const index = (state: State, id: BackendId, server: Server): void => {
  for (const { key } of resident(server)) {
    if (key === null) continue
    const servers = state.residents.get(key)
    if (servers === undefined) state.residents.set(key, new Set([id]))
    else servers.add(id)
  }
}

/** What a run of ours proves of k. `place`: how many other workflows ran since. */
const infer = (server: Server, place: number, found: "outputs" | "loader" | null): void => {
  server.proven = true
  if (found !== null) server.k = Math.min(Math.max(server.k, place + 1), server.ceiling)
  else if (place < server.k) server.k = Math.max(Math.min(server.k, place), server.floor)
}

const onRan = (
  server: Server,
  { at, found, key }: Extract<Input, { readonly _tag: "Ran" }>
): void => {
  const place = server.entries.findIndex((entry) => entry.key === key)
  const known = server.entries[place]
  // After weights were moved out nothing is expected, so a miss is no surprise.
  if (known !== undefined && found !== undefined && !(found === null && known.level === "unknown")) {
    infer(server, place, found)
  }
  const entry: Entry = {
    key,
    level: "loader",
    evidence: found === undefined ? "assumed" : found === null ? "own-executed" : "own-cached",
    at
  }
  server.entries = [entry, ...server.entries.filter((other) => other !== known)].slice(0, remembered)
}

const onForeign = (server: Server, { at }: Extract<Input, { readonly _tag: "Foreign" }>): void => {
  const entry: Entry = { key: null, level: "unknown", evidence: "assumed", at }
  server.entries = [entry, ...server.entries].slice(0, remembered)
}

/** Takes what happened to a server. */
export const step = (state: State, input: Input): State => {
  const server = serverOf(state, input.server)
  unindex(state, input.server, server)
  switch (input._tag) {
    case "Started":
      Object.assign(server, { entries: [], proven: false }, prior(null))
      break
    case "Described": {
      const { ceiling, floor, k } = prior(input.facts)
      Object.assign(server, { ceiling, floor, k: server.proven ? Math.max(Math.min(server.k, ceiling), floor) : k })
      break
    }
    case "Ran":
      onRan(server, input)
      break
    case "Foreign":
      onForeign(server, input)
      break
    case "Freed":
      if (input.what === "all") server.entries = []
      for (const entry of server.entries) Object.assign(entry, { level: "unknown", evidence: "assumed" })
      break
    case "Removed":
      state.servers.delete(input.server)
      return state
  }
  index(state, input.server, server)
  return state
}

/** Whether a job of this key would find its models, and how that is known; undefined: it never ran there. */
export const warmth = (state: State, server: BackendId, key: AffinityKey): Warmth | undefined => {
  const known = state.servers.get(server)
  const place = known?.entries.findIndex((entry) => entry.key === key) ?? -1
  const entry = known?.entries[place]
  if (known === undefined || entry === undefined) return undefined
  const { at, evidence, level } = entry
  return { warm: place < known.k && level !== "unknown", level, evidence, at, since: place, among: known.k }
}

const nowhere: ReadonlySet<BackendId> = new Set()

/** The servers that hold this key by our count; weights that were moved out included. */
export const residentOn = (state: State, key: AffinityKey): ReadonlySet<BackendId> =>
  state.residents.get(key) ?? nowhere

/** The workflow that would lose its place if another key ran there now. */
export const victim = (state: State, server: BackendId): AffinityKey | null => {
  const known = state.servers.get(server)
  return known === undefined || known.k === 0 ? null : known.entries[known.k - 1]?.key ?? null
}

const nobody: Server = { entries: [], k: 0, proven: false, ceiling: 0, floor: 0 }

/** What a server is thought to have warm, most recent first. */
export const residents = (state: State, server: BackendId): ReadonlyArray<Signature> =>
  resident(state.servers.get(server) ?? nobody).flatMap(
    ({ at, evidence, key, level }) => key === null ? [] : [{ key, level, evidence, at }]
  )

/** What the cached nodes of a run of this workflow say: everything, its loaders, or nothing that matters (null). */
export const found = (workflow: Workflow, cached: ReadonlySet<NodeId>): "outputs" | "loader" | null | undefined => {
  const nodes = Object.entries(workflow.nodes)
  if (nodes.every(([id]) => cached.has(id))) return "outputs"
  const loaders = nodes.filter(([, { class_type, inputs }]) =>
    Object.entries(inputs).some(([name, value]) => [...namedBy(class_type, name, value)].length > 0)
  )
  // A workflow without a model has nothing to be warm for.
  if (loaders.length === 0) return undefined
  return loaders.every(([id]) => cached.has(id)) ? "loader" : null
}

/** k and signatures per server, for people. */
export const snapshot = (
  state: State
): ReadonlyArray<{ readonly server: BackendId; readonly k: number; readonly residents: ReadonlyArray<Signature> }> =>
  [...state.servers].map(([server, { k }]) => ({ server, k, residents: residents(state, server) }))
