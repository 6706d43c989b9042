/** Nodes that really compute: pictures and masks in, pictures and masks out. Only `ImageBlur` takes its time. */
import * as NodeClass from "./NodeClass.ts"
import * as Picture from "./Picture.ts"
import * as Plan from "./Plan.ts"

const size = (min: number, max: number, fallback: number): NodeClass.InputOptions => ({
  default: fallback,
  min,
  max,
  step: 1
})

const toNumber = (value: number | bigint): number => Number(value)

const emptyImage = NodeClass.define({
  class: "EmptyImage",
  required: {
    width: NodeClass.int(size(1, 16384, 512)),
    height: NodeClass.int(size(1, 16384, 512)),
    batch_size: NodeClass.int({ default: 1, min: 1, max: 4096 }),
    color: NodeClass.int({ default: 0, min: 0, max: 0xffffff, step: 1, display: "color" })
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

const imageInvert = NodeClass.define({
  class: "ImageInvert",
  required: { image: NodeClass.image() },
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

const imageScale = NodeClass.define({
  class: "ImageScale",
  required: {
    image: NodeClass.image(),
    upscale_method: NodeClass.combo(["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]),
    width: NodeClass.int(size(0, 16384, 512)),
    height: NodeClass.int(size(0, 16384, 512)),
    crop: NodeClass.combo(["disabled", "center"])
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

const imageBatch = NodeClass.define({
  class: "ImageBatch",
  required: { image1: NodeClass.image(), image2: NodeClass.image() },
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

const imageBlur = NodeClass.define({
  class: "ImageBlur",
  required: {
    image: NodeClass.image(),
    blur_radius: NodeClass.int({ default: 1, min: 1, max: 31, step: 1 }),
    sigma: NodeClass.float({ default: 1, min: 0.1, max: 10, step: 0.1 })
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
): Pick<NodeClass.NodeInfo, "style" | "displayName" | "category" | "module"> => ({
  style: "V3",
  displayName,
  category,
  module
})

const indexes = (start: number, length: number): ReadonlyArray<number> => Array.from({ length }, (_, i) => start + i)

const repeatImageBatch = NodeClass.define({
  class: "RepeatImageBatch",
  required: { image: NodeClass.image(), amount: NodeClass.int({ default: 1, min: 1, max: 4096 }) },
  outputs: ["IMAGE"],
  info: v3("Repeat Image Batch", "image/batch", "comfy_extras.nodes_images"),
  run: ({ amount, image }) =>
    Plan.returns([
      Picture.select(image, indexes(0, image.batch * toNumber(amount)).map((index) => index % image.batch))
    ])
})

const rebatchImages = NodeClass.define({
  class: "RebatchImages",
  required: { images: NodeClass.image(), batch_size: NodeClass.int({ default: 1, min: 1, max: 4096 }) },
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

const imageFromBatch = NodeClass.define({
  class: "ImageFromBatch",
  required: {
    image: NodeClass.image(),
    batch_index: NodeClass.int({ default: 0, min: -16384, max: 16384 }),
    length: NodeClass.int({ default: 1, min: 1, max: 4096 })
  },
  outputs: ["IMAGE"],
  info: v3("Get Image from Batch", "image/batch", "comfy_extras.nodes_images"),
  run: ({ batch_index, image, length }) => {
    const asked = toNumber(batch_index)
    const start = Math.max(0, Math.min(image.batch - 1, asked < 0 ? asked + image.batch : asked))
    return Plan.returns([Picture.select(image, indexes(start, Math.min(image.batch - start, toNumber(length))))])
  }
})

const solidMask = NodeClass.define({
  class: "SolidMask",
  required: {
    value: NodeClass.float({ default: 1, min: 0, max: 1, step: 0.01 }),
    width: NodeClass.int(size(1, 16384, 512)),
    height: NodeClass.int(size(1, 16384, 512))
  },
  outputs: ["MASK"],
  info: v3("Create Solid Mask", "image/mask", "comfy_extras.nodes_mask"),
  run: ({ height, value, width }) => Plan.returns([Picture.solidMask(toNumber(width), toNumber(height), value)])
})

const maskToImage = NodeClass.define({
  class: "MaskToImage",
  required: { mask: NodeClass.mask() },
  outputs: ["IMAGE"],
  info: v3("Convert Mask to Image", "image/mask", "comfy_extras.nodes_mask"),
  run: ({ mask }) => Plan.returns([Picture.rgb(mask)])
})

const getImageSize = NodeClass.define({
  class: "GetImageSize",
  required: { image: NodeClass.image() },
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

/** EmptyImage, ImageInvert, ImageScale, ImageBlur, batches, masks and sizes. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  emptyImage,
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
