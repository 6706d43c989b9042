/** The socket of Node: the `ws` package, without compression, with limits, and with the status of a refused upgrade. */
import * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import { Buffer } from "node:buffer"
import { type ClientOptions, type RawData, WebSocket } from "ws"
import type { UnreadText, WebSocketPowers } from "./Connection.ts"
import * as Defaults from "./Defaults.ts"
import { type Tls, toNode } from "./TlsNode.ts"

/** Limits of every socket of the layer. */
export interface WebSocketOptions {
  /** The largest frame in bytes; a larger one ends the connection with 1009. Default 256 MiB. */
  readonly maxFrameBytes?: number
  /** How long a closing handshake may take. Default 2 s. */
  readonly closeTimeout?: Duration.Input
  /** Own certificate authority or client certificate. */
  readonly tls?: Tls
}

/** From this size a text stays bytes until it is wanted: below it, asking costs more than reading. */
const unreadFrom = 16 * 1024

const toFrame = (data: RawData, isBinary: boolean): string | Uint8Array | UnreadText => {
  const bytes = Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data
  if (isBinary) return bytes
  return bytes.length < unreadFrom ? bytes.toString() : { bytes, read: () => bytes.toString() }
}

const construct = (options: WebSocketOptions): Socket.WebSocketConstructor["Service"] => (url, dial) => {
  const { headers = {}, protocols } = dial === undefined || typeof dial === "string" || Array.isArray(dial)
    ? { protocols: dial }
    : dial
  const settings: ClientOptions = {
    headers: { ...headers },
    // Frames are small and the servers near: deflating them costs a thread hop each.
    perMessageDeflate: false,
    maxPayload: options.maxFrameBytes ?? Defaults.socket.maxFrameBytes,
    followRedirects: false,
    // A text that is no UTF-8 is read with replacement characters and decoded as what it is: `Malformed`, or a frame.
    skipUTF8Validation: true,
    ...toNode(options.tls)
  }
  Object.assign(settings, { closeTimeout: Duration.toMillis(options.closeTimeout ?? Defaults.socket.closeTimeout) })
  const socket = new WebSocket(url, protocols ?? [], settings)
  socket.on("unexpected-response", (request, response) => {
    const status = response.statusCode ?? 0
    response.resume()
    request.destroy(Object.assign(new Error(`upgrade refused with status ${status}`), { status }))
  })
  const powers: Pick<WebSocketPowers, "onFrame"> = {
    onFrame: (listener) => {
      socket.on("message", (data, isBinary) => listener(toFrame(data, isBinary)))
    }
  }
  return Object.assign(socket, powers)
}

/** A `WebSocketConstructor` over `ws`. Sockets have the powers of `ws`: pings and an end without handshake. */
export const layer = (options: WebSocketOptions = {}): Layer.Layer<Socket.WebSocketConstructor> =>
  Layer.succeed(Socket.WebSocketConstructor, construct(options))
