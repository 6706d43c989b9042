// What a running node sees of its server.
import * as Result from "effect/Result"
import type { NodeContext } from "../NodeClass.ts"
import { refusesSave } from "./afflict.ts"
import type { DynPrompt } from "./dynPrompt.ts"
import { isDict, toJs } from "./py.ts"
import { type Item, letters, type State, wallMs } from "./state.ts"

const loud = new Set(["auto", "latent2rgb", "taesd"])

/** The state of a node object: kept while successive prompts have a node of this id and class. */
const objectLetters = (state: State, prompt: DynPrompt, id: string): string => {
  const key = prompt.nameOf(id)
  const known = state.objects.get(key)
  if (known !== undefined) return known.letters
  const made = letters(state, 5)
  state.objects.set(key, { letters: made, root: prompt.nameOf(prompt.realOf(id)) })
  return made
}

export const nodeContext = (
  state: State,
  item: Item,
  prompt: DynPrompt,
  id: string,
  index: number
): NodeContext => {
  const { settings } = state
  const { hardware } = settings
  const asked = isDict(item.extraData) && state.profile.previewMethodPerPrompt
    ? item.extraData.get("preview_method")
    : undefined
  const method = typeof asked === "string" && asked !== "default" ? asked : settings.previewMethod
  return {
    promptId: item.id,
    nodeId: id,
    item: index,
    letters: objectLetters(state, prompt, id),
    get extraData() {
      return toJs(item.extraData)
    },
    prompt: item.prompt,
    nodeAt: (other) => prompt.look(other),
    get secrets() {
      return new Map([...item.secrets].filter((entry): entry is [string, string] => typeof entry[1] === "string"))
    },
    modelBytes: (folder, name) => settings.models.get(folder)?.get(name)?.bytes,
    diskMs: (bytes) => bytes / hardware.diskBytesPerSecond * 1000,
    stepMs: (pixels) => pixels / 1_000_000 * hardware.stepMsPerMegapixel,
    workBytes: (pixels) => pixels / 1_000_000 * hardware.workBytesPerMegapixel,
    previews: { enabled: loud.has(method), size: settings.previewSize },
    readFile: (name) => state.files.read(name),
    save: (request) =>
      refusesSave(state)
        ? Result.fail("[Errno 28] No space left on device")
        : state.files.save(request, wallMs(state), state.profile.saveErrorCommonPath)
  }
}
