interface Item<K, V> {
  readonly key: K
  readonly value: V
  readonly at: number
}

/**
 * The last so many values by key, none older than so long. Keys go in the order they came in, by a list beside the map:
 * to take the first key out of a map again and again is slow.
 */
export interface Recent<K, V> {
  readonly cap: number
  readonly ageMs: number
  /** What this says yes to goes for its number only, never for its age. */
  readonly lasts: (value: V) => boolean
  readonly dropped: (key: K) => void
  readonly items: Map<K, Item<K, V>>
  /** What has gone from the front leaves nothing behind: dead items would keep others alive. */
  order: Array<Item<K, V> | undefined>
  oldest: number
}

export const make = <K, V>(
  cap: number,
  ageMs: number,
  { dropped = () => undefined, lasts = () => false }: Partial<Pick<Recent<K, V>, "lasts" | "dropped">> = {}
): Recent<K, V> => ({ cap, ageMs, lasts, dropped, items: new Map(), order: [], oldest: 0 })

const compactAt = 1_000

const sweep = <K, V>(recent: Recent<K, V>, now: number): void => {
  const { ageMs, cap, items, lasts } = recent
  for (let next = recent.order[recent.oldest]; next !== undefined; next = recent.order[recent.oldest]) {
    // Else it was taken out since, or came in anew.
    if (items.get(next.key) === next) {
      if (items.size <= cap && (now - next.at < ageMs || lasts(next.value))) break
      items.delete(next.key)
      recent.dropped(next.key)
    }
    recent.order[recent.oldest++] = undefined
  }
  if (recent.oldest > compactAt && recent.oldest * 2 > recent.order.length) {
    recent.order = recent.order.slice(recent.oldest)
    recent.oldest = 0
  }
}

/** Takes a value in, and lets go what is too old, or the oldest beyond the cap. */
export const add = <K, V>(recent: Recent<K, V>, key: K, value: V, now: number): void => {
  const item = { key, value, at: now }
  recent.items.set(key, item)
  recent.order.push(item)
  sweep(recent, now)
}

export const get = <K, V>({ items }: Recent<K, V>, key: K): V | undefined => items.get(key)?.value

export const remove = <K, V>({ items }: Recent<K, V>, key: K): boolean => items.delete(key)

/** In the order they came in, but for those that came in anew. */
export const values = <K, V>({ items }: Recent<K, V>): ReadonlyArray<V> =>
  Array.from(items.values(), ({ value }) => value)
