/** What is kept of a fleet and of its servers, up to a cap: what was unused for longest goes first. */
import type { BackendId } from "@effect-comfyui/execution/Ids"

/** Puts it in as the newest of a map. */
export const touch = <Key, Value>(of: Map<Key, Value>, key: Key, value: Value, cap: number): Value => {
  of.delete(key)
  of.set(key, value)
  for (const oldest of of.keys()) {
    if (of.size <= cap) break
    of.delete(oldest)
  }
  return value
}

/** Values by server and key; all of them stand in `order` too, least recently used first. */
export interface OfServers<Key, Value> {
  readonly servers: Map<BackendId, Map<Key, Value>>
  readonly order: Map<Value, readonly [BackendId, Key]>
}

export const make = <Key, Value>(): OfServers<Key, Value> => ({ servers: new Map(), order: new Map() })

export const get = <Key, Value>({ servers }: OfServers<Key, Value>, server: BackendId, key: Key): Value | undefined =>
  servers.get(server)?.get(key)

const remove = <Key, Value>({ order, servers }: OfServers<Key, Value>, server: BackendId, key: Key): void => {
  const ofServer = servers.get(server)
  const value = ofServer?.get(key)
  if (value !== undefined) order.delete(value)
  ofServer?.delete(key)
  if (ofServer?.size === 0) servers.delete(server)
}

/** Puts it in as the newest of all, in the place of the one that was there. */
export const put = <Key, Value>(
  of: OfServers<Key, Value>,
  server: BackendId,
  key: Key,
  value: Value,
  cap: number
): Value => {
  const { order, servers } = of
  let ofServer = servers.get(server)
  if (ofServer === undefined) servers.set(server, ofServer = new Map())
  const before = ofServer.get(key)
  if (before !== undefined) order.delete(before)
  ofServer.set(key, value)
  order.set(value, [server, key])
  for (const [, [oldServer, oldKey]] of order) {
    if (order.size <= cap) break
    remove(of, oldServer, oldKey)
  }
  return value
}

/** All of a server that left. */
export const forget = <Key, Value>({ order, servers }: OfServers<Key, Value>, server: BackendId): void => {
  for (const value of servers.get(server)?.values() ?? []) order.delete(value)
  servers.delete(server)
}
