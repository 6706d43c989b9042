// Assets: files by content, each known under references with names and tags of their own. Only with `--enable-assets`.
import * as Option from "effect/Option"
import { contentType } from "../ImageFile.ts"
import type { FolderType } from "./files.ts"
import { type Dict, dict, type Py } from "./py.ts"
import { publishEvent } from "./sockets.ts"
import { type State, uuid, wallMs } from "./state.ts"
import { isoLocal } from "./time.ts"

/** One reference to a file. */
export interface Asset {
  readonly id: string
  name: string
  /** Of the content, with `blake3:` before it; of models and outputs none is known. */
  readonly hash: string | undefined
  /** Where the file lies; a reference that was made by content alone has no place. */
  readonly file: { readonly type: FolderType | "models"; readonly path: string; readonly shown: string } | undefined
  readonly size: number
  readonly mime: string
  readonly tags: Set<string>
  metadata: Dict
  readonly jobId: string | undefined
  readonly created: number
  updated: number
  accessed: number
}

/** What the assets of a server are kept in. */
export interface AssetStore {
  readonly byId: Map<string, Asset>
  /** Every tag that was ever used. */
  readonly tags: Set<string>
  /** What the last scan of the output folder saw. */
  scanned: number | undefined
}

/** References that a server keeps; then the oldest goes. */
const maxAssets = 10_000

const lanes = [0x01000193, 0x01000197, 0x0100019d, 0x010001a3, 0x010001af, 0x010001b7, 0x010001c1, 0x010001c9]

/** A name for a content in the form of a BLAKE3 hash. It is none, but equal contents have equal ones. */
export const contentHash = (bytes: Uint8Array): string =>
  `blake3:${
    lanes.map((prime) => {
      let h = 0x811c9dc5
      for (const byte of bytes) h = Math.imul(h ^ byte, prime)
      return (Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) >>> 0).toString(16).padStart(8, "0")
    }).join("")
  }`

const extensionOf = (name: string): string => (name.lastIndexOf(".") > 0 ? name.slice(name.lastIndexOf(".")) : "")

const modelType = (name: string): string => {
  const extension = extensionOf(name).slice(1)
  if (extension === "safetensors") return "application/safetensors"
  return extension === "pt" || extension === "pth" ? "application/pytorch" : contentType(name)
}

const noModels = new Set(["configs", "custom_nodes"])

export const addAsset = (
  state: State,
  store: AssetStore,
  given: Pick<Asset, "name" | "hash" | "file" | "size"> & {
    readonly mime?: string
    readonly tags: Iterable<string>
    readonly metadata?: Dict
    readonly jobId?: string
  }
): Asset => {
  const now = wallMs(state)
  const asset: Asset = {
    id: uuid(state),
    name: given.name,
    hash: given.hash,
    file: given.file,
    size: given.size,
    mime: given.mime ?? contentType(given.file?.path ?? given.name),
    tags: new Set(given.tags),
    metadata: given.metadata ?? new Map(),
    jobId: given.jobId,
    created: now,
    updated: now,
    accessed: now
  }
  for (const tag of asset.tags) store.tags.add(tag)
  store.byId.set(asset.id, asset)
  if (store.byId.size > maxAssets) {
    for (const oldest of store.byId.keys()) {
      store.byId.delete(oldest)
      break
    }
  }
  return asset
}

/** The assets that a server begins with: its models. */
export const openStore = (state: State): AssetStore => {
  const store: AssetStore = { byId: new Map(), tags: new Set(["models", "input", "output"]), scanned: undefined }
  for (const [folder, files] of state.settings.models) {
    if (noModels.has(folder)) continue
    store.tags.add(`model_type:${folder}`)
    for (const [path, { bytes }] of files) {
      addAsset(state, store, {
        name: path.slice(path.lastIndexOf("/") + 1),
        hash: undefined,
        file: { type: "models", path, shown: `${folder}/${path}` },
        size: bytes,
        mime: modelType(path),
        tags: ["models", `model_type:${folder}`]
      })
    }
  }
  return store
}

/** Content that somebody sent, as a file of the input folder under its hash; known content gets a reference more. */
export const addContent = (
  state: State,
  store: AssetStore,
  content: {
    readonly bytes: Uint8Array
    readonly filename: string
    readonly name: string
    readonly tags: ReadonlyArray<string>
    readonly metadata: Dict
  }
): { readonly asset: Asset; readonly isNew: boolean } => {
  const { bytes, filename, metadata, name, tags } = content
  const digest = contentHash(bytes)
  const known = findContent(store, digest)
  if (known !== undefined) {
    const { mime, size } = known
    return {
      asset: addAsset(state, store, { name, hash: digest, file: undefined, size, mime, tags, metadata }),
      isNew: false
    }
  }
  const path = `${digest.slice("blake3:".length)}${extensionOf(filename)}`
  state.files.write("input", path, bytes, wallMs(state))
  const file = { type: "input", path, shown: path } as const
  const asset = addAsset(state, store, {
    name,
    hash: digest,
    file,
    size: bytes.length,
    tags: [...tags, "uploaded"],
    metadata
  })
  return { asset, isNew: true }
}

