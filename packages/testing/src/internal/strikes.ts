// The faults in force: which of them strike, by count, time and chance.
import type {
  Action,
  Fault,
  FrameAction,
  NodeAction,
  NodeInfo,
  RequestInfo,
  Schedule,
  UpgradeAction
} from "../FaultData.ts"
import { dice } from "./dice.ts"
import { matchesFrame, matchesNode, matchesRequest } from "./matching.ts"

interface Active {
  readonly id: number
  readonly fault: Fault
  readonly from: number
  readonly until: number
  skip: number
  left: number
}

/** A fault on frames that matches; whether it strikes is asked when its turn comes. */
interface FrameStrike {
  readonly action: FrameAction
  readonly strikes: (frame: string | Uint8Array) => boolean
}

/** From when to when a fault is in force that was injected now. */
export const span = (schedule: Schedule, now: number): { readonly from: number; readonly until: number } => ({
  from: now + (schedule.afterMs ?? 0),
  until: schedule.forMs === undefined ? Number.POSITIVE_INFINITY : now + schedule.forMs
})

export class Strikes {
  #active: Array<Active> = []
  /** From 0 to 1. */
  readonly random: () => number

  constructor(seed: number) {
    this.random = dice(seed)
  }

  inject(id: number, fault: Fault, now: number): void {
    const { skip, times } = fault.schedule
    // A soak injects for hours: what is used up must not pile up.
    this.count(now)
    this.#active.push({
      id,
      fault,
      ...span(fault.schedule, now),
      skip: skip ?? 0,
      left: times ?? Number.POSITIVE_INFINITY
    })
  }

  /** Without id all of them. */
  heal(id: number | undefined): void {
    this.#active = id === undefined ? [] : this.#active.filter((active) => active.id !== id)
  }

  /** Those that may still strike; the others are forgotten. */
  count(now: number): number {
    this.#active = this.#active.filter((active) => active.left > 0 && now < active.until)
    return this.#active.length
  }

  /** Whether a fault that matches strikes now; counts it if so. */
  #strikes(active: Active, now: number): boolean {
    if (active.left <= 0 || now < active.from || now >= active.until) return false
    if (active.skip > 0) {
      active.skip--
      return false
    }
    const { probability } = active.fault.schedule
    if (probability !== undefined && this.random() >= probability) return false
    active.left--
    return true
  }

  /** Every action that strikes what `actionOf` matches; `adds` says which of them leave room for others. */
  #together<A>(
    actionOf: (fault: Fault) => A | undefined,
    adds: (action: A) => boolean,
    now: number
  ): ReadonlyArray<A> {
    const out: Array<A> = []
    let taken = false
    for (const active of this.#active) {
      const action = actionOf(active.fault)
      if (action === undefined) continue
      const adding = adds(action)
      if ((!adding && taken) || !this.#strikes(active, now)) continue
      if (!adding) taken = true
      out.push(action)
    }
    return out
  }

  /** What strikes a request. */
  onRequest(request: RequestInfo, now: number, adds: (action: Action) => boolean): ReadonlyArray<Action> {
    return this.#together(
      (fault) => fault._tag === "OnRequest" && matchesRequest(fault.match, request) ? fault.action : undefined,
      adds,
      now
    )
  }

  /** What happens to an upgrade; undefined where it goes through. */
  onUpgrade(now: number): UpgradeAction | undefined {
    for (const active of this.#active) {
      const { fault } = active
      if (fault._tag === "OnUpgrade" && this.#strikes(active, now)) return fault.action
    }
    return undefined
  }

  /** The faults on frames, in the order in which they work. */
  onFrames(now: number): ReadonlyArray<FrameStrike> {
    const out: Array<FrameStrike> = []
    for (const active of this.#active) {
      const { fault } = active
      if (fault._tag !== "OnFrame" || active.left <= 0) continue
      out.push({
        action: fault.action,
        strikes: (frame) => matchesFrame(fault.match, frame) && this.#strikes(active, now)
      })
    }
    return out
  }

  /** What strikes a node that is about to run. */
  onNode(node: NodeInfo, now: number, adds: (action: NodeAction) => boolean): ReadonlyArray<NodeAction> {
    return this.#together(
      (fault) => fault._tag === "OnNode" && matchesNode(fault.match, node) ? fault.action : undefined,
      adds,
      now
    )
  }

  /** Whether there is a fault on nodes at all. */
  get watchesNodes(): boolean {
    return this.#active.some((active) => active.fault._tag === "OnNode")
  }

  /** Whether a fault that needs no match strikes. */
  once(tag: "LoseInterrupts" | "DiskFull" | "DeleteOutputs", now: number): boolean {
    return this.#active.some((active) => active.fault._tag === tag && this.#strikes(active, now))
  }

  #standing(now: number): ReadonlyArray<Fault> {
    return this.#active.filter((active) => now >= active.from && now < active.until).map((active) => active.fault)
  }

  /** By how many milliseconds the wall clock is wrong. */
  skewMs(now: number): number {
    let skew = 0
    for (const fault of this.#standing(now)) if (fault._tag === "SkewClock") skew += fault.ms
    return skew
  }

  /** The least time without traffic after which a connection is cut: of sockets, or of those kept alive. */
  idleMs(of: "socketsMs" | "keepAliveMs", now: number): number | undefined {
    let least: number | undefined
    for (const fault of this.#standing(now)) {
      const ms = fault._tag === "IdleCut" ? fault[of] : undefined
      if (ms !== undefined && (least === undefined || ms < least)) least = ms
    }
    return least
  }
}
