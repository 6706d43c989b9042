// Signatures of common classes for texts, numbers and choices, and for sound. Data only.
import type { Compact } from "./compactSignature.ts"

const maxInt = 9_223_372_036_854_775_807n

export const commonTextSignatures: Readonly<Record<string, Compact>> = {
  PrimitiveFloat: {
    title: "Float",
    category: "utilities/primitive",
    module: "comfy_extras.nodes_primitive",
    required: {
      value: ["FLOAT", { min: -maxInt, max: maxInt, step: 0.1 }]
    },
    output: ["FLOAT"]
  },
  PrimitiveBoolean: {
    title: "Boolean",
    category: "utilities/primitive",
    module: "comfy_extras.nodes_primitive",
    required: {
      value: ["BOOLEAN", {}]
    },
    output: ["BOOLEAN"]
  },
  PrimitiveStringMultiline: {
    title: "Text (Multiline)",
    category: "utilities/primitive",
    module: "comfy_extras.nodes_primitive",
    required: {
      value: ["STRING", { multiline: true }]
    },
    output: ["STRING"],
    aliases: ["text", "string", "text multiline", "string multiline", "text box", "prompt"],
    essentials: "Basics"
  },
  StringReplace: {
    title: "Replace Text",
    category: "text",
    module: "comfy_extras.nodes_string",
    required: {
      string: ["STRING", { multiline: true }],
      find: ["STRING", { multiline: true }],
      replace: ["STRING", { multiline: true }]
    },
    output: ["STRING"],
    aliases: ["replace", "find and replace", "substitute", "swap text"]
  },
  StringTrim: {
    title: "Trim Text",
    category: "text",
    module: "comfy_extras.nodes_string",
    required: {
      string: ["STRING", { multiline: true }],
      mode: ["COMBO", { multiselect: false, options: ["Both", "Left", "Right"] }]
    },
    output: ["STRING"],
    aliases: ["trim", "clean whitespace", "remove whitespace", "remove spaces", "strip"]
  },
  CaseConverter: {
    title: "Convert Text Case",
    category: "text",
    module: "comfy_extras.nodes_string",
    required: {
      string: ["STRING", { multiline: true }],
      mode: ["COMBO", { multiselect: false, options: ["UPPERCASE", "lowercase", "Capitalize", "Title Case"] }]
    },
    output: ["STRING"],
    aliases: ["case converter", "text case", "uppercase", "lowercase", "capitalize"]
  },
  StringSubstring: {
    title: "Substring",
    category: "text",
    module: "comfy_extras.nodes_string",
    required: {
      string: ["STRING", { multiline: true }],
      start: ["INT", {}],
      end: ["INT", {}]
    },
    output: ["STRING"],
    aliases: ["substring", "extract text", "text portion"]
  },
  ComfySwitchNode: {
    title: "If/Else Switch",
    category: "utilities/logic",
    module: "comfy_extras.nodes_logic",
    required: {
      switch: ["BOOLEAN", {}],
      on_false: ["COMFY_MATCHTYPE_V3", { lazy: true, template: { template_id: "switch", allowed_types: "*" } }],
      on_true: ["COMFY_MATCHTYPE_V3", { lazy: true, template: { template_id: "switch", allowed_types: "*" } }]
    },
    output: ["COMFY_MATCHTYPE_V3"],
    names: ["output"],
    templates: ["switch"],
    experimental: true,
    aliases: ["if", "then", "switch", "conditional", "branch"]
  },
  LoadAudio: {
    title: "Load Audio",
    category: "audio",
    module: "comfy_extras.nodes_audio",
    required: {
      audio: ["COMBO", { multiselect: false, options: [], audio_upload: true }]
    },
    output: ["AUDIO"],
    aliases: ["import audio", "open audio", "audio file"],
    essentials: "Audio"
  },
  SaveAudio: {
    title: "Save Audio (FLAC) (DEPRECATED)",
    category: "audio",
    module: "comfy_extras.nodes_audio",
    required: {
      audio: ["AUDIO", {}],
      filename_prefix: ["STRING", { default: "audio/ComfyUI", multiline: false }]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["AUDIO"],
    names: ["audio"],
    outputNode: true,
    deprecated: true,
    aliases: ["export flac"],
    essentials: "Audio"
  },
  SaveAudioMP3: {
    title: "Save Audio (MP3) (DEPRECATED)",
    category: "audio",
    module: "comfy_extras.nodes_audio",
    required: {
      audio: ["AUDIO", {}],
      filename_prefix: ["STRING", { default: "audio/ComfyUI", multiline: false }],
      quality: ["COMBO", { default: "V0", multiselect: false, options: ["V0", "128k", "320k"] }]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["AUDIO"],
    names: ["audio"],
    outputNode: true,
    deprecated: true,
    aliases: ["export mp3"],
    essentials: "Audio"
  },
  PreviewAudio: {
    title: "Preview Audio",
    category: "audio",
    module: "comfy_extras.nodes_audio",
    required: {
      audio: ["AUDIO", {}]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["AUDIO"],
    names: ["audio"],
    outputNode: true,
    aliases: ["play audio"]
  }
}
