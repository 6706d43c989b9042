// What must not stand in a file: known by the name it came under, then struck out wherever its text occurs.
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"

/** Stands for what was struck out; in a recording it matches any text. Safe in URLs, headers and JSON. */
export const marker = "__redacted__"

/** A member, header, cookie or parameter of such a name holds a secret. */
const secretWord =
  /(^|_)(pass(word|wd|phrase)?|secrets?|(?:access_|auth_|id_|refresh_)?token|api_?key|credentials?|authori[sz]ation|auth|cookie|session(_?id)?|signature|private_?key)(_|$)/

/** Headers that say nothing about who asks. Every other value is a secret: gateways invent their own names. */
const harmlessHeader =
  /^(accept(-.*)?|cache-control|connection|content-(type|encoding|disposition)|expect|if-.*|origin|pragma|range|sec-fetch-.*|te|traceparent|tracestate|upgrade|user-agent)$/

/** Headers of an answer that are kept; the others may name a session. */
const keptHeader =
  /^(accept-ranges|access-control-.*|allow|cache-control|content-(type|length|encoding|range|disposition)|etag|last-modified|location|retry-after|server|vary)$/

const snake = (name: string): string =>
  name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase().replaceAll(/[^a-z0-9]+/g, "_")

/** Shorter texts occur by chance: they are struck out where their name stands, not everywhere. */
const scrubbedFrom = 6
const maxSecrets = 10_000

const decoded = (text: string): string => Result.getOrElse(Result.try(() => decodeURIComponent(text)), () => text)

const unquoted = (json: string): string =>
  Result.getOrElse(Result.try(() => String(JSON.parse(`"${json}"`))), () => json)

const ascii = (json: string): string =>
  json.replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** How a text is written in bodies: plain, in JSON of JavaScript and of Python, in a URL. */
const variants = (text: string): ReadonlyArray<string> => {
  const json = JSON.stringify(text).slice(1, -1)
  const url = Result.getOrElse(Result.try(() => encodeURIComponent(text)), () => text)
  return [text, json, ascii(json), url, url.replaceAll("%20", "+")]
}

const escapeRegExp = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&")

/** Learns secrets while traffic passes, and strikes them out of what was kept. */
export class Redactor {
  readonly #names: ReadonlySet<string>
  readonly #secrets = new Set<string>()
  #overflow = false
  #pattern: RegExp | undefined

  constructor(names: ReadonlyArray<string>, values: ReadonlyArray<string>) {
    this.#names = new Set(names.map(snake))
    for (const value of values) this.#add(value)
  }

  /** More secrets than are remembered: what was kept cannot be trusted. */
  get overflow(): { readonly limit: number } | undefined {
    return this.#overflow ? { limit: maxSecrets } : undefined
  }

  isSecret(name: string): boolean {
    const plain = snake(name)
    return this.#names.has(plain) || secretWord.test(plain)
  }

  #add(value: string): void {
    if (value === "" || value === marker || this.#secrets.has(value)) return
    if (this.#secrets.size >= maxSecrets) this.#overflow = true
    else this.#secrets.add(value)
    this.#pattern = undefined
  }

  /** A text that must not be seen again, wherever it turns up. */
  learn(value: string): void {
    if (value.length >= scrubbedFrom) this.#add(value)
  }

  #learnHeader(name: string, value: string): void {
    this.learn(value)
    if (name === "cookie" || name === "set-cookie") {
      for (const pair of value.split(/[;,]\s*/)) {
        const secret = pair.slice(pair.indexOf("=") + 1).trim()
        this.learn(secret)
        this.learn(decoded(secret))
      }
    }
    const [scheme = "", credentials] = value.split(/\s+/, 2)
    if (credentials === undefined) return
    this.learn(credentials)
    if (scheme.toLowerCase() !== "basic") return
    const userinfo = Result.getOrElse(Base64.decodeString(credentials), () => "")
    this.learn(userinfo)
    this.learn(userinfo.slice(userinfo.indexOf(":") + 1))
  }

  requestHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
    return Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) => {
        const lower = name.toLowerCase()
        if (lower === "host" || lower === "content-length") return []
        if (harmlessHeader.test(lower) && !this.isSecret(lower)) return [[lower, value]]
        this.#learnHeader(lower, value)
        return [[lower, marker]]
      })
    )
  }

  responseHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
    return Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) => {
        const lower = name.toLowerCase()
        if (keptHeader.test(lower) && !this.isSecret(lower)) {
          return [[lower, lower === "location" ? this.path(value) : value]]
        }
        if (this.isSecret(lower)) this.#learnHeader(lower, value)
        return []
      })
    )
  }

  /** A path with its query; parameters with the name of a secret lose their value. */
  path(path: string): string {
    const cut = path.indexOf("?")
    if (cut === -1) return path
    const pairs = path.slice(cut + 1).split("&").map((pair) => {
      const equals = pair.indexOf("=")
      if (equals === -1 || !this.isSecret(decoded(pair.slice(0, equals)))) return pair
      this.learn(pair.slice(equals + 1))
      this.learn(decoded(pair.slice(equals + 1)))
      return `${pair.slice(0, equals)}=${marker}`
    })
    return `${path.slice(0, cut)}?${pairs.join("&")}`
  }

  /** A body or frame: texts under the name of a secret are struck out, nothing else of it changes. */
  text(text: string): string {
    return text.replaceAll(
      /"((?:[^"\\]|\\.){1,200})"(\s*:\s*)"((?:[^"\\]|\\.)*)"/g,
      (whole, name: string, between: string, value: string) => {
        if (value === "" || value === marker || !this.isSecret(unquoted(name))) return whole
        this.learn(unquoted(value))
        return `"${name}"${between}"${marker}"`
      }
    )
  }

  /** Strikes out every known secret, however it is written. */
  scrub(text: string): string {
    if (this.#secrets.size === 0) return text
    this.#pattern ??= new RegExp(
      [...new Set([...this.#secrets].flatMap(variants))]
        .toSorted((a, b) => b.length - a.length)
        .map(escapeRegExp)
        .join("|"),
      "g"
    )
    return text.replace(this.#pattern, marker)
  }
}
