// What was asked of a server, as it came before any fault, and what became of it.

/** One request as it was seen before any fault. */
export interface RequestRecord {
  /** Monotonic milliseconds of the server. */
  readonly at: number
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  /** The first 64 KiB. */
  readonly body: Uint8Array
  /** Status of the answer that was sent (101: an upgrade); undefined while there is none, "aborted" if there will be none. */
  outcome: number | "aborted" | undefined
}

const maxRequests = 1_000
const maxBodyBytes = 64 * 1024

export class RequestLog {
  readonly #records: Array<RequestRecord> = []
  /** Those that somebody waits for, by the driver's id. */
  readonly #open = new Map<number, RequestRecord>()

  /** Writes a request down; beyond 1,000 the oldest goes. */
  add(
    at: number,
    request: {
      readonly method: string
      readonly path: string
      readonly headers: Readonly<Record<string, string>>
      readonly body: Uint8Array
    },
    id?: number
  ): RequestRecord {
    const { body, headers, method, path } = request
    const record: RequestRecord = {
      at,
      method,
      target: path,
      headers,
      body: body.slice(0, maxBodyBytes),
      outcome: undefined
    }
    this.#records.push(record)
    if (this.#records.length > maxRequests) this.#records.shift()
    if (id !== undefined) this.#open.set(id, record)
    return record
  }

  close(id: number, outcome: number | "aborted"): void {
    const record = this.#open.get(id)
    if (record !== undefined) record.outcome = outcome
    this.#open.delete(id)
  }

  /** Whether somebody waits for an answer. */
  isOpen(id: number): boolean {
    return this.#open.has(id)
  }

  /** The client has given up waiting. */
  forget(id: number): void {
    this.#open.delete(id)
  }

  /** Ids of the requests without an answer. */
  waiting(): ReadonlyArray<number> {
    return [...this.#open.keys()]
  }

  /** Copies, oldest first. */
  list(): ReadonlyArray<Readonly<RequestRecord>> {
    return this.#records.map((record) => ({ ...record, headers: { ...record.headers }, body: record.body.slice() }))
  }
}
