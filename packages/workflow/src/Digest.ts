/** SHA-256, synchronously on every platform: Node's own where there is one, else `@noble/hashes`. */
import { sha256 as portable } from "@noble/hashes/sha2.js"
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js"

interface NodeHash {
  update(data: string | Uint8Array): NodeHash
  digest(encoding: "hex"): string
}

interface NodeCrypto {
  readonly hash: (algorithm: "sha256", data: string | Uint8Array, encoding: "hex") => string
  readonly createHash: (algorithm: "sha256") => NodeHash
}

/** Found at run time, never imported: a browser bundle stays free of Node. */
const nodeCrypto = (): NodeCrypto | undefined => {
  const host: {
    readonly globalThis: unknown
    readonly process?: { readonly getBuiltinModule?: (id: "node:crypto") => NodeCrypto }
  } = globalThis
  return host.process?.getBuiltinModule?.("node:crypto")
}

const crypto = nodeCrypto()

/** 64 lowercase hexadecimal digits of a text (as UTF-8) or of bytes. */
export const sha256 = (data: string | Uint8Array): string =>
  crypto === undefined
    ? bytesToHex(portable(typeof data === "string" ? utf8ToBytes(data) : data))
    : crypto.hash("sha256", data, "hex")

/** A digest of bytes that come in pieces; `digest` ends it. */
export interface Hasher {
  readonly update: (chunk: Uint8Array) => void
  readonly digest: () => string
}

export const hasher = (): Hasher => {
  if (crypto !== undefined) {
    const hash = crypto.createHash("sha256")
    return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest("hex") }
  }
  const hash = portable.create()
  return { update: (chunk) => void hash.update(chunk), digest: () => bytesToHex(hash.digest()) }
}
