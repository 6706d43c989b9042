// What a running node sees of its server.
import type { NodeContext } from "../NodeClass.ts"
import { isDict, toJs } from "./py.ts"
import { type Item, letters, type State, wallMs } from "./state.ts"

const loud = new Set(["auto", "latent2rgb", "taesd"])

/** The state of a node object: kept while successive prompts have a node of this id and class. */
const objectLetters = (state: State, id: string, classType: string): string => {
  const key = `${id}|${classType}`
  const known = state.objects.get(key)
  if (known !== undefined) return known
  const made = letters(state, 5)
  state.objects.set(key, made)
  return made
}

export const nodeContext = (
  state: State,
  item: Item,
  id: string,
  classType: string,
  index: number
): NodeContext => {
  const { settings } = state
  const asked = isDict(item.extraData) && state.profile.previewMethodPerPrompt
    ? item.extraData.get("preview_method")
    : undefined
  const method = typeof asked === "string" && asked !== "default" ? asked : settings.previewMethod
  return {
    promptId: item.id,
    nodeId: id,
    item: index,
    letters: objectLetters(state, id, classType),
    get extraData() {
      return toJs(item.extraData)
    },
    prompt: item.prompt,
    get secrets() {
      return new Map([...item.secrets].filter((entry): entry is [string, string] => typeof entry[1] === "string"))
    },
    modelBytes: (folder, name) => settings.models.get(folder)?.get(name)?.bytes,
    diskMs: (bytes) => bytes / settings.diskBytesPerSecond * 1000,
    stepMs: (pixels) => pixels / 1_000_000 * settings.stepMsPerMegapixel,
    previews: { enabled: loud.has(method), size: settings.previewSize },
    readFile: (name) => state.files.read(name),
    save: (request) => state.files.save(request, wallMs(state), state.profile.saveErrorCommonPath)
  }
}
