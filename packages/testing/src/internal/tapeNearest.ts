// Which recorded request is meant by one of now, and if none is, which is most like it and why it is not that.
import * as Tape from "../Tape.ts"
import type { Redactor } from "./redact.ts"
import { bounded, type Comparison, difference, sameBytes, sameText } from "./tapeMatch.ts"
import type * as Plan from "./tapePlan.ts"

/** A request of now. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly body: Uint8Array
}

const decoder = new TextDecoder()

/** Text is compared as JSON where it is, anything else byte by byte. */
const bodyDifference = (then: Tape.Request, body: Uint8Array, how: Comparison): string | undefined => {
  if (then.base64 === undefined) return difference(then.body ?? "", decoder.decode(body), how)
  return sameBytes(Tape.bytesOf(then), body, how.ids) ? undefined : "the body differs"
}

const agrees = (how: Comparison, then: Tape.Request, { body, method, path }: Asked): boolean =>
  then.method === method && sameText(then.path, path, how.ids) && bodyDifference(then, body, how) === undefined

/** Whether a request is the recorded one; if so, their ids are one from now on. */
export const isSame = (how: Comparison, then: Tape.Request, now: Asked): boolean =>
  how.ids.attempt(() => agrees(how, then, now), (same) => same)

const segments = (path: string): ReadonlyArray<string> => path.split(/[/?&]/)

const likeness = (then: Tape.Request, now: Asked): number => {
  const words = new Set(segments(now.path))
  const shared = segments(then.path).filter((word) => words.has(word)).length
  return (then.method === now.method ? 1_000 : 0) + shared * 10 - Math.abs(segments(then.path).length - words.size)
}

/** A recorded request, in words. */
export const place = ({ at, request }: Plan.Exchange): string =>
  `${bounded(`${request.method} ${request.path}`, 200)} (line ${at + 2})`

/** What a replay knows. */
interface Known {
  readonly plan: Plan.Plan
  readonly comparison: Comparison
  readonly matched: ReadonlySet<Plan.Exchange>
}

/** Why a request is not this recorded one. */
const whyNot = (known: Known, redactor: Redactor, exchange: Plan.Exchange, now: Asked): string => {
  const { comparison, matched, plan } = known
  const then = exchange.request
  if (then.method !== now.method) return `the method was ${then.method}, is ${now.method}`
  const path = redactor.path(now.path)
  if (!sameText(then.path, path, comparison.ids)) return `the path was ${then.path}, is ${path}`
  const shown = then.base64 === undefined
    ? new TextEncoder().encode(redactor.text(decoder.decode(now.body)))
    : now.body
  const found = bodyDifference(then, shown, comparison)
  if (found !== undefined) return found
  if (matched.has(exchange)) return "asked once more than it was recorded"
  const missing = plan.answeredChanges.slice(0, exchange.behind).find((one) => !matched.has(one))
  return missing === undefined ? "it differs" : `it came after ${place(missing)}, which was not asked yet`
}

/** The recorded request that is most like this one, and where they differ; undefined where none was recorded. */
export const nearest = (
  known: Known,
  redactor: Redactor,
  now: Asked
): { readonly place: string; readonly difference: string } | undefined => {
  const { comparison: how, matched, plan } = known
  let found: Plan.Exchange | undefined
  let best = Number.NEGATIVE_INFINITY
  for (const exchange of plan.exchanges) {
    // The same one comes before one that is merely like it, and what is left before what was asked.
    const same = how.ids.attempt(() => agrees(how, exchange.request, now), () => false) ? 100_000 : 0
    const score = likeness(exchange.request, now) + same + (matched.has(exchange) ? 0 : 0.5)
    if (score <= best) continue
    best = score
    found = exchange
  }
  if (found === undefined) return undefined
  const exchange = found
  const why = how.ids.attempt(() => whyNot(known, redactor, exchange, now), () => false)
  return { place: place(exchange), difference: why }
}
