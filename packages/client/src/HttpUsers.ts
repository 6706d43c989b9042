/** Users, their settings and their files. */
import * as Settings from "@effect-comfyui/protocol/Settings"
import * as Userdata from "@effect-comfyui/protocol/Userdata"
import * as Users from "@effect-comfyui/protocol/Users"
import type * as Json from "@effect-comfyui/workflow/Json"
import type * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import { at, type CallOptions, type HttpCall, json, withQuery } from "./HttpCall.ts"
import type { Answer } from "./HttpTransport.ts"

type Call<A> = Effect.Effect<A, ComfyHttpError>

/** Calls in the name of one user, or of the only one. Names of files may hold slashes: they are encoded. */
export interface HttpUsers {
  readonly users: Call<Users.Users>
  /** Adds a user; the answer is the id for {@link as}. */
  readonly addUser: (name: string) => Call<string>
  readonly settings: Call<Settings.Settings>
  readonly setting: (id: string) => Call<Json.Json>
  /** Merges settings over those that are stored. */
  readonly storeSettings: (settings: Settings.Settings) => Call<void>
  readonly storeSetting: (id: string, value: Json.Json) => Call<void>
  readonly listFiles: (query: Userdata.Query) => Call<Userdata.Listing>
  /** All files and folders below a path (0.3.31 and later). */
  readonly tree: (path?: string) => Call<Userdata.Tree>
  /** Opens a file; the body is a stream. A missing one is `Answered` with status 404. */
  readonly readFile: (file: string) => Call<Answer>
  /** Writes a file; an existing one with `overwrite: false` is `Answered` with status 409. */
  readonly writeFile: (file: string, content: Uint8Array, query?: Userdata.WriteQuery) => Call<Userdata.Written>
  readonly deleteFile: (file: string) => Call<void>
  readonly moveFile: (from: string, to: string, query?: Userdata.WriteQuery) => Call<Userdata.Written>
  /** The same calls in the name of another user (servers with `--multi-user`). */
  readonly as: (userId: string) => HttpUsers
}

const own = [400, 401, 403, 404, 409]

export const make = (call: HttpCall, userId?: string): HttpUsers => {
  const headers = userId === undefined ? {} : { "comfy-user": userId }
  const options = (more: CallOptions = {}): CallOptions => ({ headers, refusals: own, emptyNotFound: true, ...more })
  const post = (body: Json.Json) => options({ method: "POST", body: json(body) })
  return {
    users: call.typed(Users.Users, "/users", options()),
    addUser: (username) => call.typed(Users.UserId, "/users", post({ username })),
    settings: call.typed(Settings.Settings, "/settings", options()),
    setting: (id) => call.typed(Settings.Value, at("/settings", id), options()),
    storeSettings: (settings) => call.done("/settings", post(settings)),
    storeSetting: (id, value) => call.done(at("/settings", id), post(value)),
    listFiles: (query) => call.typed(Userdata.Listing, withQuery("/userdata", { ...query }), options()),
    tree: (path) => call.typed(Userdata.Tree, withQuery("/v2/userdata", { path }), options()),
    readFile: (file) => call.transport.send(call.request(at("/userdata", file), options())),
    writeFile: (file, content, query = {}) =>
      call.typed(
        Userdata.Written,
        withQuery(at("/userdata", file), { ...query }),
        options({ method: "POST", body: HttpBody.uint8Array(content) })
      ),
    deleteFile: (file) => call.done(at("/userdata", file), options({ method: "DELETE" })),
    moveFile: (from, to, query = {}) =>
      call.typed(
        Userdata.Written,
        withQuery(`${at("/userdata", from)}/${at("move", to)}`, { ...query }),
        options({ method: "POST" })
      ),
    as: (id) => make(call, id)
  }
}
