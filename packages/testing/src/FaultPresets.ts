/**
 * Worlds to test in, as lists of faults: `server.inject(FaultPresets.slow())`. Nothing of it is on by itself.
 */
import type * as FakeComfy from "./FakeComfy.ts"
import * as Fault from "./Fault.ts"

/** What a slow server takes its time for. Milliseconds; 0 leaves a part out. */
export interface SlowOptions {
  /** `object_info` is of so many bytes. Default 20,000,000. */
  readonly objectInfoBytes?: number
  /** `object_info` comes over so long. Default 19,000. */
  readonly objectInfoMs?: number
  /** Loaders hold the event loop: HTTP, frames and pongs are frozen. Default 5,000. */
  readonly stallMs?: number
  /** A load is charged before a sampler's first progress: nothing is heard. Default 60,000. */
  readonly loadMs?: number
  /** Decoders say nothing for so long, and do not see interrupts. Default 180,000. */
  readonly silentMs?: number
  /** Classes that load. Default: those of checkpoints, diffusion models, VAEs and CLIPs. */
  readonly loaders?: ReadonlyArray<string>
  /** Classes with steps. Default: KSampler and its kin. */
  readonly samplers?: ReadonlyArray<string>
  /** Classes without progress. Default: `VAEDecode` and `VAEDecodeTiled`. */
  readonly decoders?: ReadonlyArray<string>
}

const loaders = ["CheckpointLoaderSimple", "UNETLoader", "VAELoader", "CLIPLoader", "DualCLIPLoader"]
const samplers = ["KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"]
const decoders = ["VAEDecode", "VAEDecodeTiled"]

/**
 * A large model on a slow machine: nothing is wrong, and everything takes long. A client that takes silence for death
 * kills jobs here.
 */
export const slow = (options: SlowOptions = {}): ReadonlyArray<Fault.FaultData> => {
  const { loadMs = 60_000, objectInfoMs = 19_000, silentMs = 180_000, stallMs = 5_000 } = options
  const each = (classes: ReadonlyArray<string>, ms: number, action: Fault.NodeAction): ReadonlyArray<Fault.FaultData> =>
    ms <= 0 ? [] : classes.map((classType) => Fault.onNode({ classType }, action))
  return [
    ...objectInfoMs <= 0
      ? []
      : Fault.slowObjectInfo({
        ms: objectInfoMs,
        ...(options.objectInfoBytes === undefined ? {} : { bytes: options.objectInfoBytes })
      }),
    ...each(options.loaders ?? loaders, stallMs, Fault.stallServer(stallMs)),
    ...each(options.samplers ?? samplers, loadMs, Fault.silent(loadMs)),
    ...each(options.decoders ?? decoders, silentMs, Fault.silent(silentMs)),
    ...each(options.decoders ?? decoders, silentMs, Fault.uninterruptible)
  ]
}

/**
 * Options of a machine to go with {@link slow}: models come from a network disk, steps take a second for a million pixels,
 * and so little RAM is free that no result outlives a prompt that does not use it. For `ComfyTest.layer` and every other
 * door that takes a server's options.
 */
export const slowMachine: Pick<FakeComfy.Options, "cache" | "hardware"> = {
  cache: "ram",
  hardware: { diskBytesPerSecond: 120_000_000, stepMsPerMegapixel: 1_000, vramBytes: 12_000_000_000 }
}

/** What a proxy puts up with. 0 leaves a part out. */
export interface ProxyOptions {
  /** Sockets without traffic are cut after so many milliseconds. Default 60,000. */
  readonly idleMs?: number
  /** Connections kept alive are ended after so many milliseconds without a request. Default 4,000. */
  readonly keepAliveMs?: number
  /** Larger request bodies are answered with 413. Default 10,000,000. */
  readonly maxBodyBytes?: number
  /** After so many milliseconds without an answer it says 504; the server goes on. Default 60,000. */
  readonly timeoutMs?: number
}

/**
 * A proxy as they stand before rented machines: it cuts what is idle, refuses large bodies, and gives up on slow answers,
 * of which the server knows nothing.
 */
export const proxy = (options: ProxyOptions = {}): ReadonlyArray<Fault.FaultData> => {
  const { idleMs = 60_000, keepAliveMs = 4_000, maxBodyBytes = 10_000_000, timeoutMs = 60_000 } = options
  return [
    Fault.idleCut({
      ...(idleMs <= 0 ? {} : { socketsMs: idleMs }),
      ...(keepAliveMs <= 0 ? {} : { keepAliveMs })
    }),
    ...maxBodyBytes <= 0 ? [] : [Fault.on(Fault.bodyOver(maxBodyBytes), Fault.respond(Fault.tooLarge))],
    ...timeoutMs <= 0 ? [] : [Fault.on(Fault.any, Fault.answerWithin(timeoutMs))]
  ]
}

/** The machine behind the proxy is gone: its page says 404 to everything, upgrades too. */
export const machineGone: ReadonlyArray<Fault.FaultData> = [
  Fault.on(Fault.any, Fault.respond(Fault.notFoundPage)),
  Fault.refuseUpgrades(Fault.notFoundPage)
]

/** A session of the proxy has ended: it sends everything to a login page, upgrades too. */
export const loggedOut = (location = "https://login.test/"): ReadonlyArray<Fault.FaultData> => [
  Fault.on(Fault.any, Fault.respond(Fault.loginRedirect(location))),
  Fault.refuseUpgrades(Fault.loginRedirect(location))
]
