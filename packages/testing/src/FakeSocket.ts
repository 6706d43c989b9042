/** The client's end of a fake connection: what `ws` or a browser's WebSocket looks like from its user. */
import type * as Socket from "effect/socket/Socket"

/** What the socket tells its server. */
export interface Wire {
  readonly send: (frame: string | Uint8Array) => void
  readonly ping: () => void
  /** The close handshake begins; the server answers with `closed`. */
  readonly close: (code: number, reason: string) => void
  /** The connection ends without a handshake. */
  readonly terminate: () => void
}

type EventName = "open" | "message" | "error" | "close"
type Listener = (event: Socket.WebSocketEvent) => void

interface Registered {
  readonly listener: Listener
  readonly once: boolean
}

const encoder = new TextEncoder()

/**
 * Events come synchronously and in order, binary frames as `ArrayBuffer`. A refused upgrade is an `error` event whose
 * `message` and `error` name the status, as those of `ws`, then `close` with 1006.
 */
export class FakeSocket implements Socket.WebSocketLike {
  static readonly CONNECTING = 0
  static readonly OPEN = 1
  static readonly CLOSING = 2
  static readonly CLOSED = 3

  readonly url: string
  readonly protocol = ""
  readonly extensions = ""
  binaryType = "arraybuffer"
  readyState: number = FakeSocket.CONNECTING
  bufferedAmount = 0
  readonly #wire: Wire
  readonly #listeners: Record<EventName, Array<Registered>> = { open: [], message: [], error: [], close: [] }

  constructor(url: string, wire: Wire) {
    this.url = url
    this.#wire = wire
  }

  addEventListener(type: EventName, listener: Listener, options?: { readonly once?: boolean }): void {
    if (this.#listeners[type].some((one) => one.listener === listener)) return
    this.#listeners[type].push({ listener, once: options?.once ?? false })
  }

  removeEventListener(type: EventName, listener: Listener): void {
    this.#listeners[type] = this.#listeners[type].filter((one) => one.listener !== listener)
  }

  #emit(type: EventName, event: Socket.WebSocketEvent): void {
    for (const one of this.#listeners[type].slice()) {
      if (one.once) this.removeEventListener(type, one.listener)
      one.listener(event)
    }
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.readyState === FakeSocket.CONNECTING) throw new Error("WebSocket is not open: readyState 0 (CONNECTING)")
    if (this.readyState !== FakeSocket.OPEN) return
    this.#wire.send(typeof data === "string" ? data : data.slice())
  }

  close(code = 1000, reason = ""): void {
    if (this.readyState >= FakeSocket.CLOSING) return
    if (code !== 1000 && (code < 3000 || code > 4999)) {
      throw new RangeError(`The close code must be 1000 or between 3000 and 4999, ${code} is not`)
    }
    if (encoder.encode(reason).length > 123) throw new RangeError("The close reason must not exceed 123 bytes")
    const connecting = this.readyState === FakeSocket.CONNECTING
    this.readyState = FakeSocket.CLOSING
    if (connecting) this.#wire.terminate()
    else this.#wire.close(code, reason)
  }

  /** The server accepted the upgrade. @internal */
  opened(): void {
    if (this.readyState !== FakeSocket.CONNECTING) return
    this.readyState = FakeSocket.OPEN
    this.#emit("open", { type: "open" })
  }

  /** A frame from the server. @internal */
  received(frame: string | Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== FakeSocket.OPEN) return
    const data = typeof frame === "string"
      ? frame
      : frame.byteOffset === 0 && frame.byteLength === frame.buffer.byteLength
      ? frame.buffer
      : frame.slice().buffer
    this.#emit("message", { type: "message", data })
  }

  /** The upgrade was answered with an HTTP status. @internal */
  refused(status: number): void {
    if (this.readyState === FakeSocket.CLOSED) return
    const message = `Unexpected server response: ${status}`
    this.#fail(message, Object.assign(new Error(message), { status }))
  }

  /** There was no connection, or it broke: `error` too, if it was never open. @internal */
  broken(message: string): void {
    if (this.readyState === FakeSocket.CLOSED) return
    if (this.readyState === FakeSocket.CONNECTING) this.#fail(message, new Error(message))
    else this.closed(1006, "")
  }

  #fail(message: string, error: Error): void {
    this.readyState = FakeSocket.CLOSING
    const event = { type: "error", message, error }
    this.#emit("error", event)
    this.closed(1006, "")
  }

  /** The connection is over. @internal */
  closed(code: number, reason: string): void {
    if (this.readyState === FakeSocket.CLOSED) return
    this.readyState = FakeSocket.CLOSED
    const event = { type: "close", code, reason, wasClean: code !== 1006 }
    this.#emit("close", event)
  }

  protected terminateNow(): void {
    if (this.readyState === FakeSocket.CLOSED) return
    this.readyState = FakeSocket.CLOSING
    this.#wire.terminate()
    this.closed(1006, "")
  }

  protected pingNow(): void {
    if (this.readyState === FakeSocket.OPEN) this.#wire.ping()
  }
}

/** With what only `ws` can do: pings, pongs, an end without handshake. */
export class FakeNodeSocket extends FakeSocket {
  #pongs: Array<() => void> = []

  ping(): void {
    this.pingNow()
  }

  terminate(): void {
    this.terminateNow()
  }

  on(event: "pong", listener: () => void): this {
    if (event === "pong") this.#pongs.push(listener)
    return this
  }

  off(event: "pong", listener: () => void): this {
    if (event === "pong") this.#pongs = this.#pongs.filter((one) => one !== listener)
    return this
  }

  /** @internal */
  ponged(): void {
    if (this.readyState === FakeSocket.OPEN) { for (const listener of this.#pongs.slice()) listener() }
  }
}
