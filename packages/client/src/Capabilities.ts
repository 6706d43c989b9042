/** What one server process can run, from `/object_info`: digests instead of megabytes, what is equal is one. */
import type { Capabilities, Machine } from "@effect-comfyui/execution/Backend"
import * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import type { SystemStats } from "@effect-comfyui/protocol/SystemStats"
import type { DecodeProblem } from "@effect-comfyui/protocol/Wire"
import * as Digest from "@effect-comfyui/workflow/Digest"
import * as Result from "effect/Result"

/** Lists that are equal become one: sixty loaders of one folder hold one array. */
const intern = (list: ReadonlyArray<string>): ReadonlyArray<string> => {
  const key = Digest.sha256(JSON.stringify(list))
  const before = lists.get(key)?.deref()
  if (before !== undefined) return before
  remember(lists, key, list)
  return list
}

/** Remembers what somebody else holds; of too many the oldest go. */
const remember = <A extends object>(known: Map<string, WeakRef<A>>, key: string, value: A): void => {
  known.delete(key)
  known.set(key, new WeakRef(value))
  keepNewest(known, maxShared)
}

const keepNewest = (known: Map<string, unknown>, atMost: number): void => {
  for (const oldest of known.keys()) {
    if (known.size <= atMost) break
    known.delete(oldest)
  }
}

/** What is known of a machine that does not say. */
export const unknownMachine: Machine = { argv: [], ramTotalBytes: null, ramFreeBytes: null, vramTotalBytes: null }

/** The machine as it describes itself. What a CPU calls its VRAM is the RAM. */
export const machineOf = ({ devices: [first], system }: SystemStats): Machine => ({
  argv: system.argv ?? [],
  ramTotalBytes: system.ram_total ?? null,
  ramFreeBytes: system.ram_free ?? null,
  vramTotalBytes: first === undefined || first.type === "cpu" ? null : first.vram_total
})

/** What a process can run: what {@link Capabilities} says beside its process and machine. */
export type Known = Pick<Capabilities, "classes" | "paid" | "files">

/** Sets and lists that somebody still holds, by a digest of all that they say. */
const shared = new Map<string, WeakRef<Known>>()
const lists = new Map<string, WeakRef<ReadonlyArray<string>>>()
const maxShared = 10_000

/** Equal sets are one, whoever read them: sixty servers with three sets of packs hold three. */
const share = (known: Known): Known => {
  const { classes, files, paid } = known
  const text = JSON.stringify([[...classes].toSorted(byName), [...files].toSorted(byName), [...paid].toSorted()])
  const key = Digest.sha256(text)
  const before = shared.get(key)?.deref()
  if (before !== undefined) return before
  remember(shared, key, known)
  return known
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => a < b ? -1 : a > b ? 1 : 0

/** What is kept of one class: the digest of its signature, whether it costs money, its lists of files. */
interface ClassFacts {
  readonly signature: string
  readonly paid: boolean
  readonly files: ReadonlyArray<{ readonly name: string; readonly options: ReadonlyArray<string> }>
}

/** By the digest of their text: most servers of a fleet have most classes in common, and none is read twice. */
const classes = new Map<string, ClassFacts>()
const maxClasses = 20_000

const read = (text: string): ClassFacts | DecodeProblem => {
  const key = Digest.sha256(text)
  const known = classes.get(key)
  if (known !== undefined) return known
  const node = ObjectInfo.NodeInfo.decodeText(text)
  if (Result.isFailure(node)) return node.failure
  const facts: ClassFacts = {
    signature: Digest.sha256(NodeInputs.signature(node.success)),
    paid: ObjectInfo.isPaid(node.success),
    files: NodeInputs.fileLists(node.success).map(({ name, options }) => ({ name, options: intern(options) }))
  }
  classes.set(key, facts)
  keepNewest(classes, maxClasses)
  return facts
}

/** Takes the classes of one process, one after the other; keeps digests of them, and the names of files. */
export const builder = () => {
  const signatures = new Map<string, string>()
  const paid = new Set<string>()
  const files = new Map<string, ReadonlyArray<string>>()
  return {
    add: (classType: string, text: string): DecodeProblem | undefined => {
      const facts = read(text)
      if ("expected" in facts) return facts
      signatures.set(classType, facts.signature)
      if (facts.paid) paid.add(classType)
      for (const { name, options } of facts.files) files.set(`${classType}/${name}`, options)
      return undefined
    },
    done: (): Known => share({ classes: signatures, paid, files })
  }
}
