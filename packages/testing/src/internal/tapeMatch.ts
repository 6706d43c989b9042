// Whether what a client says now is what was recorded. Ids are chosen anew each time: one of now stands for one of then,
// and stays so.
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as latin1 from "./latin1.ts"
import { marker } from "./redact.ts"

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
/** Stands for one id in a levelled text. */
const hole = "\u0000"
/** Ids beyond so many are no longer paired: they must be the same. */
const maxIds = 100_000

/** Pairs of ids: of now and of then, one to one. */
export class Ids {
  readonly #toThen = new Map<string, string>()
  readonly #toNow = new Map<string, string>()
  #order: Array<string> = []
  #renamed = 0

  /** Whether the two may be one; from now on they are. */
  unify(now: string, then: string): boolean {
    const known = this.#toThen.get(now)
    if (known !== undefined) return known === then
    if (this.#toNow.has(then)) return false
    if (this.#order.length >= maxIds) return now === then
    this.#toThen.set(now, then)
    this.#toNow.set(then, now)
    this.#order.push(now)
    if (now !== then) this.#renamed++
    return true
  }

  /** Runs a comparison; what it paired is forgotten unless it held. */
  attempt<A>(compare: () => A, held: (result: A) => boolean): A {
    const before = this.#order.length
    const result = compare()
    if (held(result)) return result
    for (const now of this.#order.slice(before)) {
      const then = this.#toThen.get(now)
      this.#toThen.delete(now)
      if (then === undefined) continue
      this.#toNow.delete(then)
      if (now !== then) this.#renamed--
    }
    this.#order = this.#order.slice(0, before)
    return result
  }

  /** A recorded text with the ids of now. An id that the server chose is its own. */
  rewrite(text: string): string {
    return text.replace(uuid, (then) => {
      const now = this.#toNow.get(then)
      if (now !== undefined) return now
      this.unify(then, then)
      return then
    })
  }

  /** The same for bytes; ids are all of one length. */
  rewriteBytes(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    return this.#renamed === 0 ? bytes : latin1.toBytes(this.rewrite(latin1.fromBytes(bytes)))
  }
}

const level = (text: string): { readonly text: string; readonly ids: ReadonlyArray<string> } => {
  const ids: Array<string> = []
  return {
    text: text.replace(uuid, (id) => {
      ids.push(id)
      return hole
    }),
    ids
  }
}

const countHoles = (text: string, from: number, to: number): number => {
  let count = 0
  for (let at = from; at < to; at++) if (text[at] === hole) count++
  return count
}

/** Whether a text is the recorded one; struck-out parts of that match anything. */
export const sameText = (then: string, now: string, ids: Ids): boolean => {
  const a = level(then)
  const b = level(now)
  const pieces = a.text.split(marker)
  let at = 0
  let idThen = 0
  let idNow = 0
  for (const [index, piece] of pieces.entries()) {
    const isLast = index === pieces.length - 1
    const start = index === 0 ? 0 : isLast ? b.text.length - piece.length : b.text.indexOf(piece, at)
    if (start < at || !b.text.startsWith(piece, start)) return false
    if (isLast && start + piece.length !== b.text.length) return false
    idNow += countHoles(b.text, at, start)
    const holes = countHoles(piece, 0, piece.length)
    for (let n = 0; n < holes; n++) {
      if (!ids.unify(b.ids[idNow + n] ?? "", a.ids[idThen + n] ?? "")) return false
    }
    idThen += holes
    idNow += holes
    at = start + piece.length
  }
  return true
}

/** The same for bytes. */
export const sameBytes = (then: Uint8Array, now: Uint8Array, ids: Ids): boolean =>
  sameText(latin1.fromBytes(then), latin1.fromBytes(now), ids)

/** A text that others chose, cut. */
export const bounded = (text: string, limit: number): string => text.length <= limit ? text : `${text.slice(0, limit)}…`

const excerpt = (value: Json.Json | undefined): string =>
  value === undefined ? "nothing" : bounded(Json.stringify(value), 80)

const maxDepth = 500

/** What a comparison leaves out, and how it names what it shows. */
export interface Comparison {
  readonly ids: Ids
  /** Members of these names may hold anything. */
  readonly ignored: ReadonlySet<string>
}

const isList = (value: Json.Json): value is ReadonlyArray<Json.Json> => Array.isArray(value)

/** Where two values differ first, in words; undefined where they do not. */
const differenceIn = (
  then: Json.Json,
  now: Json.Json,
  path: string,
  how: Comparison,
  depth: number
): string | undefined => {
  const differs = () => `${path} was ${excerpt(then)}, is ${excerpt(now)}`
  if (depth > maxDepth) return `${path} is nested too deeply to be compared`
  if (typeof then === "string" && typeof now === "string") {
    return sameText(then, now, how.ids) ? undefined : differs()
  }
  if (isList(then) && isList(now)) {
    if (then.length !== now.length) return `${path} had ${then.length} items, has ${now.length}`
    for (const [index, item] of then.entries()) {
      const found = differenceIn(item, now[index] ?? null, `${path}[${index}]`, how, depth + 1)
      if (found !== undefined) return found
    }
    return undefined
  }
  if (Json.isObject(then) && Json.isObject(now)) {
    for (const name of new Set([...Object.keys(then), ...Object.keys(now)])) {
      if (how.ignored.has(name)) continue
      const [a, b] = [Json.get(then, name), Json.get(now, name)]
      const inside = `${path}.${name}`
      if (a === undefined || b === undefined) return `${inside} was ${excerpt(a)}, is ${excerpt(b)}`
      const found = differenceIn(a, b, inside, how, depth + 1)
      if (found !== undefined) return found
    }
    return undefined
  }
  return Object.is(then, now) ? undefined : differs()
}

const jsonOf = (text: string): Json.Json | undefined =>
  /^\s*[[{]/.test(text) ? Result.getOrElse(Json.parse(text), () => undefined) : undefined

/** Where two bodies or frames differ first, in words; undefined where they do not. */
export const difference = (then: string, now: string, how: Comparison): string | undefined => {
  const [a, b] = [jsonOf(then), jsonOf(now)]
  if (a !== undefined && b !== undefined) return differenceIn(a, b, "$", how, 0)
  return sameText(then, now, how.ids) ? undefined : `the body was ${excerpt(then)}, is ${excerpt(now)}`
}
