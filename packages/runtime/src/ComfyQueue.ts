/** The job queue that a configuration asks for, as far as it needs no Node: the one in memory, which says what it is. */
import type { JobQueue } from "@effect-comfyui/pool/JobQueue"
import { layerMemoryWith, type Options } from "@effect-comfyui/pool/JobQueueMemory"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Settings } from "./ComfyConfig.ts"

/** The limits of a queue, wherever it is kept. */
export const optionsOf = ({ queue = {} }: Settings): Options => ({
  ...queue.maxQueued === undefined ? {} : { maxQueued: queue.maxQueued },
  ...queue.history === undefined ? {} : { history: queue.history },
  ...queue.historyAge === undefined ? {} : { historyAge: queue.historyAge }
})

/** Jobs are kept in this process and end with it: a warning says so, once for each queue that is made. */
export const layerMemory = (options: Options = {}): Layer.Layer<JobQueue> =>
  Layer.merge(
    layerMemoryWith(options),
    Layer.effectDiscard(Effect.logWarning("jobs are kept in memory: what waits is lost when this process ends"))
  )
