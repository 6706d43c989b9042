/**
 * A second prompt on a server whose run is about to end, so that the card never waits for the network: only of the models
 * that run there now, only where times are known, and taken back when another server stands idle. Pure questions.
 */
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import type { Held, Member } from "./Member.ts"

/** When a job is bound before its server is free. Times in milliseconds. */
export interface Options {
  /** The run that is there ends within this … */
  readonly endsWithin: number
  /** … and the next one lasts less than this. */
  readonly lastsLess: number
  /** It is taken back when a server that could run it has been idle for so long. */
  readonly recallAfter: number
}

const { endsWithin, lastsLess, recallAfter } = Defaults.prefetch

export const defaults: Options = {
  endsWithin: Duration.toMillis(endsWithin),
  lastsLess: Duration.toMillis(lastsLess),
  recallAfter: Duration.toMillis(recallAfter)
}

/** The one run of ours that a second may follow: nothing else is there, of ours or of others. */
export const running = (member: Member): Held | undefined => {
  if (member.runs.size !== 1 || member.load.foreign > 0 || !member.connected || !Fleet.isUp(member)) return undefined
  // Behind a run that the server never took the next one would not wait.
  for (const held of member.runs.values()) return held.fenced || held.isNext || !held.accepted ? undefined : held
  return undefined
}

/**
 * From when on a job of the same key may follow, monotonic milliseconds; undefined: not behind this run. Estimates that
 * rest on nothing, runs that are overdue by as much, and next ones that last too long say no.
 */
export const ripeAt = (
  { estimates }: Fleet.Fleet,
  member: Member,
  held: Held,
  options: Options,
  now: number
): number | undefined => {
  const { samples, warmMs } = Estimates.estimate(estimates, member.facts.id, held.key)
  if (samples === 0 || warmMs >= options.lastsLess) return undefined
  const endsAt = held.since + held.expectedMs
  return now > endsAt + options.endsWithin ? undefined : endsAt - options.endsWithin
}
