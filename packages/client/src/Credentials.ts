/**
 * What opens the door of a server behind a proxy: headers, query parameters and cookies, all `Redacted`. They go to the
 * configured origin and nowhere else, and never into an error, log, span or event.
 */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

type Secrets = Readonly<Record<string, Redacted.Redacted<string>>>

/** Sent with every request and every dial. */
export interface Credentials {
  readonly headers: Secrets
  readonly query: Secrets
  readonly cookies: Secrets
}

/** Fixed, or asked for at each request and dial; after a 401 or 403 asked once more. */
export type Source = Credentials | Effect.Effect<Credentials>

/** Nothing. */
export const none: Credentials = { headers: {}, query: {}, cookies: {} }

/** HTTP basic authentication (RFC 7617), in UTF-8. */
export const basic = (username: string, password: Redacted.Redacted<string>): Credentials =>
  header("authorization", Redacted.make(`Basic ${base64(`${username}:${Redacted.value(password)}`)}`))

/** A bearer token. */
export const bearer = (token: Redacted.Redacted<string>): Credentials =>
  header("authorization", Redacted.make(`Bearer ${Redacted.value(token)}`))

/** One header of any name. */
export const header = (name: string, value: Redacted.Redacted<string>): Credentials => ({
  ...none,
  headers: { [name.toLowerCase()]: value }
})

/** One query parameter, on HTTP and on the socket: the way for browsers, whose sockets carry no headers. */
export const query = (name: string, value: Redacted.Redacted<string>): Credentials => ({
  ...none,
  query: { [name]: value }
})

/** One cookie. */
export const cookie = (name: string, value: Redacted.Redacted<string>): Credentials => ({
  ...none,
  cookies: { [name]: value }
})

/** All of them; of one name the last wins. */
export const all = (...parts: ReadonlyArray<Credentials>): Credentials => ({
  headers: Object.assign({}, ...parts.map((part) => part.headers)),
  query: Object.assign({}, ...parts.map((part) => part.query)),
  cookies: Object.assign({}, ...parts.map((part) => part.cookies))
})

const base64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
