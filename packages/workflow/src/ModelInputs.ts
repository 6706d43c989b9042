/** Which inputs name model files: a table of ComfyUI's own loaders, and the extension for classes that it does not list. */

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

const builtIn: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["VAELoader/vae_name", new Set(["pixel_space", "taesd", "taesdxl", "taesd3", "taef1", "taef2"])],
  ["TrainLoraNode/existing_lora", new Set(["[None]"])]
])

/** Whether a loader's value stands for something built in (or nothing) instead of a file. */
export const isBuiltIn = (classType: string, inputName: string, value: string): boolean =>
  builtIn.get(`${classType}/${inputName}`)?.has(value) === true

const extension = /\.(safetensors|sft|ckpt|pt|pt2|pth|bin|gguf|onnx|pkl|npz|engine|trt)$/i

/** Whether a text ends like a model file; long texts and texts of several lines are prompts, whatever their end. */
export const hasModelExtension = (value: string): boolean =>
  value.length <= 400 && !value.includes("\n") && extension.test(value)

/** Whether this value of this input names a model file: by the table where it lists the class, else by extension. */
export const namesModel = (classType: string, inputName: string, value: string): boolean => {
  const inputs = Object.hasOwn(modelInputs, classType) ? modelInputs[classType] : undefined
  return inputs !== undefined && Object.hasOwn(inputs, inputName)
    ? !isBuiltIn(classType, inputName, value)
    : hasModelExtension(value)
}
