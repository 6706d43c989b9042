// The figures of a package's `Defaults`, by name and as the documentation writes them.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"

/** Exact: a share such as 1/15 is written as one. */
const grouped = (value: number): string => {
  if (Number.isInteger(value)) return value.toLocaleString("en-US")
  const parts = Math.round(1 / value)
  return String(value).length > 6 && 1 / parts === value ? `1/${parts}` : String(value)
}

/** In the largest of these units that leaves a whole number, the last one where none does. */
const inUnits = (value: number, units: ReadonlyArray<readonly [unit: string, size: number]>): string => {
  const [unit, size] = units.find(([, each]) => value >= each && value % each === 0) ?? units.at(-1) ?? ["", 1]
  return `${grouped(value / size)} ${unit}`
}

const times = [["h", 3_600_000], ["min", 60_000], ["s", 1_000], ["ms", 1]] as const
const sizes = [["GiB", 1024 ** 3], ["MiB", 1024 ** 2], ["KiB", 1024], ["bytes", 1]] as const

/** Figures whose name does not say that they are milliseconds. */
const milliseconds: ReadonlySet<string> = new Set(["pool.queue.retryFloor", "pool.queue.retryCap"])

/** Those of a package's defaults need nothing and never fail. */
const isSchedule = (value: unknown): value is Schedule.Schedule<unknown> => Schedule.isSchedule(value)

/** Enough of a schedule to see where its delays end growing. */
const steps = 7

const delaysOf = Effect.fnUntraced(function*(schedule: Schedule.Schedule<unknown>) {
  const step = yield* Schedule.toStep(schedule)
  const delays: Array<string> = []
  let now = 0
  for (let i = 0; i < steps; i++) {
    const [, delay] = yield* step(now, undefined).pipe(Effect.orDie)
    now += Duration.toMillis(delay)
    delays.push(inUnits(Duration.toMillis(delay), times))
  }
  return `${delays.join(", ")} …`
})

const textOf = (name: string, value: unknown): Effect.Effect<string> => {
  if (Duration.isDuration(value)) return Effect.succeed(inUnits(Duration.toMillis(value), times))
  if (isSchedule(value)) return delaysOf(value)
  if (Array.isArray(value)) {
    const all: ReadonlyArray<unknown> = value
    return Effect.map(Effect.forEach(all, (one) => textOf(name, one)), (texts) => texts.join(", "))
  }
  if (typeof value !== "number") return Effect.die(`${name}: a figure of a kind that the table does not know`)
  if (milliseconds.has(name)) return Effect.succeed(inUnits(value, times))
  return Effect.succeed(name.endsWith("Bytes") ? inUnits(value, sizes) : grouped(value))
}

/** A module or a plain object; whatever else is no number and no time is not passed over. */
const isGroup = (value: unknown): value is Readonly<Record<string, unknown>> =>
  Predicate.isObject(value) && [Object.prototype, null].includes(Object.getPrototypeOf(value))

/** Every figure below, by its way there divided by dots. */
export const figures = (
  below: unknown,
  name = ""
): Effect.Effect<ReadonlyArray<readonly [name: string, value: string]>> =>
  isGroup(below)
    ? Effect.map(
      Effect.forEach(Object.entries(below), ([member, value]) =>
        figures(value, name === "" ? member : `${name}.${member}`)),
      (all) =>
        all.flat()
    )
    : Effect.map(textOf(name, below), (text) => [[name, text] as const])
