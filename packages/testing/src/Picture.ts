/**
 * Pictures as plain 8-bit samples, drawn only when somebody looks: a run of a hundred image nodes costs nothing until
 * its file is fetched, and a picture is a pure function of what it was made from.
 */
import { after, hash, ofSamples } from "./internal/pictureKey.ts"

export { hash }

/** What a link carries: one channel is a MASK, three or four are an IMAGE. */
export type Channels = 1 | 3 | 4

/** Samples row by row, image after image of the batch: `batch * height * width * channels` of them. */
export type Samples = Uint8ClampedArray<ArrayBuffer>

/**
 * A batch of equally large images. `samples` is drawn at the first call and kept.
 */
export class Picture {
  readonly width: number
  readonly height: number
  readonly batch: number
  readonly channels: Channels
  /** A text that says what it is made of, where that is known without drawing it: equal texts are equal pictures. */
  readonly key: string | undefined
  #draw: (() => Samples) | undefined
  #samples: Samples | undefined

  constructor(
    shape: { readonly width: number; readonly height: number; readonly batch: number; readonly channels: Channels },
    draw: () => Samples,
    key?: string
  ) {
    this.key = key
    this.width = shape.width
    this.height = shape.height
    this.batch = shape.batch
    this.channels = shape.channels
    this.#draw = draw
  }

  /** The samples, drawn once. */
  samples(): Samples {
    if (this.#samples === undefined) {
      this.#samples = this.#draw === undefined ? new Uint8ClampedArray(0) : this.#draw()
      this.#draw = undefined
    }
    return this.#samples
  }

  /** The samples of one image of the batch; a copy. */
  image(index: number): Samples {
    const size = this.width * this.height * this.channels
    return this.samples().slice(index * size, (index + 1) * size)
  }
}

const make = (
  width: number,
  height: number,
  batch: number,
  channels: Channels,
  key: string | undefined,
  draw: (out: Samples) => void
): Picture =>
  new Picture(
    { width, height, batch, channels },
    () => {
      const out = new Uint8ClampedArray(width * height * batch * channels)
      draw(out)
      return out
    },
    key === undefined ? undefined : `${width}x${height}x${batch}x${channels}.${key}`
  )

/** One colour, `0xrrggbb`. */
export const solid = (width: number, height: number, batch: number, color: number): Picture =>
  make(width, height, batch, 3, `solid.${color}`, (out) => {
    const red = (color >> 16) & 255
    const green = (color >> 8) & 255
    const blue = color & 255
    for (let i = 0; i < out.length; i += 3) {
      out[i] = red
      out[i + 1] = green
      out[i + 2] = blue
    }
  })

/** A mask of one value from 0 to 1. */
export const solidMask = (width: number, height: number, value: number): Picture =>
  make(width, height, 1, 1, `value.${value}`, (out) => {
    out.fill(Math.round(value * 255))
  })

/** From samples that are there already. */
export const fromSamples = (
  shape: { readonly width: number; readonly height: number; readonly batch: number; readonly channels: Channels },
  samples: Samples
): Picture => {
  const { batch, channels, height, width } = shape
  const key = `${width}x${height}x${batch}x${channels}.${ofSamples(samples)}`
  return new Picture(shape, () => samples, key)
}

/** Without its alpha channel; a mask becomes grey. */
export const rgb = (picture: Picture): Picture => {
  const { batch, channels, height, width } = picture
  if (channels === 3) return picture
  return make(width, height, batch, 3, after("rgb", picture), (out) => {
    const from = picture.samples()
    for (let i = 0, o = 0; o < out.length; i += channels, o += 3) {
      for (let c = 0; c < 3; c++) out[o + c] = from[channels === 1 ? i : i + c] ?? 0
    }
  })
}

/** One channel as a mask, inverted where asked; a channel that is not there is 255. */
export const channel = (picture: Picture, index: number, invert: boolean): Picture => {
  const { batch, channels, height, width } = picture
  return make(width, height, batch, 1, after(`channel.${index}.${invert}`, picture), (out) => {
    const from = picture.samples()
    for (let i = 0; i < out.length; i++) {
      const value = index < channels ? from[i * channels + index] ?? 0 : 255
      out[i] = invert ? 255 - value : value
    }
  })
}

/** Every sample from the other end: 255 − x. */
export const invert = (picture: Picture): Picture => {
  const { batch, channels, height, width } = picture
  return make(width, height, batch, channels, after("invert", picture), (out) => {
    const from = picture.samples()
    for (let i = 0; i < out.length; i++) out[i] = 255 - (from[i] ?? 0)
  })
}

