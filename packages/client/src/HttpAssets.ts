/** Assets: content by hash, off on most servers. Ask the feature flag `assets` first. */
import * as Assets from "@effect-comfyui/protocol/Assets"
import type * as Json from "@effect-comfyui/workflow/Json"
import * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import type { HttpMethod } from "effect/http/HttpMethod"
import type * as Option from "effect/Option"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import { at, type CallOptions, type HttpCall, isNotFound, json, withQuery } from "./HttpCall.ts"
import type { Answer } from "./HttpTransport.ts"

type Call<A> = Effect.Effect<A, ComfyHttpError>

/** A server without assets answers each of these with status 503, `Answered`. */
export interface HttpAssets {
  readonly list: (query: Assets.Query) => Call<Assets.Page>
  readonly get: (id: string) => Call<Option.Option<Assets.Asset>>
  /** Uploads a form: `file`, `tags`, `name`, `hash` … */
  readonly upload: (form: HttpBody.HttpBody) => Call<Assets.Asset>
  /** Registers content that the server has already; none if it has not. */
  readonly fromHash: (request: Assets.FromHash) => Call<Option.Option<Assets.Asset>>
  /** Whether the server has content of this hash (`blake3:…`). */
  readonly hasHash: (hash: string) => Call<boolean>
  readonly update: (id: string, update: Assets.Update) => Call<Assets.Asset>
  readonly delete: (id: string) => Call<void>
  /** Opens the content; the body is a stream. */
  readonly content: (id: string) => Call<Answer>
  readonly addTags: (id: string, tags: ReadonlyArray<string>) => Call<Assets.TagsUpdated>
  readonly removeTags: (id: string, tags: ReadonlyArray<string>) => Call<Assets.TagsUpdated>
  readonly tags: Call<Assets.Tags>
  /** Scans the folders; with `wait` the answer comes when it is over. */
  readonly seed: (wait?: boolean) => Call<Assets.Seed>
  readonly seedStatus: Call<Assets.Seed>
}

export const make = (call: HttpCall): HttpAssets => {
  const refusals = { refusals: [400, 404, 409, 503] }
  const send = (method: HttpMethod, body?: Json.Json): CallOptions => ({
    ...refusals,
    method,
    ...(body === undefined ? {} : { body: json(body) })
  })
  const asset = (id: string, ...rest: ReadonlyArray<string>) => at("/api/assets", id, ...rest)
  return {
    list: (query) => call.typed(Assets.Page, withQuery("/api/assets", { ...query }), refusals),
    get: (id) => call.optional(Assets.Asset, asset(id), refusals),
    upload: (form) => call.typed(Assets.Asset, "/api/assets", { ...refusals, method: "POST", body: form }),
    fromHash: (request) => call.optional(Assets.Asset, "/api/assets/from-hash", send("POST", request)),
    hasHash: (hash) =>
      call.transport.send(call.request(at("/api/assets/hash", hash), {
        ...refusals,
        method: "HEAD",
        emptyNotFound: true
      })).pipe(
        Effect.as(true),
        Effect.catchIf(isNotFound, () => Effect.succeed(false))
      ),
    update: (id, update) => call.typed(Assets.Asset, asset(id), send("PUT", update)),
    delete: (id) => call.done(asset(id), send("DELETE")),
    content: (id) => call.transport.send(call.request(asset(id, "content"), refusals)),
    addTags: (id, tags) => call.typed(Assets.TagsUpdated, asset(id, "tags"), send("POST", { tags })),
    removeTags: (id, tags) => call.typed(Assets.TagsUpdated, asset(id, "tags"), send("DELETE", { tags })),
    tags: call.typed(Assets.Tags, "/api/tags", refusals),
    seed: (wait = false) =>
      call.typed(Assets.Seed, withQuery("/api/assets/seed", { wait: wait ? true : undefined }), send("POST")),
    seedStatus: call.typed(Assets.Seed, "/api/assets/seed/status", refusals)
  }
}
