/** What one server process can run, from `/object_info`: digests instead of megabytes, equal lists shared. */
import type { Capabilities, Machine } from "@effect-comfyui/execution/Backend"
import * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import type { SystemStats } from "@effect-comfyui/protocol/SystemStats"
import * as Digest from "@effect-comfyui/workflow/Digest"

/** Lists that are equal become one: sixty loaders of one folder hold one array. */
const intern = (known: Map<string, ReadonlyArray<string>>, list: ReadonlyArray<string>): ReadonlyArray<string> => {
  const key = JSON.stringify(list)
  const before = known.get(key)
  if (before !== undefined) return before
  known.set(key, list)
  return list
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

/** The facts of a process. Keeps nothing of `info` but the names of files. */
export const fromObjectInfo = (
  info: ObjectInfo.ObjectInfo,
  epoch: number,
  version: string,
  machine: Machine = unknownMachine
): Capabilities => {
  const classes = new Map<string, string>()
  const paid = new Set<string>()
  const files = new Map<string, ReadonlyArray<string>>()
  const lists = new Map<string, ReadonlyArray<string>>()
  for (const [classType, node] of Object.entries(info)) {
    classes.set(classType, Digest.sha256(NodeInputs.signature(node)))
    if (ObjectInfo.isPaid(node)) paid.add(classType)
    for (const list of NodeInputs.fileLists(node)) files.set(`${classType}/${list.name}`, intern(lists, list.options))
  }
  return { epoch, version, machine, classes, paid, files }
}
