/** Nodes that really compute: pictures and masks in, pictures, masks and files out. Only `ImageBlur` takes its time. */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as FakeNode from "./FakeNode.ts"
import { decodePng, pngSize } from "./ImageFile.ts"
import { fromJs } from "./internal/py.ts"
import { dumpsSafe } from "./internal/pyJson.ts"
import * as Picture from "./Picture.ts"
import * as Plan from "./Plan.ts"

const size = (min: number, max: number, fallback: number): FakeNode.InputOptions => ({
  default: fallback,
  min,
  max,
  step: 1
})

const toNumber = (value: number | bigint): number => Number(value)

export const emptyImage = FakeNode.define({
  class: "EmptyImage",
  required: {
    width: FakeNode.int(size(1, 16384, 512)),
    height: FakeNode.int(size(1, 16384, 512)),
    batch_size: FakeNode.int({ default: 1, min: 1, max: 4096 }),
    color: FakeNode.int({ default: 0, min: 0, max: 0xffffff, step: 1, display: "color" })
  },
  outputs: ["IMAGE"],
  info: {
    displayName: "Empty Image",
    category: "image",
    module: "nodes",
    before: [{ version: "0.12.0", displayName: "EmptyImage" }]
  },
  run: ({ batch_size, color, height, width }) =>
    Plan.returns([Picture.solid(toNumber(width), toNumber(height), toNumber(batch_size), toNumber(color))])
})

/** Why LoadImage cannot use a file; undefined if it can. */
const unreadable = (file: Option.Option<Uint8Array>, name: string): Plan.Plan | undefined =>
  Option.isNone(file)
    ? Plan.raises("FileNotFoundError", `[Errno 2] No such file or directory: '/data/input/${name}'`)
    : undefined

const unidentified = (name: string): Plan.Plan =>
  Plan.raises("PIL.UnidentifiedImageError", `cannot identify image file '/data/input/${name}'`)

const contentKey = (name: unknown, context: FakeNode.FileContext): string =>
  typeof name !== "string" ? "" : Option.match(context.readFile(name), {
    onNone: () => "never",
    onSome: (bytes) => `${bytes.length}.${bytes.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 7)}`
  })

const fileInput = {
  changed: (inputs: ReadonlyMap<string, unknown>, context: FakeNode.FileContext) =>
    contentKey(inputs.get("image"), context),
  validates: ["image"],
  validate: (_name: string, value: unknown, context: FakeNode.FileContext) =>
    typeof value === "string" && Option.isSome(context.readFile(value))
      ? true as const
      : `Invalid image file: ${String(value)}`
}

/** What the server can look at without unpacking it: files that are no PNG are read as a grey picture of 512×512. */
const loadPicture = (bytes: Uint8Array): Option.Option<Picture.Picture> =>
  Option.isSome(pngSize(bytes))
    ? decodePng(bytes)
    : isJpegOrWebp(bytes)
    ? Option.some(Picture.solid(512, 512, 1, 0x808080))
    : Option.none()

const isJpegOrWebp = (bytes: Uint8Array): boolean =>
  (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) ||
  (bytes[0] === 0x52 && bytes[1] === 0x49 && bytes[8] === 0x57 && bytes[9] === 0x45)

export const loadImage = FakeNode.define({
  class: "LoadImage",
  required: { image: FakeNode.folder("input", { image_upload: true }) },
  outputs: ["IMAGE", "MASK"],
  ...fileInput,
  info: {
    displayName: "Load Image",
    category: "image",
    module: "nodes",
    essentials: "Basics"
  },
  run: ({ image }, context) => {
    const file = context.readFile(image)
    const missing = unreadable(file, image)
    if (missing !== undefined || Option.isNone(file)) return missing ?? unidentified(image)
    const picture = loadPicture(file.value)
    if (Option.isNone(picture)) return unidentified(image)
    const mask = picture.value.channels === 4
      ? Picture.channel(picture.value, 3, true)
      : Picture.solidMask(64, 64, 0)
    return Plan.returns([Picture.rgb(picture.value), mask])
  }
})

