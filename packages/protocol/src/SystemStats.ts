/** `GET /system_stats`: the only source of the server's version. */
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

const optionalText = Wire.nullish(Schema.String)

const device = Schema.Struct({
  name: Schema.String,
  type: Wire.open("cpu", "cuda", "mps", "xpu", "privateuseone"),
  index: Wire.nullish(Wire.double),
  vram_total: Wire.double,
  vram_free: Wire.double,
  torch_vram_total: Wire.nullish(Wire.double),
  torch_vram_free: Wire.nullish(Wire.double)
})

/** One torch device; sizes in bytes, `index` null on a CPU (whose "VRAM" is the RAM). */
export type Device = typeof device.Type

/** Sizes in bytes; one device before 0.23, all of them since, the primary one first. */
export const SystemStats = Wire.make(
  "system stats",
  Schema.Struct({
    system: Schema.Struct({
      os: optionalText,
      ram_total: Wire.nullish(Wire.double),
      ram_free: Wire.nullish(Wire.double),
      comfyui_version: optionalText,
      required_frontend_version: optionalText,
      installed_templates_version: optionalText,
      required_templates_version: optionalText,
      comfy_package_versions: Wire.nullish(
        Schema.Array(Schema.Struct({ name: Schema.String, installed: optionalText, required: optionalText }))
      ),
      python_version: optionalText,
      pytorch_version: optionalText,
      embedded_python: Wire.nullish(Schema.Boolean),
      deploy_environment: optionalText,
      argv: Wire.nullish(Wire.strings)
    }),
    devices: Schema.Array(device)
  })
)
export type SystemStats = Wire.Type<typeof SystemStats>
