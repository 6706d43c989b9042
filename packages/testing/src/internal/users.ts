// Settings, users and their files, for the one user of a server without --multi-user.
import * as Option from "effect/Option"
import { contentType } from "../ImageFile.ts"
import { inside } from "./files.ts"
import { empty, json, type Request, type Response, serverError, text } from "./http.ts"
import { type Dict, dict, Float, isDict, type Py, truthy } from "./py.ts"
import { encode, loadsBytes } from "./pyJson.ts"
import { type State, uuid } from "./state.ts"
import { fileResponse } from "./view.ts"

export const getUsers = (): Response => json(200, dict({ storage: "server", migrated: true }))

export const postUsers = (state: State, request: Request): Response => {
  const body = Option.getOrUndefined(loadsBytes(request.body))
  const name = isDict(body) ? body.get("username") : undefined
  if (typeof name !== "string") return serverError
  const safe = name.replace(/[^a-zA-Z0-9_-]/g, "")
  return json(200, `${safe}_${uuid(state)}`)
}

const all = (state: State): Dict => new Map(state.users)

export const getSettings = (state: State): Response => json(200, all(state))

export const getSetting = (state: State, request: Request): Response =>
  json(200, state.users.get(request.params[0] ?? "") ?? null)

export const postSettings = (state: State, request: Request): Response => {
  const body = Option.getOrUndefined(loadsBytes(request.body))
  if (!isDict(body)) return serverError
  for (const [key, value] of body) state.users.set(key, value)
  return empty(200)
}

export const postSetting = (state: State, request: Request): Response => {
  const body = loadsBytes(request.body)
  if (Option.isNone(body)) return serverError
  state.users.set(request.params[0] ?? "", body.value)
  return empty(200)
}

interface UserFile {
  readonly bytes: Uint8Array
  readonly created: number
  readonly modified: number
}

const time = (state: State, ms: number): Py => (state.profile.userdataMillis ? Math.floor(ms) : new Float(ms / 1000))

const info = (state: State, path: string, file: UserFile): Dict =>
  dict({
    path,
    size: file.bytes.length,
    modified: time(state, file.modified),
    created: time(state, file.created)
  })

const flag = (request: Request, name: string): boolean => {
  const value = request.query.get(name)?.toLowerCase()
  return value === "true" || value === "1"
}

/** Names below a folder in their order, folders last. */
const below = (state: State, folder: string): ReadonlyArray<readonly [string, UserFile]> => {
  const start = folder === "" ? "" : `${folder}/`
  return [...state.userFiles].filter(([path]) => path.startsWith(start)).map(([path, file]) =>
    [path.slice(start.length), file] as const
  )
}

/** The files of a folder stand before those of its subfolders. */
const filesFirst = (a: string, b: string): number => {
  const folder = (path: string): string => path.slice(0, path.lastIndexOf("/") + 1)
  if (folder(a) !== folder(b)) return folder(a) < folder(b) ? -1 : 1
  return a < b ? -1 : 1
}

export const listUserdata = (state: State, request: Request): Response => {
  const asked = request.query.get("dir") ?? ""
  if (asked === "") return text(400, "Directory not provided")
  const folder = inside(asked)
  if (folder === undefined) return text(403, "Invalid directory")
  const files = below(state, folder)
  if (files.length === 0) return text(404, "Directory not found")
  const recurse = flag(request, "recurse")
  const shown = files.filter(([path]) => recurse || !path.includes("/")).toSorted(([a], [b]) => filesFirst(a, b))
  return json(
    200,
    shown.map(([path, file]): Py => {
      if (flag(request, "full_info")) return info(state, path, file)
      return flag(request, "split") ? [path].concat(path.split("/")) : path
    })
  )
}

export const listUserdata2 = (state: State, request: Request): Response => {
  const asked = request.query.get("path") ?? ""
  const folder = inside(asked)
  if (folder === undefined) return text(400, "Invalid path requested")
  if (state.userFiles.has(folder)) return text(400, "Requested path is not a directory")
  const files = below(state, folder)
  if (files.length === 0 && folder !== "") return text(404, "Requested path not found")
  const start = folder === "" ? "" : `${folder}/`
  const folders = new Set<string>()
  for (const [path] of files) {
    const names = path.split("/").slice(0, -1)
    names.forEach((_, index) => folders.add(names.slice(0, index + 1).join("/")))
  }
  const last = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
  const byName = (a: string, b: string): number => last(a) < last(b) ? -1 : last(a) > last(b) ? 1 : a < b ? -1 : 1
  return json(200, [
    ...[...folders].toSorted(byName).map((path) =>
      dict({ name: last(path), path: `${start}${path}`, type: "directory" })
    ),
    ...files.toSorted((a, b) => byName(a[0], b[0])).map(([path, file]) =>
      dict({
        name: last(path),
        path: `${start}${path}`,
        type: "file",
        size: file.bytes.length,
        modified: new Float(file.modified / 1000)
      })
    )
  ])
}

const active = new Set(["text/html", "text/javascript", "image/svg+xml"])

export const getUserdata = (state: State, request: Request): Response => {
  const path = inside(request.params[0] ?? "")
  if (path === undefined) return empty(403)
  const { userdataAttachment } = state.profile
  const headers = userdataAttachment
    ? {
      "x-content-type-options": "nosniff",
      "content-disposition": path === "user.css" ? "inline" : "attachment"
    }
    : {}
  const file = state.userFiles.get(path)
  if (file === undefined) {
    const folder = below(state, path).length > 0
    return folder ? empty(403, { ...headers, "content-type": "application/octet-stream" }) : empty(404)
  }
  const type = contentType(path)
  return fileResponse(
    request,
    file,
    userdataAttachment && active.has(type) ? "application/octet-stream" : type,
    headers
  )
}

/** Files beyond this are refused with 500, as a full disk would be. */
const maxUserFiles = 10_000

const store = (state: State, request: Request, path: string, bytes: Uint8Array, created: number): Response => {
  const now = state.settings.epochMs + state.now
  if (state.userFiles.size >= maxUserFiles && !state.userFiles.has(path)) return serverError
  const file = { bytes, created, modified: now }
  state.userFiles.set(path, file)
  return json(200, flag(request, "full_info") ? info(state, path, file) : path)
}

export const postUserdata = (state: State, request: Request): Response => {
  const name = request.params[0] ?? ""
  if (name.includes("\0")) return serverError
  const path = inside(name)
  if (path === undefined) return empty(403)
  if (path === "") return text(400, "Invalid filename")
  if (path.split("/").some((part) => encode(part).length > 255)) return empty(400)
  if (request.query.get("overwrite") === "false" && state.userFiles.has(path)) return text(409, "File already exists")
  return store(state, request, path, request.body.slice(), state.settings.epochMs + state.now)
}

export const deleteUserdata = (state: State, request: Request): Response => {
  const path = inside(request.params[0] ?? "")
  if (path === undefined) return empty(403)
  if (below(state, path).length > 0) return serverError
  return empty(state.userFiles.delete(path) ? 204 : 404)
}

export const moveUserdata = (state: State, request: Request): Response => {
  const from = inside(request.params[0] ?? "")
  const to = inside(request.params[1] ?? "")
  if (from === undefined || to === undefined || to === "") return empty(403)
  const file = state.userFiles.get(from)
  if (file === undefined) return empty(404)
  if (!truthy(request.query.get("overwrite") !== "false") && state.userFiles.has(to)) {
    return text(409, "File already exists")
  }
  state.userFiles.delete(from)
  return store(state, request, to, file.bytes, file.created)
}