/** The first reference to a content that has a file. */
export const findContent = (store: AssetStore, digest: string): Asset | undefined => {
  for (const asset of store.byId.values()) if (asset.hash === digest && asset.file !== undefined) return asset
  return undefined
}

/** The bytes behind a reference. */
export const contentOf = (state: State, store: AssetStore, asset: Asset): Uint8Array | undefined => {
  const file = asset.file ?? (asset.hash === undefined ? undefined : findContent(store, asset.hash)?.file)
  if (file === undefined || file.type === "models") return undefined
  return Option.getOrUndefined(state.files.get(file.type, file.path))?.bytes
}

/** `filename=blake3:…` of `/view`. */
export const viewByHash = (
  state: State,
  digest: string
): { readonly asset: Asset; readonly content: Uint8Array } | undefined => {
  const { assets: store } = state
  const asset = store === undefined ? undefined : findContent(store, digest)
  const content = store === undefined || asset === undefined ? undefined : contentOf(state, store, asset)
  return asset === undefined || content === undefined ? undefined : { asset, content }
}

/** What a picture's file says of itself. */
const pngSize = (state: State, path: string): Readonly<Record<string, Py>> => {
  const bytes = Option.getOrUndefined(state.files.get("output", path))?.bytes
  if (bytes === undefined || bytes.length < 24) return {}
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return { kind: "image", width: view.getUint32(16), height: view.getUint32(20) }
}

const fileMetadata = (state: State, { file, mime, name, size }: Asset): Dict | undefined => {
  if (file === undefined || file.type === "input" || file.type === "temp") return undefined
  const base = `${state.settings.folders.base}/${file.type}`
  return dict({
    filename: name,
    content_length: size,
    format: extensionOf(name).slice(1),
    file_path: `${base}/${file.shown}`,
    content_type: mime,
    ...file.type === "output" && mime === "image/png" ? pngSize(state, file.path) : {}
  })
}

/** A reference as answers show it. */
export const assetDict = (state: State, asset: Asset): Dict => {
  const { file } = asset
  const name = file === undefined ? undefined : file.type === "models" ? asset.name : file.path
  return dict({
    id: asset.id,
    name: asset.name,
    hash: asset.hash,
    loader_path: file?.path,
    display_name: file?.shown,
    asset_hash: asset.hash,
    size: asset.size,
    mime_type: asset.mime,
    tags: [...asset.tags].toSorted(),
    preview_url: file === undefined || file.type === "models"
      ? undefined
      : `/api/view?type=${file.type}&filename=${encodeURIComponent(file.path)}`,
    user_metadata: name === undefined ? asset.metadata : new Map([...asset.metadata, ["filename", name]]),
    is_immutable: false,
    metadata: fileMetadata(state, asset),
    job_id: asset.jobId,
    prompt_id: asset.jobId,
    created_at: isoLocal(asset.created),
    updated_at: isoLocal(asset.updated),
    last_access_time: isoLocal(asset.accessed)
  })
}

/** Gives the files that a node shows a reference each, and their entries its id. */
export const tagOutputs = (state: State, jobId: string, output: Dict): void => {
  const { assets: store } = state
  if (store === undefined) return
  for (const items of output.values()) {
    if (!Array.isArray(items)) continue
    for (const item of items) {
      if (!(item instanceof Map) || item.get("type") !== "output") continue
      const filename: Py | undefined = item.get("filename")
      const subfolder: Py | undefined = item.get("subfolder")
      if (typeof filename !== "string" || typeof subfolder !== "string") continue
      const path = subfolder === "" ? filename : `${subfolder}/${filename}`
      const file = Option.getOrUndefined(state.files.get("output", path))
      if (file === undefined) continue
      const asset = addAsset(state, store, {
        name: filename,
        hash: undefined,
        file: { type: "output", path, shown: path },
        size: file.bytes.length,
        tags: ["output", "uploaded"],
        jobId
      })
      item.set("id", asset.id)
    }
  }
}

const seed = (state: State, event: string, data: Dict): void =>
  publishEvent(state, undefined, `assets.seed.${event}`, data)

/** What the scan after a run says of the files that it made. */
export const announceScan = (state: State, enriched: number, full: number | undefined): void => {
  const roots = ["output"]
  if (full !== undefined) {
    seed(state, "started", dict({ roots, total: full, phase: "fast" }))
    seed(state, "fast_complete", dict({ roots, created: 0, skipped: full, total: full }))
  }
  seed(state, "started", dict({ roots, phase: "enrich" }))
  seed(state, "enrich_complete", dict({ roots, enriched }))
  seed(
    state,
    "completed",
    dict({
      phase: full === undefined ? "enrich" : "full",
      total: full ?? 0,
      created: 0,
      enriched,
      skipped: full ?? 0,
      elapsed: 0
    })
  )
}
