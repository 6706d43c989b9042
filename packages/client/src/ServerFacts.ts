/** What is known of the process that answers: its version, what it can run, and whether it is still the same one. */
import type { BackendError, Capabilities, Machine } from "@effect-comfyui/execution/Backend"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Version from "@effect-comfyui/protocol/Version"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as CapabilitiesOf from "./Capabilities.ts"
import type { Shape as HttpShape } from "./ComfyHttp.ts"
import { toBackendError } from "./ComfyHttpError.ts"
import * as Defaults from "./Defaults.ts"
import * as Epoch from "./Epoch.ts"

/** Facts of one address; kept per process and asked for when first needed. */
export interface ServerFacts {
  /** What the version can do; of a server that does not say, the least. Never fails. */
  readonly traits: Effect.Effect<Version.ServerTraits>
  readonly capabilities: Effect.Effect<Capabilities, BackendError>
  readonly epoch: () => number
  /** A receipt with a number of the server's own counter. */
  readonly counted: (number: number) => void
  /** A prompt of ours has ended: as long as it is remembered, the process is the same. */
  readonly finished: (promptId: string) => void
  /** Asks, after a reconnect, whether the process is still the same. */
  readonly recheck: Effect.Effect<void>
  /** A refusal named a class or a file: what is known of them is asked for again. */
  readonly doubtCapabilities: () => void
}

export const make = (http: HttpShape, { clock, isIdle, onRestart }: {
  readonly clock: Clock.Clock
  /** No run of ours is open: only then are facts that have aged read again. */
  readonly isIdle: () => boolean
  readonly onRestart: (epoch: number) => void
}): ServerFacts => {
  const state = Epoch.init()
  const one = Semaphore.makeUnsafe(1)
  let traits: Version.ServerTraits | undefined
  let machine: Machine = CapabilitiesOf.unknownMachine
  let capabilities: Capabilities | undefined
  let readAt = 0

  const restarted = (is: boolean) => {
    if (!is) return
    traits = undefined
    machine = CapabilitiesOf.unknownMachine
    capabilities = undefined
    onRestart(state.epoch)
  }

  const readTraits = Effect.suspend(() =>
    Effect.matchEffect(http.server.systemStats, {
      // Not kept: it is asked for again when it is needed again.
      onFailure: () => Effect.succeed(Version.traits(undefined)),
      onSuccess: (stats) =>
        Effect.sync(() => {
          traits = Version.traits(Version.parse(stats.system.comfyui_version))
          machine = CapabilitiesOf.machineOf(stats)
          return traits
        })
    })
  )
  const currentTraits = Effect.suspend(() => traits === undefined ? readTraits : Effect.succeed(traits))

  const readCapabilities = Effect.gen(function*() {
    const { now } = readTime(clock)
    const aged = now - readAt >= Duration.toMillis(Defaults.limits.capabilitiesAge)
    if (capabilities !== undefined && !(aged && isIdle())) return capabilities
    const { version } = yield* currentTraits
    const epoch = state.epoch
    const found = CapabilitiesOf.builder()
    yield* Effect.mapError(http.server.eachClass(found.add), toBackendError)
    capabilities = { epoch, version: version === null ? "unknown" : Version.format(version), machine, ...found.done() }
    readAt = now
    return capabilities
  })

  return {
    traits: currentTraits,
    capabilities: one.withPermits(1)(readCapabilities),
    epoch: () => state.epoch,
    counted: (number) => restarted(Epoch.counted(state, number)),
    finished: (promptId) => Epoch.finished(state, promptId),
    recheck: Effect.suspend(() => {
      const { sentinel } = state
      return sentinel === undefined
        ? Effect.void
        : Effect.matchEffect(http.history(sentinel), {
          onFailure: () => Effect.void,
          onSuccess: (entry) => Effect.sync(() => restarted(entry._tag === "None" && Epoch.forgotten(state, sentinel)))
        })
    }),
    doubtCapabilities: () => {
      capabilities = undefined
    }
  }
}
