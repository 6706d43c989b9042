/** Nodes between pictures and files: uploads that are read, PNGs that are written or sent over the socket. */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { decodePng, pngSize } from "./ImageFile.ts"
import { fromJs } from "./internal/py.ts"
import { dumpsSafe } from "./internal/pyJson.ts"
import * as NodeClass from "./NodeClass.ts"
import * as Picture from "./Picture.ts"
import * as Plan from "./Plan.ts"

const contentKey = (name: unknown, context: NodeClass.FileContext): string =>
  typeof name !== "string" ? "" : Option.match(context.readFile(name), {
    onNone: () => "never",
    onSome: (bytes) => `${bytes.length}.${bytes.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 7)}`
  })

const fileInput = {
  changed: (inputs: ReadonlyMap<string, unknown>, context: NodeClass.FileContext) =>
    contentKey(inputs.get("image"), context),
  validates: ["image"],
  validate: (_name: string, value: unknown, context: NodeClass.FileContext) =>
    typeof value === "string" && Option.isSome(context.readFile(value))
      ? true as const
      : `Invalid image file: ${String(value)}`
}

/** A PNG as it is. Other formats are not unpacked here: a JPEG or WebP is read as a grey picture of 512×512. */
const decode = (bytes: Uint8Array): Option.Option<Picture.Picture> =>
  Option.isSome(pngSize(bytes))
    ? decodePng(bytes)
    : isJpegOrWebp(bytes)
    ? Option.some(Picture.solid(512, 512, 1, 0x808080))
    : Option.none()

const isJpegOrWebp = (bytes: Uint8Array): boolean =>
  (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) ||
  (bytes[0] === 0x52 && bytes[1] === 0x49 && bytes[8] === 0x57 && bytes[9] === 0x45)

/** The picture in a file of the input folder, or how the node fails without it. */
const open = (name: string, context: NodeClass.FileContext): Result.Result<Picture.Picture, Plan.Plan> => {
  const file = context.readFile(name)
  if (Option.isNone(file)) {
    return Result.fail(
      Plan.raises("FileNotFoundError", `[Errno 2] No such file or directory: '/data/input/${name}'`)
    )
  }
  return Result.fromOption(
    decode(file.value),
    () => Plan.raises("PIL.UnidentifiedImageError", `cannot identify image file '/data/input/${name}'`)
  )
}

/** The alpha channel, inverted as the server does it; a picture without one gives an empty mask of 64×64. */
const alphaMask = (picture: Picture.Picture): Picture.Picture =>
  picture.channels === 4 ? Picture.channel(picture, 3, true) : Picture.solidMask(64, 64, 0)

const loadImage = NodeClass.define({
  class: "LoadImage",
  required: { image: NodeClass.folder("input", { image_upload: true }) },
  outputs: ["IMAGE", "MASK"],
  ...fileInput,
  info: {
    displayName: "Load Image",
    category: "image",
    module: "nodes",
    essentials: "Basics"
  },
  run: ({ image }, context) =>
    Result.match(open(image, context), {
      onFailure: (plan) => plan,
      onSuccess: (picture) => Plan.returns([Picture.rgb(picture), alphaMask(picture)])
    })
})

const loadImageMask = NodeClass.define({
  class: "LoadImageMask",
  required: {
    image: NodeClass.folder("input", { image_upload: true }),
    channel: NodeClass.combo(["alpha", "red", "green", "blue"])
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
  run: ({ channel, image }, context) =>
    Result.match(open(image, context), {
      onFailure: (plan) => plan,
      onSuccess: (picture) =>
        Plan.returns([
          channel === "alpha"
            ? alphaMask(picture)
            : Picture.channel(picture, ["red", "green", "blue"].indexOf(channel), false)
        ])
    })
})

/** The text chunks that a saved PNG carries: the prompt, and what `extra_pnginfo` holds. */
const metadata = (context: NodeClass.NodeContext): Readonly<Record<string, string>> => {
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
  context: NodeClass.NodeContext
): Plan.Plan => {
  const saved = context.save({ picture, prefix, folder, text: metadata(context) })
  return Result.match(saved, {
    onFailure: (message) => Plan.raises("Exception", message),
    onSuccess: (images) => Plan.returns([picture], { ui: { images } })
  })
}

const saveImage = NodeClass.define({
  class: "SaveImage",
  required: { images: NodeClass.image(), filename_prefix: NodeClass.string({ default: "ComfyUI" }) },
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

const previewImage = NodeClass.define({
  class: "PreviewImage",
  required: { images: NodeClass.image() },
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

const saveImageWebsocket = NodeClass.define({
  class: "SaveImageWebsocket",
  required: { images: NodeClass.image() },
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

/** LoadImage, LoadImageMask, SaveImage, PreviewImage, SaveImageWebsocket. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  loadImage,
  loadImageMask,
  saveImage,
  previewImage,
  saveImageWebsocket
]