/** To another size; `center` cuts to the new aspect first, `smooth` mixes neighbours, otherwise the nearest counts. */
export const scale = (
  picture: Picture,
  width: number,
  height: number,
  options: { readonly smooth: boolean; readonly center: boolean }
): Picture => {
  const { batch, channels } = picture
  return make(width, height, batch, channels, after(`scale.${options.smooth}.${options.center}`, picture), (out) => {
    const from = picture.samples()
    let cropWidth = picture.width
    let cropHeight = picture.height
    if (options.center) {
      const aspect = width / height
      if (picture.width / picture.height > aspect) cropWidth = Math.max(1, Math.round(picture.height * aspect))
      else cropHeight = Math.max(1, Math.round(picture.width / aspect))
    }
    const left = Math.floor((picture.width - cropWidth) / 2)
    const top = Math.floor((picture.height - cropHeight) / 2)
    const at = (b: number, x: number, y: number, c: number): number => {
      const cx = left + Math.min(cropWidth - 1, Math.max(0, x))
      const cy = top + Math.min(cropHeight - 1, Math.max(0, y))
      return from[((b * picture.height + cy) * picture.width + cx) * channels + c] ?? 0
    }
    let o = 0
    for (let b = 0; b < batch; b++) {
      for (let y = 0; y < height; y++) {
        const sy = (y + 0.5) * cropHeight / height
        for (let x = 0; x < width; x++) {
          const sx = (x + 0.5) * cropWidth / width
          for (let c = 0; c < channels; c++) {
            if (options.smooth) {
              const x0 = Math.floor(sx - 0.5)
              const y0 = Math.floor(sy - 0.5)
              const dx = sx - 0.5 - x0
              const dy = sy - 0.5 - y0
              const upper = at(b, x0, y0, c) * (1 - dx) + at(b, x0 + 1, y0, c) * dx
              const lower = at(b, x0, y0 + 1, c) * (1 - dx) + at(b, x0 + 1, y0 + 1, c) * dx
              out[o++] = upper * (1 - dy) + lower * dy
            } else out[o++] = at(b, Math.floor(sx), Math.floor(sy), c)
          }
        }
      }
    }
  })
}

/** Gaussian blur, borders mirrored. */
export const blur = (picture: Picture, radius: number, sigma: number): Picture => {
  const { batch, channels, height, width } = picture
  return make(width, height, batch, channels, after(`blur.${radius}.${sigma}`, picture), (out) => {
    const kernel = new Float64Array(radius * 2 + 1)
    let sum = 0
    for (let i = -radius; i <= radius; i++) sum += kernel[i + radius] = Math.exp(-(i * i) / (2 * sigma * sigma))
    const mirror = (at: number, size: number): number => {
      const bounced = Math.abs(at) % Math.max(1, 2 * size - 2)
      return bounced < size ? bounced : 2 * size - 2 - bounced
    }
    const pass = (from: Samples | Float64Array, to: Samples | Float64Array, size: number, step: number): void => {
      for (let o = 0; o < to.length; o++) {
        const at = Math.floor(o / step) % size
        let value = 0
        for (let k = -radius; k <= radius; k++) {
          value += (from[o + (mirror(at + k, size) - at) * step] ?? 0) * (kernel[k + radius] ?? 0)
        }
        to[o] = value / sum
      }
    }
    const middle = new Float64Array(out.length)
    pass(picture.samples(), middle, width, channels)
    pass(middle, out, height, channels * width)
  })
}

/** Some images of the batch, in the given order. */
export const select = (picture: Picture, indexes: ReadonlyArray<number>): Picture => {
  const { channels, height, width } = picture
  return make(width, height, indexes.length, channels, after(`select.${indexes.join()}`, picture), (out) => {
    const size = width * height * channels
    indexes.forEach((index, position) => out.set(picture.image(index), position * size))
  })
}

/** Two batches one after the other; the second is brought to the size and channels of the first. */
export const concat = (first: Picture, second: Picture): Picture => {
  const channels: Channels = first.channels === second.channels ? first.channels : 3
  const a = channels === first.channels ? first : rgb(first)
  const sized = first.width === second.width && first.height === second.height
    ? second
    : scale(second, first.width, first.height, { smooth: true, center: true })
  const b = channels === sized.channels ? sized : rgb(sized)
  return make(first.width, first.height, first.batch + second.batch, channels, after("concat", a, b), (out) => {
    out.set(a.samples(), 0)
    out.set(b.samples(), a.samples().length)
  })
}

/** A picture that nobody has seen before and everybody gets who asks with the same text: soft fields of colour. */
export const imagine = (width: number, height: number, batch: number, text: string, noise = 0): Picture =>
  make(width, height, batch, 3, `imagine.${noise}.${text}`, (out) => {
    let o = 0
    for (let b = 0; b < batch; b++) {
      let seed = hash(`${text}#${b}`) || 1
      const random = (): number => {
        seed ^= seed << 13
        seed ^= seed >>> 17
        seed ^= seed << 5
        return (seed >>> 0) / 4294967296
      }
      const blobs = Array.from({ length: 5 }, () => ({
        x: random() * width,
        y: random() * height,
        size: (0.15 + random() * 0.35) * Math.max(width, height),
        color: [random() * 255, random() * 255, random() * 255]
      }))
      const base = [random() * 255, random() * 255, random() * 255]
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          let total = 0.35
          const color = base.map((value) => value * 0.35)
          for (const blob of blobs) {
            const dx = (x - blob.x) / blob.size
            const dy = (y - blob.y) / blob.size
            const weight = Math.exp(-(dx * dx + dy * dy) * 2)
            total += weight
            for (let c = 0; c < 3; c++) color[c] = (color[c] ?? 0) + (blob.color[c] ?? 0) * weight
          }
          for (let c = 0; c < 3; c++) {
            const clean = (color[c] ?? 0) / total
            out[o++] = noise === 0 ? clean : clean * (1 - noise) + random() * 255 * noise
          }
        }
      }
    }
  })

/** Two pictures mixed: `amount` 0 is the first, 1 the second. */
export const mix = (first: Picture, second: Picture, amount: number): Picture => {
  const a = rgb(first)
  const b = rgb(scale(second, first.width, first.height, { smooth: true, center: false }))
  return make(first.width, first.height, first.batch, 3, after(`mix.${amount}`, a, b), (out) => {
    const x = a.samples()
    const y = b.samples()
    for (let i = 0; i < out.length; i++) out[i] = (x[i] ?? 0) * (1 - amount) + (y[i % y.length] ?? 0) * amount
  })
}
