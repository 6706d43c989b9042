/** JSON as ComfyUI writes it: integers of any size, and bare NaN and infinities. */
export type Json = null | boolean | number | bigint | string | ReadonlyArray<Json> | JsonObject

/** A JSON object; ask `Object.hasOwn` before reading it by a name that others chose. */
export interface JsonObject {
  readonly [key: string]: Json
}

/** The way to a member: keys of objects and indexes of arrays, from the root. */
export type JsonPath = ReadonlyArray<string | number>

/** Why a text is not acceptable JSON; `offset` counts UTF-16 units from 0. */
export type JsonProblem =
  | { readonly _tag: "Syntax"; readonly offset: number; readonly excerpt: string }
  | { readonly _tag: "TooLarge"; readonly length: number; readonly limit: number }
  | { readonly _tag: "TooDeep"; readonly limit: number }
  | { readonly _tag: "DuplicateKey"; readonly path: JsonPath }
