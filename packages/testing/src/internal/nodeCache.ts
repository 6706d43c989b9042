// Results of nodes for later prompts, by the rule of `--cache-classic`, `--cache-none`, `--cache-lru N` or RAM pressure.
import { Weights } from "../Hardware.ts"
import type { NodeUi } from "./state.ts"

/** What a finished node left for later prompts. */
export interface CacheEntry {
  readonly outputs: ReadonlyArray<ReadonlyArray<unknown>>
  readonly ui: NodeUi | undefined
}

/** A node as a cache knows it: its signature, and its id with its class below those that it came from. */
export interface Place {
  readonly id: string
  readonly key: string
  readonly name: string
  readonly path: ReadonlyArray<string>
}

export interface NodeCache {
  readonly size: number
  /** A prompt with these nodes begins. */
  begin(nodes: ReadonlyArray<Place>): void
  /** These nodes came into the prompt by an expansion of `parent`. */
  expand(parent: Place, nodes: ReadonlyArray<Place>): void
  get(place: Place): CacheEntry | undefined
  set(place: Place, entry: CacheEntry): void
  /** A node has ended: what the prompt does not use goes, the oldest first, as long as memory is short. */
  relieve(isShort: () => boolean): void
  /** Ids of nodes of earlier expansions that it still knows. */
  expandedIds(): ReadonlyArray<string>
  entries(): Iterable<CacheEntry>
  clear(): void
}

/** Which of them a server has. `lru`: how many results of nodes it keeps at most, those of the last prompt always. */
export type CacheMode = "classic" | "none" | "ram" | { readonly lru: number }

class Level {
  readonly entries = new Map<string, CacheEntry>()
  readonly below = new Map<string, Level>()
  ids: ReadonlyArray<string> = []

  keep(places: ReadonlyArray<Place>): void {
    const keys = new Set<string>()
    const names = new Set<string>()
    for (const place of places) {
      keys.add(place.key)
      names.add(place.name)
    }
    for (const key of this.entries.keys()) if (!keys.has(key)) this.entries.delete(key)
    for (const name of this.below.keys()) if (!names.has(name)) this.below.delete(name)
    this.ids = places.map((place) => place.id)
  }

  *levels(): Generator<Level, void, void> {
    const walk: Array<Level> = [this]
    for (let level = walk.pop(); level !== undefined; level = walk.pop()) {
      yield level
      walk.push(...level.below.values())
    }
  }
}

/** Keeps what the last prompt names; below each expanding node, what its last expansion named. */
class Classic implements NodeCache {
  readonly #top = new Level()
  /** The level that was looked for last: deep loops look for the same one again and again. */
  #last: { readonly path: ReadonlyArray<string>; readonly level: Level | undefined } | undefined

  get size(): number {
    let size = 0
    for (const level of this.#top.levels()) size += level.entries.size
    return size
  }

  #find(path: ReadonlyArray<string>): Level | undefined {
    if (this.#last?.path === path) return this.#last.level
    let level: Level | undefined = this.#top
    for (const name of path) level = level?.below.get(name)
    this.#last = { path, level }
    return level
  }

  #make(path: ReadonlyArray<string>): Level {
    this.#last = undefined
    let level = this.#top
    for (const name of path) {
      let next = level.below.get(name)
      if (next === undefined) {
        next = new Level()
        level.below.set(name, next)
      }
      level = next
    }
    return level
  }

  begin(nodes: ReadonlyArray<Place>): void {
    this.#last = undefined
    this.#top.keep(nodes)
  }

  expand(parent: Place, nodes: ReadonlyArray<Place>): void {
    this.#make([...parent.path, parent.name]).keep(nodes)
  }

  get(place: Place): CacheEntry | undefined {
    return this.#find(place.path)?.entries.get(place.key)
  }

  set(place: Place, entry: CacheEntry): void {
    const level = this.#find(place.path) ?? this.#make(place.path)
    level.entries.set(place.key, entry)
  }

