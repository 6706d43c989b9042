// Requests as handlers see them, and answers as aiohttp writes them.
import * as Option from "effect/Option"
import { type Py } from "./py.ts"
import { dumps, encode } from "./pyJson.ts"

export interface Request {
  readonly method: string
  /** Without query, percent-decoded per segment. */
  readonly path: string
  readonly query: ReadonlyMap<string, string>
  /** What the `{name}` segments of the route matched. */
  readonly params: ReadonlyArray<string>
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

export interface Response {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

const nothing = new Uint8Array(0)

/** Only a status: 200 of `/interrupt`, 404 of `/view`, 403 of the origin check. */
export const empty = (status: number, headers: Readonly<Record<string, string>> = {}): Response => ({
  status,
  headers,
  body: nothing
})

export const jsonText = (status: number, text: string): Response => ({
  status,
  headers: { "content-type": "application/json; charset=utf-8" },
  body: encode(text)
})

export const text = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Response => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8", ...headers },
  body: encode(body)
})

/** What every uncaught exception becomes. */
export const serverError: Response = {
  status: 500,
  headers: { "content-type": "text/plain; charset=utf-8", connection: "close" },
  get body() {
    return encode("500 Internal Server Error\n\nServer got itself in trouble")
  }
}

/** JSON of any value; what cannot be written is an uncaught exception. */
export const json = (status: number, value: Py): Response =>
  Option.match(dumps(value), { onNone: () => serverError, onSome: (body) => jsonText(status, body) })

export const bytes = (status: number, type: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
  ({ status, headers: { "content-type": type, ...headers }, body }) satisfies Response

const percent = /%([0-9a-fA-F]{2})/g

/** Percent-decoding that takes what is no UTF-8 as it stands. */
export const unescape = (part: string): string => {
  if (!part.includes("%")) return part
  const source = encode(
    part.replace(percent, (_, digits: string) => String.fromCharCode(0xf000 + Number.parseInt(digits, 16)))
  )
  // Escaped bytes travel as U+F000 + byte, three UTF-8 bytes each, so that they join with their neighbours.
  const out: Array<number> = []
  for (let i = 0; i < source.length; i++) {
    const [a = 0, b = 0, c = 0] = [source[i], source[i + 1], source[i + 2]]
    if (a === 0xef && (b & 0xfc) === 0x80) {
      out.push(((b & 3) << 6) | (c & 63))
      i += 2
    } else out.push(a)
  }
  return lenient.decode(Uint8Array.from(out))
}

const lenient = new TextDecoder("utf-8")

/** The first value of each name counts. */
export const parseQuery = (search: string): ReadonlyMap<string, string> => {
  const out = new Map<string, string>()
  for (const pair of search.split("&")) {
    if (pair === "") continue
    const at = pair.indexOf("=")
    const name = unescape((at < 0 ? pair : pair.slice(0, at)).replaceAll("+", " "))
    if (!out.has(name)) out.set(name, at < 0 ? "" : unescape(pair.slice(at + 1).replaceAll("+", " ")))
  }
  return out
}

/** int() of a query value: undefined where Python raises. */
export const queryInt = (value: string): number | undefined => {
  const trimmed = value.trim()
  return /^[+-]?[0-9]+$/.test(trimmed) ? Number(trimmed) : undefined
}
