/** Pictures cut, put together and turned. Like those of `Picture`, the results are drawn when somebody looks. */
import { after } from "./internal/pictureKey.ts"
import type { Channels, Picture, Samples } from "./Picture.ts"
import * as Pictures from "./Picture.ts"

const make = (
  shape: { readonly width: number; readonly height: number; readonly batch: number; readonly channels: Channels },
  key: string | undefined,
  sample: (b: number, x: number, y: number, c: number) => number
): Picture => {
  const { batch, channels, height, width } = shape
  return new Pictures.Picture(shape, () => {
    const out: Samples = new Uint8ClampedArray(width * height * batch * channels)
    let o = 0
    for (let b = 0; b < batch; b++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) for (let c = 0; c < channels; c++) out[o++] = sample(b, x, y, c)
      }
    }
    return out
  }, key === undefined ? undefined : `${width}x${height}x${batch}x${channels}.${key}`)
}

/** A sample of a picture; of its last image, where it has fewer. */
const at = (picture: Picture, b: number, x: number, y: number, c: number): number =>
  picture.samples()[
    ((Math.min(b, picture.batch - 1) * picture.height + y) * picture.width + x) * picture.channels + c
  ] ?? 0

/** A part of each image, as far as it reaches; at least one pixel. */
export const crop = (picture: Picture, x: number, y: number, width: number, height: number): Picture => {
  const left = Math.min(x, picture.width - 1)
  const top = Math.min(y, picture.height - 1)
  const shape = {
    width: Math.min(width, picture.width - left),
    height: Math.min(height, picture.height - top),
    batch: picture.batch,
    channels: picture.channels
  }
  return make(shape, after(`crop.${left}.${top}`, picture), (b, px, py, c) => at(picture, b, left + px, top + py, c))
}

/** Widths of a border, pixels. */
export interface Border {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
}

const padded = (picture: Picture, border: Border) => ({
  width: picture.width + border.left + border.right,
  height: picture.height + border.top + border.bottom
})

/** With a border of grey. */
export const pad = (picture: Picture, border: Border): Picture => {
  const { left, top } = border
  const shape = { ...padded(picture, border), batch: picture.batch, channels: picture.channels }
  return make(shape, after(`pad.${left}.${top}`, picture), (b, x, y, c) => {
    const px = x - left
    const py = y - top
    return px < 0 || py < 0 || px >= picture.width || py >= picture.height ? 127 : at(picture, b, px, py, c)
  })
}

/** The mask that goes with {@link pad}: the border, and a soft seam of so many pixels inside of it. */
export const padMask = (picture: Picture, border: Border, feathering: number): Picture => {
  const { bottom, left, right, top } = border
  const { height, width } = picture
  const soft = feathering > 0 && feathering * 2 < height && feathering * 2 < width
  const shape = { ...padded(picture, border), batch: 1, channels: 1 as const }
  const key = `padMask.${width}.${height}.${left}.${top}.${feathering}`
  return make(shape, key, (_b, x, y) => {
    const px = x - left
    const py = y - top
    if (px < 0 || py < 0 || px >= width || py >= height) return 255
    if (!soft) return 0
    const distance = Math.min(
      left === 0 ? width : px,
      right === 0 ? width : width - px,
      top === 0 ? height : py,
      bottom === 0 ? height : height - py
    )
    return distance >= feathering ? 0 : 255 * ((feathering - distance) / feathering) ** 2
  })
}

/** One picture over another at a place, where a mask of the source's size says so; all of it without one. */
export const composite = (
  destination: Picture,
  source: Picture,
  place: { readonly x: number; readonly y: number },
  mask?: Picture
): Picture => {
  const over = mask === undefined
    ? undefined
    : Pictures.scale(mask, source.width, source.height, { smooth: true, center: false })
  const from = source.channels === destination.channels ? source : Pictures.rgb(source)
  const { batch, channels, height, width } = destination
  const key = after(`over.${place.x}.${place.y}`, destination, from, ...over === undefined ? [] : [over])
  return make({ width, height, batch, channels }, key, (b, x, y, c) => {
    const below = at(destination, b, x, y, c)
    const px = x - place.x
    const py = y - place.y
    if (px < 0 || py < 0 || px >= from.width || py >= from.height || c >= from.channels) return below
    const share = over === undefined ? 1 : at(over, b, px, py, 0) / 255
    return below * (1 - share) + at(from, b, px, py, c) * share
  })
}

/** Upside down, or mirrored. */
export const flip = (picture: Picture, axis: "vertically" | "horizontally"): Picture => {
  const { batch, channels, height, width } = picture
  return make(
    { width, height, batch, channels },
    after(`flip.${axis}`, picture),
    (b, x, y, c) => axis === "vertically" ? at(picture, b, x, height - 1 - y, c) : at(picture, b, width - 1 - x, y, c)
  )
}

/** Clockwise, by so many quarters of a turn. */
export const rotate = (picture: Picture, quarters: number): Picture => {
  const turns = ((quarters % 4) + 4) % 4
  const { batch, channels, height, width } = picture
  if (turns === 0) return picture
  const shape = { ...turns === 2 ? { width, height } : { width: height, height: width }, batch, channels }
  return make(shape, after(`rotate.${turns}`, picture), (b, x, y, c) =>
    turns === 1
      ? at(picture, b, y, height - 1 - x, c)
      : turns === 2
      ? at(picture, b, width - 1 - x, height - 1 - y, c)
      : at(picture, b, width - 1 - y, x, c))
}

/** With a mask as its alpha channel: where the mask is white, nothing is seen. */
export const withAlpha = (picture: Picture, mask: Picture): Picture => {
  const { batch, height, width } = picture
  const alpha = Pictures.scale(mask, width, height, { smooth: true, center: false })
  return make(
    { width, height, batch, channels: 4 },
    after("alpha", picture, alpha),
    (b, x, y, c) => c < 3 ? at(picture, b, x, y, picture.channels === 1 ? 0 : c) : 255 - at(alpha, b, x, y, 0)
  )
}
