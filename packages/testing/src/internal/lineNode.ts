// One connection through the chaos proxy: two sockets, and between them a pipe per direction that holds bytes back.
import { connect, type Socket } from "node:net"

/** How one direction treats its bytes. All times are milliseconds, and all of it is off by default. */
export interface Toxics {
  /** Every piece comes so much later. Order is kept. */
  readonly latencyMs?: number | undefined
  /** Up to so much later or earlier than that, by the seed; never before the piece ahead of it. */
  readonly jitterMs?: number | undefined
  /** No more than so many bytes pass in a second. */
  readonly bytesPerSecond?: number | undefined
  /** Pieces of at most so many bytes, each written by itself. */
  readonly sliceBytes?: number | undefined
  /** A pause between such pieces. */
  readonly sliceMs?: number | undefined
  /** After so many bytes of a connection no more pass, in this direction; the connection stays. */
  readonly limitBytes?: number | undefined
  /** The end of one side reaches the other so much later. */
  readonly closeMs?: number | undefined
}

/** Where a direction leads. */
export type Direction = "toServer" | "toClient"

/** One open connection, as it is listed. */
export interface Connection {
  /** From 1, in the order of their arrival. */
  readonly id: number
  /** Bytes that came from the client, and from the server. */
  readonly bytesFromClient: number
  readonly bytesFromServer: number
  /** The first 200 characters of the first line that the client sent, if it is text: `GET /ws?clientId=a HTTP/1.1`. */
  readonly firstLine: string | undefined
  /** Nothing passes any more. */
  readonly blackHole: boolean
}

/** Calls back after so many milliseconds. */
export type Run = (ms: number, then: () => void) => void

interface Surroundings {
  readonly id: number
  readonly target: { readonly host: string; readonly port: number }
  readonly bufferBytes: number
  readonly run: Run
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
  readonly toxics: (direction: Direction) => Toxics
  /** From 0 to 1. */
  readonly random: () => number
  /** The client asks something; whether the answer shall be lost. */
  readonly asked: (text: string) => boolean
  readonly changed: () => void
  readonly gone: () => void
}

interface Piece {
  readonly bytes: Uint8Array
  /** Not before this time: milliseconds since the pipe began. */
  readonly at: number
}

/** Bytes on their way in one direction. */
class Pipe {
  readonly #from: Socket
  readonly #to: Socket
  readonly #direction: Direction
  readonly #around: Surroundings
  readonly #pieces: Array<Piece> = []
  #held = 0
  #passed = 0
  #lastAt = 0
  #freeAt = 0
  #busy = false
  #ended = false
  #finished = false
  bytes = 0
  closed = false

  constructor(from: Socket, to: Socket, direction: Direction, around: Surroundings) {
    this.#from = from
    this.#to = to
    this.#direction = direction
    this.#around = around
  }

