// History and queue as HTTP shows them.
import { type Dict, dict, isDict, type Py } from "./py.ts"
import type { HistoryEntry, Item, State } from "./state.ts"

/** The five members of an entry as `/queue` and history show them. */
const itemTuple = (item: Item): Py => [item.number, item.id, item.prompt, item.extraData, item.outputs]

const secretKeys = ["auth_token_comfy_org", "api_key_comfy_org"]

/** Takes the keys of paid nodes out of `extra_data`; they are given to the run alone. */
export const hideSecrets = (extraData: Py): { readonly shown: Py; readonly secrets: Dict } => {
  const secrets: Dict = new Map()
  if (!isDict(extraData) || !secretKeys.some((key) => extraData.has(key))) return { shown: extraData, secrets }
  const shown: Dict = new Map(extraData)
  for (const key of secretKeys) {
    const value = shown.get(key)
    if (value === undefined) continue
    secrets.set(key, value)
    shown.delete(key)
  }
  return { shown, secrets }
}

export const queueAnswer = (state: State): Dict =>
  dict({
    queue_running: [...state.running.values()].map(itemTuple),
    queue_pending: state.heap.map(itemTuple)
  })

export const outputsDict = (entry: HistoryEntry): Dict => {
  const out: Dict = new Map()
  for (const [id, ui] of entry.outputs) out.set(id, ui.output)
  return out
}

const entryDict = (entry: HistoryEntry): Dict => {
  const meta: Dict = new Map()
  for (const [id, ui] of entry.outputs) meta.set(id, ui.meta)
  const { item } = entry
  const shown = hideSecrets(item.extraData).shown
  return dict({
    prompt: [item.number, item.id, item.prompt, shown, item.outputs],
    outputs: outputsDict(entry),
    status: entry.status,
    meta
  })
}

/** Part of the history: `offset` counts from the oldest; `max` alone gives the last ones. */
export const historyAnswer = (state: State, max: number | undefined, offset: number): Dict => {
  const entries = [...state.history]
  const start = offset < 0 && max !== undefined ? Math.max(0, entries.length - max) : Math.max(0, offset)
  const end = max === undefined ? entries.length : Math.min(entries.length, start + Math.max(0, max))
  const out: Dict = new Map()
  for (const [id, entry] of entries.slice(start, end)) out.set(id, entryDict(entry))
  return out
}

export const historyOf = (state: State, id: string): Dict => {
  const entry = state.history.get(id)
  return entry === undefined ? new Map() : new Map([[id, entryDict(entry)]])
}
