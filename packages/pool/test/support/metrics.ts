// What stands in a registry of metrics, as plain figures.
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"

export interface Series {
  readonly name: string
  readonly type: Metric.Metric.Type
  readonly labels: Readonly<Record<string, string>>
  /** Of a counter or gauge its value, of a histogram how many were observed. */
  readonly value: number
  readonly sum: number
}

const figures = (one: Metric.Metric.Snapshot): Pick<Series, "value" | "sum"> => {
  switch (one.type) {
    case "Counter":
      return { value: Number(one.state.count), sum: 0 }
    case "Gauge":
      return { value: Number(one.state.value), sum: 0 }
    case "Histogram":
      return { value: one.state.count, sum: one.state.sum }
    default:
      return { value: 0, sum: 0 }
  }
}

/** Everything in the registry. */
export const series: Effect.Effect<ReadonlyArray<Series>> = Effect.map(
  Metric.snapshot,
  (all) => all.map((one) => ({ name: one.id, type: one.type, labels: one.attributes ?? {}, ...figures(one) }))
)

/** The sum over all series of this name that have these labels. */
export const total = (
  all: ReadonlyArray<Series>,
  name: string,
  labels: Readonly<Record<string, string>> = {}
): number =>
  all.filter((one) =>
    one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value)
  ).reduce((sum, { value }) => sum + value, 0)

/** A registry of one's own, whose readers are below. */
export const layerRegistry = (registry: Metric.MetricRegistry = new Map()): Layer.Layer<never> =>
  Layer.succeed(Metric.MetricRegistry, registry)
