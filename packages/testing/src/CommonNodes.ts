/**
 * Further classes that most workflows use, with the signatures of 0.33.0: those for pictures, masks, texts and latents
 * compute, the others run by the rules of `ObjectInfoNodes`.
 */
import { commonLatentSignatures } from "./internal/commonLatentSignatures.ts"
import { commonPictureSignatures } from "./internal/commonPictureSignatures.ts"
import { commonSamplingSignatures } from "./internal/commonSamplingSignatures.ts"
import { commonTextSignatures } from "./internal/commonTextSignatures.ts"
import { commonVideoSignatures } from "./internal/commonVideoSignatures.ts"
import { compactClass } from "./internal/compactSignature.ts"
import { computedBy } from "./internal/signatureClass.ts"
import { digest, Latent, latent, model } from "./ModelValue.ts"
import * as NodeClass from "./NodeClass.ts"
import * as Picture from "./Picture.ts"
import * as PictureEdit from "./PictureEdit.ts"
import * as Plan from "./Plan.ts"

const image = NodeClass.image()
const mask = NodeClass.mask()
const int = NodeClass.int()
const text = NodeClass.string()

const smooth = (method: string): { readonly smooth: boolean; readonly center: boolean } => ({
  smooth: method !== "nearest-exact",
  center: false
})

const resized = (picture: Picture.Picture, width: number, height: number, method: string): Plan.Plan =>
  Plan.returns([
    Picture.scale(picture, Math.max(1, Math.round(width)), Math.max(1, Math.round(height)), smooth(method))
  ])

const imageScaleBy = NodeClass.define({
  class: "ImageScaleBy",
  required: { image, upscale_method: text, scale_by: NodeClass.float() },
  outputs: ["IMAGE"],
  run: ({ image, scale_by, upscale_method }) =>
    resized(image, image.width * scale_by, image.height * scale_by, upscale_method)
})

const imageScaleToTotalPixels = NodeClass.define({
  class: "ImageScaleToTotalPixels",
  required: { image, upscale_method: text, megapixels: NodeClass.float() },
  optional: { resolution_steps: int },
  outputs: ["IMAGE"],
  run: ({ image, megapixels, resolution_steps = 1, upscale_method }) => {
    const factor = Math.sqrt(megapixels * 1024 * 1024 / (image.width * image.height))
    const steps = Math.max(1, Number(resolution_steps))
    const fit = (side: number): number => Math.max(1, Math.round(side * factor / steps)) * steps
    return resized(image, fit(image.width), fit(image.height), upscale_method)
  }
})

const imageScaleToMaxDimension = NodeClass.define({
  class: "ImageScaleToMaxDimension",
  required: { image, upscale_method: text, largest_size: int },
  outputs: ["IMAGE"],
  run: ({ image, largest_size, upscale_method }) => {
    const factor = Number(largest_size) / Math.max(image.width, image.height)
    return resized(image, image.width * factor, image.height * factor, upscale_method)
  }
})

const cropping = { width: int, height: int, x: int, y: int }

const imageCrop = NodeClass.define({
  class: "ImageCrop",
  required: { image, ...cropping },
  outputs: ["IMAGE"],
  run: ({ height, image, width, x, y }) =>
    Plan.returns([PictureEdit.crop(image, Number(x), Number(y), Number(width), Number(height))])
})

const cropMask = NodeClass.define({
  class: "CropMask",
  required: { mask, ...cropping },
  outputs: ["MASK"],
  run: ({ height, mask, width, x, y }) =>
    Plan.returns([PictureEdit.crop(mask, Number(x), Number(y), Number(width), Number(height))])
})

const imagePadForOutpaint = NodeClass.define({
  class: "ImagePadForOutpaint",
  required: { image, left: int, top: int, right: int, bottom: int, feathering: int },
  outputs: ["IMAGE", "MASK"],
  run: ({ bottom, feathering, image, left, right, top }) => {
    const border = { left: Number(left), top: Number(top), right: Number(right), bottom: Number(bottom) }
    return Plan.returns([
      PictureEdit.pad(image, border),
      PictureEdit.padMask(image, border, Number(feathering))
    ])
  }
})

const imageCompositeMasked = NodeClass.define({
  class: "ImageCompositeMasked",
  required: { destination: image, source: image, x: int, y: int, resize_source: NodeClass.boolean() },
  optional: { mask },
  outputs: ["IMAGE"],
  run: ({ destination, mask, resize_source, source, x, y }) => {
    const { height, width } = destination
    const over = resize_source ? Picture.scale(source, width, height, { smooth: true, center: false }) : source
    return Plan.returns([PictureEdit.composite(destination, over, { x: Number(x), y: Number(y) }, mask)])
  }
})

const invertMask = NodeClass.define({
  class: "InvertMask",
  required: { mask },
  outputs: ["MASK"],
  run: ({ mask }) => Plan.returns([Picture.invert(mask)])
})

const imageToMask = NodeClass.define({
  class: "ImageToMask",
  required: { image, channel: text },
  outputs: ["MASK"],
  run: ({ channel, image }) =>
    Plan.returns([Picture.channel(image, ["red", "green", "blue", "alpha"].indexOf(channel), false)])
})

const imageFlip = NodeClass.define({
  class: "ImageFlip",
  required: { image, flip_method: text },
  outputs: ["IMAGE"],
  run: ({ flip_method, image }) =>
    Plan.returns([PictureEdit.flip(image, flip_method.startsWith("x") ? "vertically" : "horizontally")])
})

const imageRotate = NodeClass.define({
  class: "ImageRotate",
  required: { image, rotation: text },
  outputs: ["IMAGE"],
  run: ({ image, rotation }) =>
    Plan.returns([PictureEdit.rotate(image, Math.round((Number.parseInt(rotation, 10) || 0) / 90))])
})

