/** What a private network needs to be trusted: an own certificate authority, a client certificate. */
export interface Tls {
  /** PEM of the authorities to trust instead of the public ones. */
  readonly ca?: string
  /** PEM of the client certificate, and of its key. */
  readonly cert?: string
  readonly key?: string
}
