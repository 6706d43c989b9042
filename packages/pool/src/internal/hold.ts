import * as Duration from "effect/Duration"
import * as Defaults from "../Defaults.ts"

const { hold, holdCap } = Defaults.recovery

/** How long a server that is away is waited for, for the sake of a run that took so long; milliseconds. */
export const holdMs = (ranMs: number): number =>
  Math.min(Math.max(Duration.toMillis(hold), ranMs / 2), Duration.toMillis(holdCap))