  relieve(): void {}

  expandedIds(): ReadonlyArray<string> {
    const ids: Array<string> = []
    for (const level of this.#top.levels()) if (level !== this.#top) ids.push(...level.ids)
    return ids
  }

  *entries(): Generator<CacheEntry, void, void> {
    for (const level of this.#top.levels()) yield* level.entries.values()
  }

  clear(): void {
    this.#last = undefined
    this.#top.keep([])
  }
}

/** Results by signature alone, each with the prompt that used it last: whole generations go, the oldest first. */
class Generations implements NodeCache {
  readonly #max: number
  readonly #underPressure: boolean
  readonly #entries = new Map<string, CacheEntry>()
  readonly #used = new Map<string, number>()
  #now = 0
  #oldest = 0

  constructor(max: number, underPressure: boolean) {
    this.#max = max
    this.#underPressure = underPressure
  }

  get size(): number {
    return this.#entries.size
  }

  #mark(nodes: ReadonlyArray<Place>): void {
    for (const { key } of nodes) this.#used.set(key, this.#now)
  }

  #drop(isOld: (generation: number) => boolean): void {
    for (const [key, generation] of this.#used) {
      if (!isOld(generation)) continue
      this.#entries.delete(key)
      this.#used.delete(key)
    }
  }

  begin(nodes: ReadonlyArray<Place>): void {
    this.#now++
    this.#mark(nodes)
    while (this.#entries.size > this.#max && this.#oldest < this.#now) {
      this.#oldest++
      this.#drop((generation) => generation < this.#oldest)
    }
    // Nodes that never ran leave no result, only a mark.
    if (this.#used.size > 2 * (this.#entries.size + nodes.length)) {
      for (const [key, generation] of this.#used) {
        if (generation < this.#now && !this.#entries.has(key)) this.#used.delete(key)
      }
    }
  }

  expand(parent: Place, nodes: ReadonlyArray<Place>): void {
    this.#mark([parent, ...nodes])
  }

  get(place: Place): CacheEntry | undefined {
    this.#used.set(place.key, this.#now)
    return this.#entries.get(place.key)
  }

  set(place: Place, entry: CacheEntry): void {
    this.#used.set(place.key, this.#now)
    this.#entries.set(place.key, entry)
  }

  relieve(isShort: () => boolean): void {
    while (this.#underPressure && isShort()) {
      let oldest = this.#now
      for (const key of this.#entries.keys()) oldest = Math.min(oldest, this.#used.get(key) ?? 0)
      if (oldest === this.#now) return
      this.#drop((generation) => generation === oldest)
    }
  }

  expandedIds(): ReadonlyArray<string> {
    return []
  }

  entries(): Iterable<CacheEntry> {
    return this.#entries.values()
  }

  clear(): void {
    this.#entries.clear()
    this.#used.clear()
  }
}

const none: NodeCache = {
  size: 0,
  begin: () => {},
  expand: () => {},
  get: () => undefined,
  set: () => {},
  relieve: () => {},
  expandedIds: () => [],
  entries: () => [],
  clear: () => {}
}

/** Results that a host with very much memory keeps at most. */
const maxEntries = 10_000

export const makeCache = (mode: CacheMode): NodeCache =>
  mode === "classic"
    ? new Classic()
    : mode === "none"
    ? none
    : mode === "ram"
    ? new Generations(maxEntries, true)
    : new Generations(Math.max(1, Math.trunc(mode.lru)), false)

/** The weights that some of these results hold. */
export const weightsOf = (entries: Iterable<CacheEntry>): ReadonlySet<Weights> => {
  const found = new Set<Weights>()
  for (const { outputs } of entries) {
    for (const values of outputs) {
      for (const value of values) {
        if (typeof value !== "object" || value === null || !("weights" in value)) continue
        if (value.weights instanceof Weights) found.add(value.weights)
      }
    }
  }
  return found
}
