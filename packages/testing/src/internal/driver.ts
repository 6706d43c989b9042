// Drives one faulty server on a clock: inputs in, outputs to whoever waits for them, a timer for the next wake. All
// shells use it; what differs is how they carry a socket and an answer.
import * as Result from "effect/Result"
import type * as FakeComfy from "../FakeComfy.ts"
import * as FaultyComfy from "../FaultyComfy.ts"

export type HttpOutcome = Extract<FaultyComfy.Output, { readonly _tag: "HttpResponse" | "HttpAborted" }>

/** The carrier's side of one socket. */
export interface Carrier {
  readonly opened: () => void
  readonly refused: (
    response: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: Uint8Array }
  ) => void
  readonly received: (frame: string | Uint8Array<ArrayBuffer>) => void
  readonly closed: (code: number, reason: string) => void
  readonly ponged: () => void
  /** Bytes that are no frame; a carrier without a real connection breaks instead. */
  readonly raw: (bytes: Uint8Array) => void
}

export interface Driving {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Calls `fire` after so many milliseconds, unless called again before. */
  readonly wake: (ms: number, fire: () => void) => void
  readonly onCrash?: (reason: string) => void
  /** Connections get through again, or no more. */
  readonly onReachable?: (reachable: boolean) => void
}

type Untimed<A> = A extends { readonly now: number } ? Omit<A, "now"> : never

/** An input without its time: the driver knows that. */
type Command = Untimed<FaultyComfy.Input>

export class Driver {
  readonly state: FaultyComfy.State
  readonly #driving: Driving
  readonly #start: number
  readonly #answers = new Map<number, (outcome: HttpOutcome) => void>()
  readonly #carriers = new Map<number, Carrier>()
  readonly #queue: Array<Command> = []
  #busy = false
  #ids = 0
  #armedFor = Number.POSITIVE_INFINITY

  constructor(options: FakeComfy.Options, driving: Driving) {
    this.state = FaultyComfy.init(options)
    this.#driving = driving
    this.#start = driving.now()
  }

  now(): number {
    return this.#driving.now() - this.#start
  }

  /** Hands an input over; what it causes happens before this returns, unless it comes from within such a cause. */
  input(command: Command): void {
    this.#queue.push(command)
    if (this.#busy) return
    this.#busy = true
    let defect: { readonly cause: unknown } | undefined
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const input = { ...next, now: this.now() } as FaultyComfy.Input
      const [, outputs] = FaultyComfy.step(this.state, input)
      for (const output of outputs) {
        // A listener that throws must not stop the server, nor go unseen.
        const delivered = Result.try(() => this.#deliver(output))
        if (Result.isFailure(delivered)) defect ??= { cause: delivered.failure }
      }
    }
    this.#busy = false
    this.#arm()
    if (defect !== undefined) throw defect.cause
  }

  /** Brings the server up to now, for somebody who looks at it. */
  settle(): void {
    this.input({ _tag: "Tick" })
  }

  request(
    request: {
      readonly method: string
      readonly path: string
      readonly headers: Readonly<Record<string, string>>
      readonly body: Uint8Array
    },
    done: (outcome: HttpOutcome) => void
  ): number {
    const id = ++this.#ids
    this.#answers.set(id, done)
    this.input({ _tag: "HttpRequest", id, ...request })
    return id
  }

  /** Nobody waits for this answer any more. */
  abandon(id: number): void {
    if (this.#answers.delete(id)) this.input({ _tag: "HttpGone", id })
  }

  /** A number for a connection to come: whoever carries it must know it before the server's first word. */
  nextConn(): number {
    return ++this.#ids
  }

  open(conn: number, path: string, headers: Readonly<Record<string, string>>, carrier: Carrier): void {
    this.#carriers.set(conn, carrier)
    this.input({ _tag: "SocketOpen", conn, path, headers })
  }

  /** The carrier is gone: nothing is delivered to it any more. */
  forget(conn: number): void {
    this.#carriers.delete(conn)
  }

  isHalfOpen(conn: number): boolean {
    return this.state.conns.get(conn)?.halfOpen ?? false
  }

  #deliver(output: FaultyComfy.Output): void {
    switch (output._tag) {
      case "HttpResponse":
      case "HttpAborted": {
        const done = this.#answers.get(output.id)
        this.#answers.delete(output.id)
        done?.(output)
        break
      }
      case "SocketAccepted":
        this.#carriers.get(output.conn)?.opened()
        break
      case "SocketRefused": {
        const carrier = this.#carriers.get(output.conn)
        this.#carriers.delete(output.conn)
        carrier?.refused(output)
        break
      }
      case "SocketSend":
        this.#carriers.get(output.conn)?.received(output.frame)
        break
      case "SocketClosed": {
        const carrier = this.#carriers.get(output.conn)
        this.#carriers.delete(output.conn)
        carrier?.closed(output.code, output.reason)
        break
      }
      case "SocketPong":
        this.#carriers.get(output.conn)?.ponged()
        break
      case "SocketRaw":
        this.#carriers.get(output.conn)?.raw(output.bytes)
        break
      case "Reachable":
        this.#driving.onReachable?.(output.reachable)
        break
      case "Crash":
        this.#driving.onCrash?.(output.reason)
        break
    }
  }

  #arm(): void {
    const wake = FaultyComfy.nextWake(this.state)
    if (wake === undefined || wake >= this.#armedFor) return
    this.#armedFor = wake
    this.#driving.wake(Math.max(0, wake - this.now()), () => {
      this.#armedFor = Number.POSITIVE_INFINITY
      this.settle()
    })
  }
}
