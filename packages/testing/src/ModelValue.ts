/**
 * What goes over the links between nodes that need models: nothing but texts that say what a value is made of, so that
 * equal inputs give equal pictures and any other seed another one.
 */
import * as Option from "effect/Option"
import type { Weights } from "./Hardware.ts"
import * as NodeClass from "./NodeClass.ts"
import * as Picture from "./Picture.ts"

/**
 * A model, text encoder, VAE, ControlNet or upscaler: what it is made of, as a text, and the weights that a node needs in
 * VRAM to use it. One with other patches shares them.
 */
export class Model {
  readonly type: string
  readonly key: string
  readonly weights: Weights | undefined
  constructor(type: string, key: string, weights?: Weights) {
    this.type = type
    this.key = key
    this.weights = weights
  }
}

/** An encoded prompt, and the ControlNets that a sampler needs for it. */
export class Conditioning {
  readonly key: string
  readonly controls: ReadonlyArray<Model>
  constructor(key: string, controls: ReadonlyArray<Model> = []) {
    this.key = key
    this.controls = controls
  }
}

/** A latent of a picture of this size in pixels; `picture` is what it was encoded from, if anything. */
export class Latent {
  readonly width: number
  readonly height: number
  readonly batch: number
  readonly key: string
  readonly picture: Picture.Picture | undefined
  constructor(
    shape: { readonly width: number; readonly height: number; readonly batch: number },
    key: string,
    picture: Picture.Picture | undefined
  ) {
    this.width = shape.width
    this.height = shape.height
    this.batch = shape.batch
    this.key = key
    this.picture = picture
  }
}

/** What is known of a {@link Simulated} value besides its key. */
export interface Traits {
  /** Of a picture or video, pixels and frames. */
  readonly width?: number | undefined
  readonly height?: number | undefined
  readonly batch?: number | undefined
  /** Of SIGMAS: how many steps a sampler makes with them. */
  readonly steps?: number | undefined
  /** Of a GUIDER and its like: what a sampler needs in VRAM. */
  readonly models?: ReadonlyArray<Model> | undefined
}

/** A value of any other type: VIDEO, AUDIO, SIGMAS, MESH, and those of third parties. */
export class Simulated {
  readonly type: string
  readonly key: string
  readonly traits: Traits
  constructor(type: string, key: string, traits: Traits = {}) {
    this.type = type
    this.key = key
    this.traits = traits
  }
}

/** A link that carries a {@link Model} of this type. */
export const model = (type: string): NodeClass.Input<Model> =>
  NodeClass.link(type, (value) => (value instanceof Model && value.type === type ? Option.some(value) : Option.none()))

/** A link that carries a {@link Conditioning}. */
export const conditioning: NodeClass.Input<Conditioning> = NodeClass.link(
  "CONDITIONING",
  (value) => (value instanceof Conditioning ? Option.some(value) : Option.none())
)

/** A link that carries a {@link Latent}. */
export const latent: NodeClass.Input<Latent> = NodeClass.link(
  "LATENT",
  (value) => (value instanceof Latent ? Option.some(value) : Option.none())
)

/** A short text in the place of a long one. */
export const digest = (...parts: ReadonlyArray<unknown>): string => {
  const text = parts.map(String).join("\u0000")
  return Picture.hash(text).toString(16) + Picture.hash(`${text}.`).toString(16)
}

/** What a picture is made of as a text: drawn only if that is not known otherwise. */
export const pictureKey = (picture: Picture.Picture): string =>
  picture.key ?? `${picture.width}x${picture.height}x${picture.batch}.${pixelHash(picture)}`

/** A picture's content as a number: it has to be drawn for that. */
export const pixelHash = (picture: Picture.Picture): number => {
  let h = 0x811c9dc5
  for (const sample of picture.samples()) h = Math.imul(h ^ sample, 0x01000193)
  return h >>> 0
}
