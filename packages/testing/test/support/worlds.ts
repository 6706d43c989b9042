// What a recorded server was besides its version: its arguments, its files, and what happened to it from outside.
import type { FakeComfy } from "@effect-comfyui/testing"

/** What a note of a recording says that somebody did, and the fake has to be told. */
export type Deed =
  | { readonly _tag: "Kill" }
  | { readonly _tag: "Restart" }
  /** A socket that is not in the recording opens, or breaks. */
  | { readonly _tag: "HiddenOpen"; readonly clientId: string }
  | { readonly _tag: "HiddenClose" }
  /** The socket that is dialled next sends a text of so many characters once it is open. */
  | { readonly _tag: "LongText"; readonly length: number }

export const deedOf = (note: string): Deed | undefined => {
  if (/^(SIGKILL|SIGTERM)/.test(note)) return { _tag: "Kill" }
  if (note.startsWith("started again")) return { _tag: "Restart" }
  if (note === "a socket through a relay") return { _tag: "HiddenOpen", clientId: "half1" }
  if (note === "the old connection is closed by the network") return { _tag: "HiddenClose" }
  const long = /^a text of ([0-9,]+) characters/.exec(note)
  return long?.[1] === undefined ? undefined : { _tag: "LongText", length: Number(long[1].replaceAll(",", "")) }
}

const folders: Readonly<Record<string, string>> = {
  "0.3.64":
    "checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings diffusers " +
    "vae_approx controlnet gligen upscale_models custom_nodes hypernetworks photomaker classifiers model_patches " +
    "audio_encoders",
  "0.33.0":
    "checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings diffusers " +
    "vae_approx controlnet gligen upscale_models latent_upscale_models custom_nodes datasets hypernetworks photomaker " +
    "classifiers model_patches audio_encoders background_removal frame_interpolation geometry_estimation optical_flow " +
    "detection"
}

/** The model files of the recorded servers. */
const modelsOf = (version: string, name: string): FakeComfy.Options["models"] => ({
  ...Object.fromEntries((folders[version] ?? "").split(" ").map((name) => [name, []])),
  checkpoints: [{ name: "broken.safetensors", bytes: 5 }],
  embeddings: [{ name: "emb one.safetensors", bytes: 100, metadata: { modelspec: "x", ss_tag: "{\"a\": 1}" } }],
  loras: [
    { name: "plain.safetensors", bytes: 66 },
    { name: "sub/l.safetensors", bytes: 91, metadata: { k: "v" } },
    // Came during an earlier case.
    ...name === "57-assets" ? [{ name: "new.safetensors", bytes: 66 }] : []
  ],
  vae: [{ name: "v.pt", bytes: 2 }]
})

/** The options that the version and the arguments of a case stand for. */
export const optionsOf = (version: string, args: ReadonlyArray<string>, name = ""): FakeComfy.Options => {
  const upload = args.indexOf("--max-upload-size")
  return {
    assets: args.includes("--enable-assets"),
    compress: args.includes("--enable-compress-response-body"),
    cors: args.includes("--enable-cors-header") ? "*" : undefined,
    maxUploadBytes: upload < 0 ? undefined : Number(args[upload + 1]) * 1024 * 1024,
    models: version in folders ? modelsOf(version, name) : undefined
  }
}

/** What earlier cases left on a server: requests that a fresh one has to be sent first. */
export const leftBefore = (
  name: string
): ReadonlyArray<{ readonly method: string; readonly path: string; readonly body: string }> =>
  name === "53-users-single"
    ? [{ method: "POST", path: `/userdata/${encodeURIComponent("workflows/äö😀.json")}`, body: "{}" }]
    : []
