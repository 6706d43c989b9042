// The faults in force, and what they make of one request, upgrade or frame.
import type { Action, Fault, RawResponse, RequestInfo } from "../Fault.ts"
import { encode } from "./pyJson.ts"
import type { Output } from "./state.ts"

interface Active {
  readonly id: number
  readonly fault: Fault
  readonly until: number
  skip: number
  left: number
}

/** What happens to one request; delays are added up. */
export interface Decision {
  /** Milliseconds until the server sees it. */
  readonly delay: number
  /** Milliseconds until its answer goes out; undefined: before what the request caused. */
  readonly hold: number | undefined
  readonly main: Exclude<Action, { readonly _tag: "HoldAnswer" | "DelayRequest" }> | undefined
}

type Answer = Extract<Output, { readonly _tag: "HttpResponse" }>

/** A response as it goes out. */
export const complete = (
  response: RawResponse
): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: Uint8Array } => {
  const body = typeof response.body === "string" ? encode(response.body) : Uint8Array.from(response.body ?? [])
  return { status: response.status, headers: { "content-length": String(body.length), ...response.headers }, body }
}

/** The server's answer, as the client gets it; undefined where it never comes. */
export const changed = (
  answer: Answer,
  action: Decision["main"]
): (Answer & { readonly cutAfter?: number }) | Extract<Output, { readonly _tag: "HttpAborted" }> | undefined => {
  const { body, headers, id, status } = answer
  switch (action?._tag) {
    case "DropAnswer":
      return { _tag: "HttpAborted", id, reason: "reset" }
    case "ReplaceAnswer":
      return { _tag: "HttpResponse", id, ...complete(action.response) }
    case "Hang":
      return undefined
    case "CutBody":
      return { ...answer, cutAfter: action.bytes }
    case "EditAnswer":
      return { _tag: "HttpResponse", id, ...complete(action.edit({ status, headers, body })) }
    default:
      return answer
  }
}

export class Strikes {
  #active: Array<Active> = []
  #random: number

  constructor(seed: number) {
    this.#random = seed | 1
  }

  inject(id: number, fault: Fault, now: number): void {
    const { forMs, skip, times } = fault.schedule
    this.#active.push({
      id,
      fault,
      until: forMs === undefined ? Number.POSITIVE_INFINITY : now + forMs,
      skip: skip ?? 0,
      left: times ?? Number.POSITIVE_INFINITY
    })
  }

  /** Without id all of them. */
  heal(id: number | undefined): void {
    this.#active = id === undefined ? [] : this.#active.filter((active) => active.id !== id)
  }

  /** Those that may still strike. */
  count(now: number): number {
    return this.#active.filter((active) => active.left > 0 && now < active.until).length
  }

  #chance(probability: number): boolean {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0
    return (this.#random >>> 0) / 4294967296 < probability
  }

  /** Whether a fault that matches strikes now; counts it if so. */
  #strikes(active: Active, now: number): boolean {
    if (active.left <= 0 || now >= active.until) return false
    if (active.skip > 0) {
      active.skip--
      return false
    }
    const { probability } = active.fault.schedule
    if (probability !== undefined && !this.#chance(probability)) return false
    active.left--
    return true
  }

  onRequest(request: RequestInfo, now: number): Decision {
    let delay = 0
    let hold: number | undefined
    let main: Decision["main"]
    for (const active of this.#active) {
      const { fault } = active
      if (fault._tag !== "OnRequest" || !fault.match(request)) continue
      const { action } = fault
      const adds = action._tag === "HoldAnswer" || action._tag === "DelayRequest"
      if ((!adds && main !== undefined) || !this.#strikes(active, now)) continue
      if (action._tag === "HoldAnswer") hold = (hold ?? 0) + action.ms
      else if (action._tag === "DelayRequest") delay += action.ms
      else main = action
    }
    return { delay, hold, main }
  }

  /** The answer in the place of the server's; undefined where the upgrade goes through. */
  onUpgrade(now: number): RawResponse | "reset" | undefined {
    for (const active of this.#active) {
      const { fault } = active
      if (fault._tag === "OnUpgrade" && this.#strikes(active, now)) return fault.response
    }
    return undefined
  }

  /** By how many milliseconds a frame comes later; undefined where it is lost. */
  onFrame(frame: string | Uint8Array, now: number): number | undefined {
    let delay = 0
    for (const active of this.#active) {
      const { fault } = active
      if (fault._tag !== "OnFrame" || !fault.match(frame) || !this.#strikes(active, now)) continue
      if (fault.action === "drop") return undefined
      delay += fault.action.delayMs
    }
    return delay
  }
}
