/**
 * Which inputs name model files: a table of ComfyUI's own loaders, and for other classes what is known of them, else the
 * extension.
 */
import type { Classes, ClassInput } from "./ClassInfo.ts"
import type { Json } from "./Json.ts"
import { isLink } from "./Workflow.ts"

/**
 * `class type → input → folder`, measured against a server of ComfyUI 0.33.0 with one file in each model folder. Values
 * that name no file: see {@link isBuiltIn}.
 */
export const modelInputs: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  AudioEncoderLoader: { audio_encoder_name: "audio_encoders" },
  CLIPLoader: { clip_name: "text_encoders" },
  CLIPVisionLoader: { clip_name: "clip_vision" },
  CheckpointLoader: { config_name: "configs", ckpt_name: "checkpoints" },
  CheckpointLoaderSimple: { ckpt_name: "checkpoints" },
  ControlNetLoader: { control_net_name: "controlnet" },
  CreateHookLora: { lora_name: "loras" },
  CreateHookLoraModelOnly: { lora_name: "loras" },
  CreateHookModelAsLora: { ckpt_name: "checkpoints" },
  CreateHookModelAsLoraModelOnly: { ckpt_name: "checkpoints" },
  DiffControlNetLoader: { control_net_name: "controlnet" },
  DiffusersLoader: { model_path: "diffusers" },
  DualCLIPLoader: { clip_name1: "text_encoders", clip_name2: "text_encoders" },
  FrameInterpolationModelLoader: { model_name: "frame_interpolation" },
  GLIGENLoader: { gligen_name: "gligen" },
  HypernetworkLoader: { hypernetwork_name: "hypernetworks" },
  ImageOnlyCheckpointLoader: { ckpt_name: "checkpoints" },
  LTXAVTextEncoderLoader: { text_encoder: "text_encoders", ckpt_name: "checkpoints" },
  LTXVAudioVAELoader: { ckpt_name: "checkpoints" },
  LatentUpscaleModelLoader: { model_name: "latent_upscale_models" },
  LoadBackgroundRemovalModel: { bg_removal_name: "background_removal" },
  LoadDA3Model: { model_name: "geometry_estimation" },
  LoadMediaPipeFaceLandmarker: { model_name: "detection" },
  LoadMoGeModel: { model_name: "geometry_estimation" },
  LoraLoader: { lora_name: "loras" },
  LoraLoaderBypass: { lora_name: "loras" },
  LoraLoaderBypassModelOnly: { lora_name: "loras" },
  LoraLoaderModelOnly: { lora_name: "loras" },
  ModelPatchLoader: { name: "model_patches" },
  OpticalFlowLoader: { model_name: "optical_flow" },
  PhotoMakerLoader: { photomaker_model_name: "photomaker" },
  QuadrupleCLIPLoader: {
    clip_name1: "text_encoders",
    clip_name2: "text_encoders",
    clip_name3: "text_encoders",
    clip_name4: "text_encoders"
  },
  StyleModelLoader: { style_model_name: "style_models" },
  TrainLoraNode: { existing_lora: "loras" },
  TripleCLIPLoader: { clip_name1: "text_encoders", clip_name2: "text_encoders", clip_name3: "text_encoders" },
  UNETLoader: { unet_name: "diffusion_models" },
  UpscaleModelLoader: { model_name: "upscale_models" },
  VAELoader: { vae_name: "vae" },
  unCLIPCheckpointLoader: { ckpt_name: "checkpoints" }
}

const table = new Map(Object.entries(modelInputs))

const builtIn: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["VAELoader/vae_name", new Set(["pixel_space", "taesd", "taesdxl", "taesd3", "taef1", "taef2"])],
  ["TrainLoraNode/existing_lora", new Set(["[None]"])]
])

/** Whether a loader's value stands for something built in (or nothing) instead of a file. */
export const isBuiltIn = (classType: string, inputName: string, value: string): boolean =>
  builtIn.get(`${classType}/${inputName}`)?.has(value) === true

const extensions: ReadonlySet<string> = new Set(
  "safetensors sft ckpt pt pt2 pth bin gguf onnx pkl npz engine trt".split(" ")
)
const longestExtension = 11
const longestName = 400

/** Whether a text ends like a model file; long texts and texts of several lines are prompts, whatever their end. */
export const hasModelExtension = (value: string): boolean => {
  if (value.length > longestName) return false
  const dot = value.lastIndexOf(".")
  return dot !== -1 && value.length - dot - 1 <= longestExtension &&
    extensions.has(value.slice(dot + 1).toLowerCase()) && !value.includes("\n")
}

/** Inputs that hold what a person wrote: "a jar labelled model.bin" is no file. */
const prose = /(^|_)(text|prompt|positive|negative|caption)(_|$)/i

/** What combos of files offer for "no file". */
const nothing = /^\W*(none|null|default|auto|disabled?)?\W*$/i

/** Any option that ends like a model file makes a combo one of model files. */
const listsModels = (input: ClassInput | undefined): boolean =>
  input !== undefined && input.options.some((option) => typeof option === "string" && hasModelExtension(option))

/**
 * Whether this value of this input names a model file: by the table where it lists the input, by the options of the input
 * where `classes` knows them to be model files, else by extension, except for inputs that by their name are prompts.
 */
export const namesModel = (classType: string, inputName: string, value: string, classes?: Classes): boolean => {
  const listed = table.get(classType)
  if (listed !== undefined && Object.hasOwn(listed, inputName)) return !isBuiltIn(classType, inputName, value)
  const declared = classes?.(classType)?.inputs.find(({ name }) => name === inputName)
  return listsModels(declared)
    ? !nothing.test(value)
    : hasModelExtension(value) && !prose.test(inputName)
}

/** Loaders of several files keep each in an object (`lora_1: {on, lora, strength}`); nothing real nests deeper. */
const maxNesting = 4

const within = (value: Json, depth: number): ReadonlyArray<string> => {
  if (typeof value === "string") return hasModelExtension(value) ? [value] : []
  return typeof value !== "object" || value === null || depth === maxNesting
    ? []
    : Object.values(value).flatMap((member) => within(member, depth + 1))
}

/** The model files that the value of an input names: itself, or texts with their extension inside an object or a list. */
export const namedBy = (
  classType: string,
  inputName: string,
  value: Json | undefined,
  classes?: Classes
): ReadonlyArray<string> => {
  if (typeof value === "string") return namesModel(classType, inputName, value, classes) ? [value] : none
  return typeof value !== "object" || value === null || isLink(value) ? none : within(value, 0)
}

const none: ReadonlyArray<string> = []
