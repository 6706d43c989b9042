// `/api/assets` and `/api/tags`.
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import {
  addAsset,
  addContent,
  announceScan,
  type Asset,
  assetDict,
  type AssetStore,
  contentOf,
  findContent
} from "./assets.ts"
import { bytes, empty, json, queryInt, type Request, type Response, serverError } from "./http.ts"
import { type Dict, dict, isDict, isList, type Py } from "./py.ts"
import { loads, loadsBytes } from "./pyJson.ts"
import { type State, wallMs } from "./state.ts"
import { field, multipart } from "./upload.ts"

type Handler = (state: State, request: Request, store: AssetStore) => Response

const fail = (status: number, code: string, message: string, details: Dict = new Map()): Response =>
  json(status, dict({ error: dict({ code, message, details }) }))

const disabled = fail(
  503,
  "SERVICE_DISABLED",
  "Assets system is disabled. Start the server with --enable-assets to use this feature."
)

/** A handler that answers 503 on a server without assets. */
const withAssets = (handle: Handler) => (state: State, request: Request): Response =>
  state.assets === undefined ? disabled : handle(state, request, state.assets)

const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** What aiohttp says of a path that no route matches. */
const noSuchPath: Response = {
  status: 404,
  headers: { "content-type": "application/octet-stream" },
  body: new Uint8Array(0)
}

/** A handler for one reference: an id that is no UUID is an unknown path. */
const ofAsset =
  (handle: (state: State, request: Request, asset: Asset, store: AssetStore) => Response): Handler =>
  (state, request, store) => {
    const id = request.params[0] ?? ""
    if (!idPattern.test(id)) return noSuchPath
    const asset = store.byId.get(id)
    if (asset !== undefined) return handle(state, request, asset, store)
    return request.method === "DELETE"
      ? fail(404, "ASSET_NOT_FOUND", `AssetReference ${id} not found.`)
      : fail(404, "ASSET_NOT_FOUND", `AssetReference ${id} not found`, dict({ id }))
  }

const splitTags = (text: string | undefined): ReadonlyArray<string> =>
  (text ?? "").split(",").map((tag) => tag.trim()).filter((tag) => tag !== "")

const stringsOf = (value: Py | undefined): ReadonlyArray<string> =>
  isList(value) ? value.flatMap((item) => (typeof item === "string" ? [item] : [])) : []

export const postAsset = withAssets((state, request, store) => {
  const parts = multipart(request)
  const file = parts?.find((part) => part.name === "file")
  const known = findContent(store, field(parts ?? [], "hash") ?? "")
  if (parts === undefined || (file === undefined && known === undefined)) {
    return fail(400, "MISSING_FILE", "Form must include a 'file' part or a known 'hash'.")
  }
  const metadata = Option.getOrUndefined(loads(field(parts, "user_metadata") ?? "{}"))
  const name = field(parts, "name")
  const tags = splitTags(field(parts, "tags"))
  const given = isDict(metadata) ? metadata : new Map<string, Py>()
  if (file === undefined) return created(state, store, known, name, tags, given)
  if (file.body.length === 0) return fail(400, "EMPTY_UPLOAD", "Uploaded file is empty.")
  const filename = file.filename ?? "file"
  const { asset, isNew } = addContent(state, store, {
    bytes: file.body,
    filename,
    name: name ?? filename,
    tags,
    metadata: given
  })
  return json(isNew ? 201 : 200, assetDict(state, asset).set("created_new", isNew))
})

/** One more reference to known content. */
const created = (
  state: State,
  store: AssetStore,
  known: Asset | undefined,
  name: string | undefined,
  tags: ReadonlyArray<string>,
  metadata: Dict
): Response => {
  if (known === undefined) return fail(404, "ASSET_NOT_FOUND", "Asset content not found")
  const { hash, mime, size } = known
  const asset = addAsset(state, store, { name: name ?? known.name, hash, file: undefined, size, mime, tags, metadata })
  return json(201, assetDict(state, asset).set("created_new", false))
}