const joinImageWithAlpha = NodeClass.define({
  class: "JoinImageWithAlpha",
  required: { image, alpha: mask },
  outputs: ["IMAGE"],
  run: ({ alpha, image }) => Plan.returns([PictureEdit.withAlpha(image, alpha)])
})

const scaledLatent = (samples: Latent, width: number, height: number, how: string): Plan.Plan => {
  const shape = { width: Math.max(8, width), height: Math.max(8, height), batch: samples.batch }
  const { picture } = samples
  return Plan.returns([
    new Latent(
      shape,
      digest("upscale", samples.key, shape.width, shape.height, how),
      picture === undefined ? undefined : Picture.scale(picture, shape.width, shape.height, smooth(how))
    )
  ])
}

const eighth = (pixels: number): number => Math.floor(pixels / 8) * 8

const latentUpscale = NodeClass.define({
  class: "LatentUpscale",
  required: { samples: latent, upscale_method: text, width: int, height: int, crop: text },
  outputs: ["LATENT"],
  run: ({ height, samples, upscale_method, width }) => {
    const w = Number(width)
    const h = Number(height)
    if (w === 0 && h === 0) return Plan.returns([samples])
    const toWidth = w === 0 ? samples.width * h / samples.height : w
    const toHeight = h === 0 ? samples.height * w / samples.width : h
    return scaledLatent(samples, eighth(toWidth), eighth(toHeight), upscale_method)
  }
})

const latentUpscaleBy = NodeClass.define({
  class: "LatentUpscaleBy",
  required: { samples: latent, upscale_method: text, scale_by: NodeClass.float() },
  outputs: ["LATENT"],
  run: ({ samples, scale_by, upscale_method }) =>
    scaledLatent(samples, eighth(samples.width * scale_by), eighth(samples.height * scale_by), upscale_method)
})

const vaeDecodeTiled = NodeClass.define({
  class: "VAEDecodeTiled",
  required: { samples: latent, vae: model("VAE"), tile_size: int },
  outputs: ["IMAGE"],
  run: ({ samples, tile_size, vae }, context) => {
    const { batch, height, width } = samples
    const picture = samples.picture ?? Picture.imagine(width, height, batch, digest(samples.key, vae.key))
    const tile = Number(tile_size) ** 2
    return Plan.returns([picture], {
      steps: [Plan.load([vae], context.workBytes(tile)), Plan.wait(context.stepMs(width * height * batch))]
    })
  }
})

const stringReplace = NodeClass.define({
  class: "StringReplace",
  required: { string: text, find: text, replace: text },
  outputs: ["STRING"],
  run: ({ find, replace, string }) => Plan.returns([string.split(find === "" ? /(?:)/u : find).join(replace)])
})

const stringTrim = NodeClass.define({
  class: "StringTrim",
  required: { string: text, mode: text },
  outputs: ["STRING"],
  run: ({ mode, string }) =>
    Plan.returns([mode === "Left" ? string.trimStart() : mode === "Right" ? string.trimEnd() : string.trim()])
})

const capitalized = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase()

const inCase = (mode: string, string: string): string => {
  switch (mode) {
    case "UPPERCASE":
      return string.toUpperCase()
    case "lowercase":
      return string.toLowerCase()
    case "Capitalize":
      return capitalized(string)
    default:
      return string.replaceAll(/\p{L}+/gu, capitalized)
  }
}

const caseConverter = NodeClass.define({
  class: "CaseConverter",
  required: { string: text, mode: text },
  outputs: ["STRING"],
  run: ({ mode, string }) => Plan.returns([inCase(mode, string)])
})

const stringSubstring = NodeClass.define({
  class: "StringSubstring",
  required: { string: text, start: int, end: int },
  outputs: ["STRING"],
  run: ({ end, start, string }) => Plan.returns([Array.from(string).slice(Number(start), Number(end)).join("")])
})

const computed = [
  imageScaleBy,
  imageScaleToTotalPixels,
  imageScaleToMaxDimension,
  imageCrop,
  cropMask,
  imagePadForOutpaint,
  imageCompositeMasked,
  invertMask,
  imageToMask,
  imageFlip,
  imageRotate,
  joinImageWithAlpha,
  latentUpscale,
  latentUpscaleBy,
  vaeDecodeTiled,
  stringReplace,
  stringTrim,
  caseConverter,
  stringSubstring
]

const runs = new Map(computed.map((node) => [node.class, node]))

/** Any number of pictures, in the order of their names; the first says how large they are. */
const batched = (inputs: ReadonlyMap<string, unknown>): Plan.Plan => {
  const [first, ...others] = [...inputs.values()].filter((value) => value instanceof Picture.Picture)
  return first === undefined
    ? Plan.raises("ValueError", "no images")
    : Plan.returns([others.reduce((joined, next) => Picture.concat(joined, next), first)])
}

/** Whether a class of {@link nodes} computes, rather than running by rule. */
export const computes = (name: string): boolean => runs.has(name) || name === "BatchImagesNode"

/** Pictures, masks, videos, sound, texts, latents, the parts of custom sampling, and what shifts models. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  ...Object.entries(commonPictureSignatures),
  ...Object.entries(commonVideoSignatures),
  ...Object.entries(commonTextSignatures),
  ...Object.entries(commonLatentSignatures),
  ...Object.entries(commonSamplingSignatures)
].map(([name, signature]) => {
  const node = compactClass(name, signature)
  if (name === "BatchImagesNode") return { ...node, run: batched }
  const run = runs.get(name)
  return run === undefined ? node : computedBy(node, run) ?? node
})
