// What a server says about itself: stats, features, classes, models, files.
import { empty, json, jsonText, type Request, type Response, serverError } from "./http.ts"
import { folderNames, objectInfo, objectInfoOf } from "./nodeInfo.ts"
import { dict, Float, fromJs, type Py } from "./py.ts"
import { serverFeatures } from "./sockets.ts"
import type { State } from "./state.ts"
import { isFolderType } from "./view.ts"
import { ramFree, vramUsed } from "./vram.ts"

export const getFeatures = (state: State): Response => json(200, serverFeatures(state))

export const getObjectInfo = (state: State): Response => json(200, objectInfo(state))

export const getObjectInfoOf = (state: State, request: Request): Response =>
  json(200, objectInfoOf(state, request.params[0] ?? ""))

const pythonVersion = "3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]"
const torchVersion = "2.11.0+cu130"

export const getSystemStats = (state: State): Response => {
  const { argv, hardware: { name, ramBytes, vramBytes } } = state.settings
  const { systemStats, version } = state.profile
  const free = ramFree(state)
  const models = vramUsed(state)
  const device = vramBytes === undefined
    ? dict({
      name: "cpu",
      type: "cpu",
      index: null,
      vram_total: ramBytes,
      vram_free: free,
      torch_vram_total: ramBytes,
      torch_vram_free: free
    })
    : dict({
      name: `cuda:0 ${name} : cudaMallocAsync`,
      type: "cuda",
      index: 0,
      vram_total: vramBytes,
      vram_free: vramBytes - models,
      torch_vram_total: models,
      torch_vram_free: 0
    })
  return json(
    200,
    dict({
      system: dict({
        os: systemStats.os,
        ram_total: ramBytes,
        ram_free: free,
        comfyui_version: version,
        required_frontend_version: systemStats.frontend,
        installed_templates_version: null,
        required_templates_version: systemStats.templates,
        comfy_package_versions: systemStats.packages
          ? [
            dict({
              name: "comfyui-frontend-package",
              installed: systemStats.frontend,
              required: systemStats.frontend
            }),
            dict({ name: "comfyui-workflow-templates", installed: null, required: systemStats.templates })
          ]
          : undefined,
        python_version: pythonVersion,
        pytorch_version: torchVersion,
        embedded_python: false,
        deploy_environment: systemStats.deployEnvironment ? "local-git" : undefined,
        argv
      }),
      devices: [device]
    })
  )
}

export const getEmbeddings = (state: State): Response =>
  json(200, folderNames(state, "embeddings").map((name) => name.replace(/\.[^./]*$/, "")))

export const getModels = (state: State): Response => json(200, [...state.settings.models.keys()])

export const getModelsIn = (state: State, request: Request): Response => {
  const folder = request.params[0] ?? ""
  return state.settings.models.has(folder) ? json(200, folderNames(state, folder)) : empty(404)
}

/** Where the files of a kind of model lie, below the base folder, if not only in the folder of that name. */
const oddFolders: Readonly<Record<string, ReadonlyArray<string>>> = {
  checkpoints: ["models/checkpoints", "output/checkpoints"],
  loras: ["models/loras", "output/loras"],
  vae: ["models/vae", "output/vae"],
  text_encoders: ["models/text_encoders", "models/clip", "output/clip"],
  diffusion_models: ["models/unet", "models/diffusion_models", "output/diffusion_models"],
  controlnet: ["models/controlnet", "models/t2i_adapter"],
  custom_nodes: ["custom_nodes"],
  datasets: ["datasets"]
}

const oddExtensions: Readonly<Record<string, ReadonlyArray<string>>> = {
  diffusers: ["folder"],
  datasets: [],
  classifiers: [""]
}

const foldersOf = (state: State, name: string): ReadonlyArray<string> =>
  (oddFolders[name] ?? [`models/${name}`]).map((path) => `${state.settings.folders.base}/${path}`)

const hidden = new Set(["configs", "custom_nodes"])
const extensions = [".bin", ".ckpt", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".sft"]

export const getExperimentModels = (state: State): Response =>
  json(
    200,
    [...state.settings.models.keys()].filter((name) => !hidden.has(name)).map((name) =>
      dict({
        name,
        folders: foldersOf(state, name),
        extensions: state.profile.modelExtensions ? oddExtensions[name] ?? extensions : undefined
      })
    )
  )

export const getExperimentModelsIn = (state: State, request: Request): Response => {
  const folder = request.params[0] ?? ""
  const found = state.settings.models.get(folder)
  if (found === undefined) return empty(404)
  return json(
    200,
    folderNames(state, folder).map((name) =>
      dict({
        name,
        pathIndex: 0,
        modified: new Float(state.settings.epochMs / 1000),
        created: new Float(state.settings.epochMs / 1000),
        size: found.get(name)?.bytes ?? 0
      })
    )
  )
}

/** What the header of a model file says. */
/** Bytes before the header of a safetensors file that say how long it is. */
const headerLengthBytes = 8

export const getModelMetadata = (state: State, request: Request): Response => {
  const name = request.query.get("filename") ?? ""
  const file = state.settings.models.get(request.params[0] ?? "")?.get(name)
  if (file === undefined || !name.endsWith(".safetensors")) return empty(404)
  if (file.bytes < headerLengthBytes) return serverError
  return file.metadata === undefined ? empty(404) : json(200, fromJs(file.metadata))
}

/** No model has a picture beside it. */
export const getModelPreview = (): Response => empty(404)

export const getFolderPaths = (state: State): Response => {
  const out: Map<string, Py> = new Map()
  for (const name of state.settings.models.keys()) out.set(name, foldersOf(state, name))
  return json(200, out)
}

export const getInternalFiles = (state: State, request: Request): Response => {
  const type = request.params[0] ?? ""
  if (!isFolderType(type)) return json(400, dict({ error: "Invalid directory type" }))
  const files = state.files.list(type, false).toSorted((a, b) => b.modified - a.modified)
  return json(200, files.map((file) => (state.profile.typedInternalFiles ? `${file.name} [${type}]` : file.name)))
}

/** Answers of parts that this server has nothing for. */
export const nothing = (body: string) => (): Response => jsonText(200, body)
