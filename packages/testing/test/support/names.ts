// Ids and file names differ from run to run: what one side calls something, and what the other side calls it.
const id =
  /(?<![0-9a-f])(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])/g
const savedFile = /\b\w+_[0-9]{5}_\.png/g

export class Names {
  readonly #toFake = new Map<string, string>()
  readonly #toRecorded = new Map<string, string>()

  #pair(recorded: string, fake: string): void {
    if (this.#toFake.has(recorded) || this.#toRecorded.has(fake)) return
    this.#toFake.set(recorded, fake)
    this.#toRecorded.set(fake, recorded)
  }

  /** Two texts that say the same: their names belong together, one by one. */
  learn(recorded: string, fake: string): void {
    for (const pattern of [id, savedFile]) {
      const a = recorded.match(pattern) ?? []
      const b = fake.match(pattern) ?? []
      if (a.length === b.length) a.forEach((name, index) => this.#pair(name, b[index] ?? name))
    }
  }

  /** A recorded text with the fake's names. */
  toFake(text: string): string {
    const swap = (name: string): string => this.#toFake.get(name) ?? name
    return text.replace(id, swap).replace(savedFile, swap)
  }

  /** A text of the fake with the recorded names. */
  toRecorded(text: string): string {
    const swap = (name: string): string => this.#toRecorded.get(name) ?? name
    return text.replace(id, swap).replace(savedFile, swap)
  }
}
