/**
 * What a fake server computes on, as figures: how long a model takes from disk and into VRAM, how long a step takes, and
 * what fits. Everything follows from these and the inputs; no time is measured.
 */

/** Each has a default: a CPU server with 25 GB of RAM whose models move nowhere. Times before the server's `speed`. */
export interface Hardware {
  /** VRAM of the one GPU. Default: none, `system_stats` shows a CPU, and moving models costs nothing. */
  readonly vramBytes?: number | undefined
  /** RAM of the host. Default 25,276,502,016. */
  readonly ramBytes?: number | undefined
  /** How fast a loader node reads model files. Default 2 GB/s. */
  readonly diskBytesPerSecond?: number | undefined
  /** How fast a model moves from RAM to VRAM before its first use. Default 12 GB/s. */
  readonly busBytesPerSecond?: number | undefined
  /** One evaluation of a sampler on a million pixels, milliseconds; `heun` and its like take two a step. Default 100. */
  readonly stepMsPerMegapixel?: number | undefined
  /** Working memory of sampler and VAE for a million pixels, bytes. Default 2,000,000,000. */
  readonly workBytesPerMegapixel?: number | undefined
  /**
   * What a model too large for the VRAM does. `true` (default): the rest stays in RAM and crosses the bus at every step,
   * as ComfyUI does it. `false`: `torch.OutOfMemoryError`. Working memory that does not fit is that error either way.
   */
  readonly offload?: boolean | undefined
  /** The card's name in `system_stats`. Default `NVIDIA Fake GPU`. */
  readonly name?: string | undefined
}

/** {@link Hardware} with its defaults. */
export interface Figures {
  readonly vramBytes: number | undefined
  readonly ramBytes: number
  readonly diskBytesPerSecond: number
  readonly busBytesPerSecond: number
  readonly stepMsPerMegapixel: number
  readonly workBytesPerMegapixel: number
  readonly offload: boolean
  readonly name: string
}

/** The figures that these options stand for. */
export const figures = (hardware: Hardware = {}): Figures => ({
  vramBytes: hardware.vramBytes,
  ramBytes: hardware.ramBytes ?? 25_276_502_016,
  diskBytesPerSecond: hardware.diskBytesPerSecond ?? 2_000_000_000,
  busBytesPerSecond: hardware.busBytesPerSecond ?? 12_000_000_000,
  stepMsPerMegapixel: hardware.stepMsPerMegapixel ?? 100,
  workBytesPerMegapixel: hardware.workBytesPerMegapixel ?? 2_000_000_000,
  offload: hardware.offload ?? true,
  name: hardware.name ?? "NVIDIA Fake GPU"
})

/**
 * The weights that one run of a loader brought into RAM. They are in VRAM or not; a loader that runs again makes others,
 * which have to be moved again.
 */
export class Weights {
  /** For the log: `SDXL`, or the name of the file. */
  readonly name: string
  readonly bytes: number
  constructor(name: string, bytes: number) {
    this.name = name
    this.bytes = bytes
  }
}