  take(bytes: Uint8Array): void {
    this.bytes += bytes.length
    if (this.closed) return
    const { jitterMs = 0, latencyMs = 0 } = this.#around.toxics(this.#direction)
    const late = Math.max(0, latencyMs + jitterMs * (2 * this.#around.random() - 1))
    this.#lastAt = Math.max(this.#lastAt, this.#around.now() + late)
    this.#pieces.push({ bytes, at: this.#lastAt })
    this.#held += bytes.length
    if (this.#held >= this.#around.bufferBytes) this.#from.pause()
    this.#pump()
  }

  /** The sender has nothing more to say. */
  end(): void {
    this.#ended = true
    this.#pump()
  }

  /** Writes whatever may pass now; asks to be called again where it has to wait. */
  #pump(): void {
    while (!this.#busy && !this.closed) {
      const [piece] = this.#pieces
      if (piece === undefined) {
        if (this.#ended && !this.#finished) this.#finish()
        return
      }
      const ms = Math.max(piece.at, this.#freeAt) - this.#around.now()
      if (ms > 0) {
        this.#busy = true
        this.#around.run(ms, this.#free)
        return
      }
      const { bytesPerSecond, sliceBytes } = this.#around.toxics(this.#direction)
      // Of a narrow line no more at once than passes in a twentieth of a second.
      const even = bytesPerSecond === undefined ? piece.bytes.length : bytesPerSecond / 20
      const size = Math.max(1, Math.floor(Math.min(even, sliceBytes ?? piece.bytes.length)))
      if (size >= piece.bytes.length) this.#pieces.shift()
      else this.#pieces[0] = { bytes: piece.bytes.subarray(size), at: piece.at }
      this.#write(piece.bytes.subarray(0, size))
    }
  }

  readonly #free = (): void => {
    this.#busy = false
    this.#pump()
  }

  #finish(): void {
    this.#finished = true
    const { closeMs = 0, limitBytes } = this.#around.toxics(this.#direction)
    if (limitBytes !== undefined && this.#passed >= limitBytes) return
    const end = (): void => {
      if (!this.closed) this.#to.end()
    }
    if (closeMs <= 0) end()
    else this.#around.run(closeMs, end)
  }

  #write(bytes: Uint8Array): void {
    const { bytesPerSecond, limitBytes, sliceMs = 0 } = this.#around.toxics(this.#direction)
    const room = limitBytes === undefined ? bytes.length : Math.max(0, limitBytes - this.#passed)
    const given = bytes.subarray(0, room)
    this.#passed += given.length
    this.#held -= bytes.length
    if (this.#held < this.#around.bufferBytes) this.#from.resume()
    const cost = bytesPerSecond === undefined ? 0 : given.length / Math.max(1, bytesPerSecond) * 1_000
    this.#freeAt = this.#around.now() + Math.max(cost, sliceMs)
    if (given.length > 0 && !this.#to.destroyed && !this.#to.write(given)) {
      this.#busy = true
      this.#to.once("drain", this.#free)
    }
  }
}

/** Characters of a first line that are kept. */
const maxFirstLine = 200

const decoder = new TextDecoder("latin1")

export class Line {
  readonly #client: Socket
  readonly #server: Socket
  readonly #around: Surroundings
  readonly #toServer: Pipe
  readonly #toClient: Pipe
  #firstLine: string | undefined
  #blackHole = false
  #loses = false
  #open = 2

  constructor(client: Socket, around: Surroundings) {
    this.#client = client
    this.#around = around
    this.#server = connect({ ...around.target, allowHalfOpen: true })
    this.#toServer = new Pipe(client, this.#server, "toServer", around)
    this.#toClient = new Pipe(this.#server, client, "toClient", around)
  }

  start(): void {
    for (const socket of [this.#client, this.#server]) {
      socket.setNoDelay(true)
      // Of a black hole the other side must not learn; else a broken side breaks the other.
      socket.on("error", () => {
        if (!this.#blackHole) this.reset()
      })
      socket.on("close", () => {
        if (!this.#blackHole && --this.#open === 0) this.#around.gone()
      })
    }
    this.#client.on("data", (bytes: Uint8Array) => {
      const text = decoder.decode(bytes)
      this.#firstLine ??= /^[ -~]+/.exec(text.slice(0, maxFirstLine))?.[0]
      if (!this.#blackHole) this.#loses ||= this.#around.asked(text)
      this.#toServer.take(bytes)
      this.#around.changed()
    })
    this.#server.on("data", (bytes: Uint8Array) => {
      if (this.#loses) this.reset()
      else this.#toClient.take(bytes)
      this.#around.changed()
    })
    this.#client.on("end", () => this.#toServer.end())
    this.#server.on("end", () => this.#toClient.end())
    this.#client.resume()
    this.#around.changed()
  }

  cut(): void {
    this.#stop()
    for (const socket of [this.#client, this.#server]) {
      socket.end()
      // Whoever does not end its side in return is not waited for.
      socket.destroySoon()
    }
    this.#around.gone()
  }

  reset(): void {
    this.#stop()
    for (const socket of [this.#client, this.#server]) {
      if (!socket.destroyed) socket.resetAndDestroy()
    }
    this.#around.gone()
  }

  blackHole(): void {
    this.#blackHole = true
    this.#stop()
    this.#around.changed()
  }

  #stop(): void {
    this.#toServer.closed = true
    this.#toClient.closed = true
  }

  look(): Connection {
    return {
      id: this.#around.id,
      bytesFromClient: this.#toServer.bytes,
      bytesFromServer: this.#toClient.bytes,
      firstLine: this.#firstLine,
      blackHole: this.#blackHole
    }
  }
}