export const loadImageMask = FakeNode.define({
  class: "LoadImageMask",
  required: {
    image: FakeNode.folder("input", { image_upload: true }),
    channel: FakeNode.combo(["alpha", "red", "green", "blue"])
  },
  outputs: ["MASK"],
  ...fileInput,
  info: {
    displayName: "Load Image (as Mask)",
    category: "image",
    module: "nodes",
    essentials: "Image Tools",
    before: [{ version: "0.20.0", category: "mask" }]
  },
  run: ({ channel, image }, context) => {
    const file = context.readFile(image)
    const missing = unreadable(file, image)
    if (missing !== undefined || Option.isNone(file)) return missing ?? unidentified(image)
    const picture = loadPicture(file.value)
    if (Option.isNone(picture)) return unidentified(image)
    if (channel === "alpha") {
      return Plan.returns([
        picture.value.channels === 4 ? Picture.channel(picture.value, 3, true) : Picture.solidMask(64, 64, 0)
      ])
    }
    return Plan.returns([Picture.channel(picture.value, ["red", "green", "blue"].indexOf(channel), false)])
  }
})

/** The text chunks that a saved PNG carries: the prompt, and what `extra_pnginfo` holds. */
const metadata = (context: FakeNode.NodeContext): Readonly<Record<string, string>> => {
  const out: Record<string, string> = { prompt: dumpsSafe(fromJs(context.prompt)) }
  const extra = context.extraData
  const info = typeof extra === "object" && extra !== null && "extra_pnginfo" in extra ? extra.extra_pnginfo : undefined
  if (typeof info === "object" && info !== null) {
    for (const [key, value] of Object.entries(info)) out[key] = dumpsSafe(fromJs(value))
  }
  return out
}

