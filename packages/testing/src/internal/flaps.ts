// What comes and goes by the clock: who is away now, and when that changes.
import type { Fault, Flapping } from "../FaultData.ts"
import { span } from "./strikes.ts"

interface Flap {
  readonly what: Flapping
  readonly upMs: number
  readonly downMs: number
  readonly until: number
  down: boolean
  /** When that changes. */
  at: number
  /** How often it may still go away. */
  left: number
}

/** One change: what goes away until `until`, or is back. */
export interface Turn {
  readonly what: Flapping
  readonly down: boolean
  readonly until: number
}

const back = ({ at, what }: Flap): Turn => ({ what, down: false, until: at })

export class Flaps {
  readonly #flaps = new Map<number, Flap>()
  #ended: Array<number> = []

  inject(id: number, fault: Extract<Fault, { readonly _tag: "Flap" }>, now: number): void {
    const { from, until } = span(fault.schedule, now)
    // A time of nothing would be a loop without end.
    const upMs = Math.max(1, fault.upMs)
    const downMs = Math.max(1, fault.downMs)
    const left = fault.schedule.times ?? Number.POSITIVE_INFINITY
    if (left <= 0) this.#ended.push(id)
    else this.#flaps.set(id, { what: fault.what, upMs, downMs, until, down: false, at: from + upMs, left })
  }

  /** Takes one back, or all; what was away is back. */
  heal(id: number | undefined): ReadonlyArray<Turn> {
    const gone = [...this.#flaps].filter(([key]) => id === undefined || key === id)
    for (const [key] of gone) this.#flaps.delete(key)
    return gone.flatMap(([, flap]) => flap.down ? [back(flap)] : [])
  }

  #end(id: number): void {
    this.#flaps.delete(id)
    this.#ended.push(id)
  }

  /** Those that went away for the last time; asking forgets them. */
  takeEnded(): ReadonlyArray<number> {
    const ended = this.#ended
    this.#ended = []
    return ended
  }

  next(): number | undefined {
    let next: number | undefined
    for (const { at, until } of this.#flaps.values()) {
      const change = Math.min(at, until)
      if (next === undefined || change < next) next = change
    }
    return next
  }

  /** The changes that are due. */
  turn(now: number): ReadonlyArray<Turn> {
    const out: Array<Turn> = []
    for (const [id, flap] of this.#flaps) {
      if (flap.until <= now) {
        this.#end(id)
        if (flap.down) out.push(back(flap))
      } else if (flap.at <= now && flap.down) {
        flap.down = false
        out.push(back(flap))
        flap.at += flap.upMs
        if (flap.left <= 0) this.#end(id)
      } else if (flap.at <= now) {
        flap.down = true
        flap.left--
        flap.at += flap.downMs
        out.push({ what: flap.what, down: true, until: flap.at })
      }
    }
    return out
  }
}