export const postFromHash = withAssets((state, request, store) => {
  const body = Option.getOrUndefined(loadsBytes(request.body))
  if (!isDict(body)) return fail(400, "INVALID_JSON", "Request body must be valid JSON.")
  const hash = body.get("hash")
  const name = body.get("name")
  const metadata = body.get("user_metadata")
  return created(
    state,
    store,
    findContent(store, typeof hash === "string" ? hash : ""),
    typeof name === "string" ? name : undefined,
    stringsOf(body.get("tags")),
    isDict(metadata) ? metadata : new Map()
  )
})

export const headHash = withAssets((_, request, store) =>
  empty(findContent(store, request.params[0] ?? "") === undefined ? 404 : 200)
)

export const getAsset = withAssets(ofAsset((state, _, asset) => json(200, assetDict(state, asset))))

export const putAsset = withAssets(ofAsset((state, request, asset) => {
  const body = Option.getOrUndefined(loadsBytes(request.body))
  if (!isDict(body)) return fail(400, "INVALID_JSON", "Request body must be valid JSON.")
  const name = body.get("name")
  const metadata = body.get("user_metadata")
  if (typeof name === "string") asset.name = name
  if (isDict(metadata)) asset.metadata = metadata
  asset.updated = wallMs(state)
  return json(200, assetDict(state, asset))
}))

export const deleteAsset = withAssets(ofAsset((_, __, asset, store) => {
  store.byId.delete(asset.id)
  return empty(204)
}))

export const getContent = withAssets(ofAsset((state, request, asset, store) => {
  const content = contentOf(state, store, asset)
  if (content === undefined) return fail(404, "FILE_NOT_FOUND", "Underlying file not found on disk.")
  asset.accessed = wallMs(state)
  const how = request.query.get("disposition") === "inline" ? "inline" : "attachment"
  return bytes(200, asset.mime, content.slice(), {
    "content-disposition": `${how}; filename*=UTF-8''${encodeURIComponent(asset.name)}`,
    "x-content-type-options": "nosniff"
  })
}))

export const postTags = withAssets(ofAsset((state, request, asset, store) => {
  const body = Option.getOrUndefined(loadsBytes(request.body))
  if (!isDict(body)) return fail(400, "INVALID_JSON", "Request body must be valid JSON.")
  const wanted = stringsOf(body.get("tags"))
  const adds = request.method === "POST"
  const changed = wanted.filter((tag) => asset.tags.has(tag) !== adds)
  const others = wanted.filter((tag) => !changed.includes(tag))
  for (const tag of changed) {
    store.tags.add(tag)
    if (adds) asset.tags.add(tag)
    else asset.tags.delete(tag)
  }
  asset.updated = wallMs(state)
  return json(
    200,
    dict({
      [adds ? "added" : "removed"]: changed,
      [adds ? "already_present" : "not_present"]: others,
      total_tags: [...asset.tags].toSorted()
    })
  )
}))

const sorts: Readonly<Record<string, (asset: Asset) => string | number>> = {
  name: (asset) => asset.name,
  created_at: (asset) => asset.created,
  updated_at: (asset) => asset.updated,
  size: (asset) => asset.size,
  last_access_time: (asset) => asset.accessed
}

const invalidQuery = (error: Dict): Response =>
  fail(400, "INVALID_QUERY", "Validation failed.", dict({ errors: [error] }))

const limitError = (given: string, type: string, message: string, context: Dict): Response =>
  invalidQuery(
    dict({
      type,
      loc: ["limit"],
      msg: message,
      input: given,
      ctx: context,
      url: `https://errors.pydantic.dev/2.14/v/${type}`
    })
  )

const sortNames = "'name', 'created_at', 'updated_at', 'size' or 'last_access_time'"

/** Where a cursor says that the last page ended; a text is why it says nothing. */
const readCursor = (cursor: string): { readonly id: string } | string => {
  const length = cursor.replace(/=+$/, "").length
  if (length % 4 === 1) {
    return `encoding: Invalid base64-encoded string: number of data characters (${length}) cannot be 1 more than a ` +
      "multiple of 4"
  }
  const text = Result.getOrUndefined(Base64Url.decodeString(cursor))
  const value = text === undefined ? undefined : Option.getOrUndefined(loads(text))
  const id = isDict(value) ? value.get("id") : undefined
  return typeof id === "string" ? { id } : "payload: not a cursor"
}

