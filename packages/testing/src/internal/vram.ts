// Which models lie in VRAM, what it costs to bring one there, and how much memory is left.
import type { Weights } from "../Hardware.ts"
import type { Step } from "../Plan.ts"
import { print } from "./logs.ts"
import { weightsOf } from "./nodeCache.ts"
import type { State } from "./state.ts"

/** Weights in VRAM: with which patches, and how much of them. */
export interface Resident {
  readonly variant: string
  readonly bytes: number
}

const megabytes = (bytes: number): string => (bytes / 1_048_576).toFixed(2)

/** Bytes of the models in VRAM. */
export const vramUsed = (state: State): number => {
  let sum = 0
  for (const { bytes } of state.vram.values()) sum += bytes
  return sum
}

/** What a `Load` step costs: once, and at every step of the node that follows. */
interface Move {
  readonly ms: number
  readonly msPerStep: number
}

const free: Move = { ms: 0, msPerStep: 0 }

/** Brings models into VRAM; "full" where they and the working memory do not fit. The map's order is that of their use. */
export const bring = (state: State, step: Extract<Step, { readonly _tag: "Load" }>): Move | "full" => {
  const { busBytesPerSecond, offload, vramBytes } = state.settings.hardware
  if (vramBytes === undefined) return free
  const room = vramBytes - step.workBytes
  const wanted = new Map<Weights, string>()
  let total = 0
  for (const { variant, weights } of step.models) {
    if (!wanted.has(weights)) total += weights.bytes
    wanted.set(weights, variant)
  }
  if (room < 0 || (total > room && !offload)) return "full"
  const msPerByte = 1000 / busBytesPerSecond
  let others = 0
  for (const [weights, { bytes }] of state.vram) if (!wanted.has(weights)) others += bytes
  for (const [weights, { bytes }] of state.vram) {
    if (others + total <= room) break
    if (wanted.has(weights)) continue
    state.vram.delete(weights)
    others -= bytes
  }
  let left = room
  let moved = 0
  let outside = 0
  for (const [weights, variant] of wanted) {
    const bytes = Math.min(weights.bytes, left)
    left -= bytes
    outside += weights.bytes - bytes
    const known = state.vram.get(weights)
    const kept = known?.variant === variant ? Math.min(known.bytes, bytes) : 0
    moved += bytes - kept
    state.vram.delete(weights)
    state.vram.set(weights, { variant, bytes })
    if (bytes === kept) continue
    print(state, `Requested to load ${weights.name}`)
    print(
      state,
      `loaded ${bytes < weights.bytes ? "partially" : "completely"}; ${megabytes(room)} MB usable, ` +
        `${megabytes(bytes)} MB loaded, full load: ${bytes < weights.bytes ? "False" : "True"}`
    )
  }
  return { ms: moved * msPerByte, msPerStep: outside * msPerByte }
}

/** Weights that no result holds any more are gone. */
export const sweep = (state: State): void => {
  if (state.vram.size === 0) return
  const held = weightsOf(state.cache.entries())
  for (const weights of state.vram.keys()) if (!held.has(weights)) state.vram.delete(weights)
}

/** Does what `/free` asked for: models leave VRAM, and with `free_memory` every result goes. */
export const release = (state: State): void => {
  if (state.freeMemory || state.unloadModels) state.vram.clear()
  if (state.freeMemory) {
    state.cache.clear()
    state.objects.clear()
  }
  state.freeMemory = false
  state.unloadModels = false
}

/** RAM that is left: some is always in use, and more by every prompt in history and every model that a result holds. */
export const ramFree = (state: State): number => {
  let held = 0
  for (const weights of weightsOf(state.cache.entries())) held += weights.bytes
  const { ramBytes } = state.settings.hardware
  return Math.max(0, Math.floor(ramBytes * 0.8) - state.history.size * 65_536 - held)
}

/** RAM that servers with the cache that follows it want to be available: all of most hosts, at most so much. */
const headroomBytes = 96_000_000_000

/** Whether results that nobody uses have to go. */
export const isShortOfRam = (state: State): boolean => ramFree(state) < headroomBytes
