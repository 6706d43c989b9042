// Wall-clock times as people and HTTP write them.
import * as DateTime from "effect/DateTime"

const date = (ms: number): Date => DateTime.toDateUtc(DateTime.makeUnsafe(Math.floor(ms)))

/** `Sat, 21 Nov 2026 09:36:08 GMT` */
export const httpDate = (ms: number): string => date(ms).toUTCString()

/** Microseconds and no zone, as Python's isoformat. */
export const isoLocal = (ms: number): string => date(ms).toISOString().replace("Z", "000")

const two = (value: number): string => String(value).padStart(2, "0")

/** The `%…%` parts of a file prefix. */
export const dateParts = (ms: number): Readonly<Record<string, string>> => {
  const at = date(ms)
  return {
    year: String(at.getUTCFullYear()),
    month: two(at.getUTCMonth() + 1),
    day: two(at.getUTCDate()),
    hour: two(at.getUTCHours()),
    minute: two(at.getUTCMinutes()),
    second: two(at.getUTCSeconds())
  }
}