export const listAssets = withAssets((state, request, store) => {
  const { query } = request
  const limitText = query.get("limit") ?? "20"
  const limit = queryInt(limitText)
  if (limit === undefined) return serverError
  if (limit > 500) {
    return limitError(limitText, "less_than_equal", "Input should be less than or equal to 500", dict({ le: 500 }))
  }
  if (limit < 1) {
    return limitError(limitText, "greater_than_equal", "Input should be greater than or equal to 1", dict({ ge: 1 }))
  }
  const sort = query.get("sort") ?? "created_at"
  const by = Object.hasOwn(sorts, sort) ? sorts[sort] : undefined
  if (by === undefined) {
    return invalidQuery(
      dict({
        type: "literal_error",
        loc: ["sort"],
        msg: `Input should be ${sortNames}`,
        input: sort,
        ctx: dict({ expected: sortNames }),
        url: "https://errors.pydantic.dev/2.14/v/literal_error"
      })
    )
  }
  const after = query.get("after")
  const cursor = after === undefined ? undefined : readCursor(after)
  if (typeof cursor === "string") return fail(400, "INVALID_CURSOR", cursor)
  const all = [...splitTags(query.get("include_tags")), ...splitTags(query.get("tags_all"))]
  const any = splitTags(query.get("tags_any"))
  const none = [...splitTags(query.get("exclude_tags")), ...splitTags(query.get("tags_none"))]
  const text = (query.get("name_contains") ?? "").toLowerCase()
  const sign = query.get("order") === "asc" ? 1 : -1
  const found = [...store.byId.values()].filter((asset) =>
    all.every((tag) => asset.tags.has(tag)) && (any.length === 0 || any.some((tag) => asset.tags.has(tag))) &&
    !none.some((tag) => asset.tags.has(tag)) && asset.name.toLowerCase().includes(text)
  ).toSorted((a, b) => {
    const [x, y] = [by(a), by(b)]
    return x === y ? (a.id < b.id ? -sign : sign) : x < y ? -sign : sign
  })
  const start = cursor === undefined
    ? Math.max(0, queryInt(query.get("offset") ?? "0") ?? 0)
    : found.findIndex((asset) => asset.id === cursor.id) + 1
  const page = found.slice(start, start + limit)
  const last = page.at(-1)
  const more = start + page.length < found.length
  return json(
    200,
    dict({
      assets: page.map((asset) => assetDict(state, asset)),
      total: found.length,
      has_more: more,
      next_cursor: last === undefined || !more ? undefined : Base64Url.encode(
        `{"s":"${sort}","v":"${by(last)}","id":"${last.id}","o":"${sign < 0 ? "desc" : "asc"}"}`
      )
    })
  )
})

export const getTags = withAssets((_, request, store) => {
  const counts = new Map([...store.tags].map((tag) => [tag, 0]))
  for (const asset of store.byId.values()) for (const tag of asset.tags) counts.set(tag, (counts.get(tag) ?? 0) + 1)
  const sorted = [...counts].toSorted(([a, x], [b, y]) => (x === y ? (a < b ? -1 : 1) : y - x))
  const offset = Math.max(0, queryInt(request.query.get("offset") ?? "0") ?? 0)
  const page = sorted.slice(offset, offset + (queryInt(request.query.get("limit") ?? "100") ?? 100))
  return json(
    200,
    dict({
      tags: page.map(([name, count]) => dict({ name, count })),
      total: sorted.length,
      has_more: offset + page.length < sorted.length
    })
  )
})

const progress = (total: number): Dict => dict({ scanned: 0, total, created: 0, skipped: total })

export const postSeed = withAssets((state, request, store) => {
  const total = state.files.list("output", true).length
  store.scanned = total
  announceScan(state, 0, total)
  return request.query.get("wait") === "true"
    ? json(200, dict({ status: "completed", progress: progress(total), errors: [] }))
    : json(202, dict({ status: "started" }))
})

export const getSeedStatus = withAssets((_, __, store) =>
  json(
    200,
    dict({
      state: "IDLE",
      progress: store.scanned === undefined ? null : progress(store.scanned),
      errors: []
    })
  )
)