const hiddenImages = { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" } as const
const savedOutput = [{ type: "IMAGE", name: "images" }]

const save = (
  picture: Picture.Picture,
  prefix: string,
  folder: "output" | "temp",
  context: FakeNode.NodeContext
): Plan.Plan => {
  const saved = context.save({ picture, prefix, folder, text: metadata(context) })
  return Result.isFailure(saved)
    ? Plan.raises("Exception", saved.failure)
    : Plan.returns([picture], { ui: { images: saved.success } })
}

export const saveImage = FakeNode.define({
  class: "SaveImage",
  required: { images: FakeNode.image(), filename_prefix: FakeNode.string({ default: "ComfyUI" }) },
  hidden: hiddenImages,
  outputs: savedOutput,
  outputNode: true,
  info: {
    displayName: "Save Image",
    category: "image",
    module: "nodes",
    essentials: "Basics",
    before: [{ version: "0.26.0", outputs: [] }]
  },
  run: ({ filename_prefix, images }, context) => save(images, filename_prefix, "output", context)
})

export const previewImage = FakeNode.define({
  class: "PreviewImage",
  required: { images: FakeNode.image() },
  hidden: hiddenImages,
  outputs: savedOutput,
  outputNode: true,
  info: {
    displayName: "Preview Image",
    category: "image",
    module: "nodes",
    essentials: "Basics",
    before: [{ version: "0.26.0", outputs: [] }]
  },
  run: ({ images }, context) => save(images, `ComfyUI_temp_${context.letters}`, "temp", context)
})

export const saveImageWebsocket = FakeNode.define({
  class: "SaveImageWebsocket",
  required: { images: FakeNode.image() },
  outputNode: true,
  changed: () => "never",
  info: {
    displayName: "Save Image (Websocket)",
    category: "image",
    module: "custom_nodes.websocket_image_save",
    before: [{ version: "0.20.0", displayName: "SaveImageWebsocket", category: "api/image" }]
  },
  run: ({ images }) =>
    Plan.returns([], {
      ui: {},
      steps: Array.from({ length: images.batch }, (_, index): Plan.Step => ({
        _tag: "Progress",
        value: index,
        max: images.batch,
        preview: { format: "PNG", picture: Picture.rgb(images), index }
      }))
    })
})

export const imageInvert = FakeNode.define({
  class: "ImageInvert",
  required: { image: FakeNode.image() },
  outputs: ["IMAGE"],
  info: {
    displayName: "Invert Image Colors",
    category: "image/color",
    module: "nodes",
    essentials: "Image Tools",
    before: [{ version: "0.20.0", displayName: "Invert Image", category: "image" }]
  },
  run: ({ image }) => Plan.returns([Picture.invert(image)])
})

export const imageScale = FakeNode.define({
  class: "ImageScale",
  required: {
    image: FakeNode.image(),
    upscale_method: FakeNode.combo(["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]),
    width: FakeNode.int(size(0, 16384, 512)),
    height: FakeNode.int(size(0, 16384, 512)),
    crop: FakeNode.combo(["disabled", "center"])
  },
  outputs: ["IMAGE"],
  info: { displayName: "Upscale Image", category: "image/upscaling", module: "nodes", essentials: "Image Tools" },
  run: ({ crop, height, image, upscale_method, width }) => {
    const w = toNumber(width)
    const h = toNumber(height)
    if (w === 0 && h === 0) return Plan.returns([image])
    const toWidth = w === 0 ? Math.max(1, Math.round(image.width * h / image.height)) : w
    const toHeight = h === 0 ? Math.max(1, Math.round(image.height * w / image.width)) : h
    return Plan.returns([
      Picture.scale(image, toWidth, toHeight, { smooth: upscale_method !== "nearest-exact", center: crop === "center" })
    ])
  }
})

export const imageBatch = FakeNode.define({
  class: "ImageBatch",
  required: { image1: FakeNode.image(), image2: FakeNode.image() },
  outputs: ["IMAGE"],
  info: {
    displayName: "Batch Images (DEPRECATED)",
    category: "image/batch",
    module: "nodes",
    deprecated: true,
    before: [{ version: "0.20.0", displayName: "Batch Images", category: "image" }]
  },
  run: ({ image1, image2 }) => Plan.returns([Picture.concat(image1, image2)])
})

/** What a CPU needs per pixel and tap, in milliseconds: a blur of 31 over 456×456 takes a quarter of a second. */
const blurMs = 2e-5

export const imageBlur = FakeNode.define({
  class: "ImageBlur",
  required: {
    image: FakeNode.image(),
    blur_radius: FakeNode.int({ default: 1, min: 1, max: 31, step: 1 }),
    sigma: FakeNode.float({ default: 1, min: 0.1, max: 10, step: 0.1 })
  },
  outputs: ["IMAGE"],
  info: {
    style: "V3",
    displayName: "Blur Image",
    category: "image/filters",
    module: "comfy_extras.nodes_post_processing",
    before: [{ version: "0.20.0", displayName: null, category: "image/postprocessing" }]
  },
  run: ({ blur_radius, image, sigma }) => {
    const radius = toNumber(blur_radius)
    const ms = image.width * image.height * image.batch * (2 * radius + 1) * blurMs
    return Plan.returns([Picture.blur(image, radius, sigma)], { steps: [Plan.wait(ms)] })
  }
})

const v3 = (
  displayName: string,
  category: string,
  module: string
): Pick<FakeNode.NodeInfo, "style" | "displayName" | "category" | "module"> => ({
  style: "V3",
  displayName,
  category,
  module
})

const indexes = (start: number, length: number): ReadonlyArray<number> => Array.from({ length }, (_, i) => start + i)

export const repeatImageBatch = FakeNode.define({
  class: "RepeatImageBatch",
  required: { image: FakeNode.image(), amount: FakeNode.int({ default: 1, min: 1, max: 4096 }) },
  outputs: ["IMAGE"],
  info: v3("Repeat Image Batch", "image/batch", "comfy_extras.nodes_images"),
  run: ({ amount, image }) =>
    Plan.returns([
      Picture.select(image, indexes(0, image.batch * toNumber(amount)).map((index) => index % image.batch))
    ])
})

export const rebatchImages = FakeNode.define({
  class: "RebatchImages",
  required: { images: FakeNode.image(), batch_size: FakeNode.int({ default: 1, min: 1, max: 4096 }) },
  outputs: [{ type: "IMAGE", list: true }],
  inputIsList: true,
  info: v3("Rebatch Images", "image/batch", "comfy_extras.nodes_rebatch"),
  run: ({ batch_size, images }) => {
    const length = toNumber(batch_size[0] ?? 1)
    const out: Array<Picture.Picture> = []
    const [first, ...others] = images
    if (first === undefined) return Plan.returns([[]])
    const all = others.reduce((joined, next) => Picture.concat(joined, next), first)
    for (let start = 0; start < all.batch; start += length) {
      out.push(Picture.select(all, indexes(start, Math.min(length, all.batch - start))))
    }
    return Plan.returns([out])
  }
})

export const imageFromBatch = FakeNode.define({
  class: "ImageFromBatch",
  required: {
    image: FakeNode.image(),
    batch_index: FakeNode.int({ default: 0, min: -16384, max: 16384 }),
    length: FakeNode.int({ default: 1, min: 1, max: 4096 })
  },
  outputs: ["IMAGE"],
  info: v3("Get Image from Batch", "image/batch", "comfy_extras.nodes_images"),
  run: ({ batch_index, image, length }) => {
    const asked = toNumber(batch_index)
    const start = Math.max(0, Math.min(image.batch - 1, asked < 0 ? asked + image.batch : asked))
    return Plan.returns([Picture.select(image, indexes(start, Math.min(image.batch - start, toNumber(length))))])
  }
})

export const solidMask = FakeNode.define({
  class: "SolidMask",
  required: {
    value: FakeNode.float({ default: 1, min: 0, max: 1, step: 0.01 }),
    width: FakeNode.int(size(1, 16384, 512)),
    height: FakeNode.int(size(1, 16384, 512))
  },
  outputs: ["MASK"],
  info: v3("Create Solid Mask", "image/mask", "comfy_extras.nodes_mask"),
  run: ({ height, value, width }) => Plan.returns([Picture.solidMask(toNumber(width), toNumber(height), value)])
})

export const maskToImage = FakeNode.define({
  class: "MaskToImage",
  required: { mask: FakeNode.mask() },
  outputs: ["IMAGE"],
  info: v3("Convert Mask to Image", "image/mask", "comfy_extras.nodes_mask"),
  run: ({ mask }) => Plan.returns([Picture.rgb(mask)])
})

export const getImageSize = FakeNode.define({
  class: "GetImageSize",
  required: { image: FakeNode.image() },
  hidden: { unique_id: "UNIQUE_ID" },
  outputs: [{ type: "INT", name: "width" }, { type: "INT", name: "height" }, { type: "INT", name: "batch_size" }],
  info: {
    ...v3("Get Image Size", "image", "comfy_extras.nodes_images"),
    before: [{ version: "0.12.0", style: "V1" }]
  },
  run: ({ image }) =>
    Plan.returns([image.width, image.height, image.batch], {
      steps: [{
        _tag: "Text",
        text: `width: ${image.width}, height: ${image.height}\n batch size: ${image.batch}`,
        to: "everyone"
      }]
    })
})

export const nodes: ReadonlyArray<FakeNode.FakeNode> = [
  loadImage,
  loadImageMask,
  emptyImage,
  saveImage,
  previewImage,
  saveImageWebsocket,
  imageInvert,
  imageScale,
  imageBatch,
  imageBlur,
  repeatImageBatch,
  rebatchImages,
  imageFromBatch,
  solidMask,
  maskToImage,
  getImageSize
]
