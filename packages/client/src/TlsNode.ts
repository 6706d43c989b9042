/** What a private network needs to be trusted: an own certificate authority, a client certificate. */
import * as Redacted from "effect/Redacted"

export interface Tls {
  /** PEM of the authorities to trust instead of the public ones. */
  readonly ca?: string
  /** PEM of the client certificate … */
  readonly cert?: string
  /** … and of its key. */
  readonly key?: Redacted.Redacted<string>
}

/** As Node's `tls` wants it. */
export const toNode = ({ ca, cert, key }: Tls = {}) => ({
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key: Redacted.value(key) })
})
