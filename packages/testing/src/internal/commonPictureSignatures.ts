// Signatures of common classes for pictures and masks. Data only.
import type { Compact } from "./compactSignature.ts"

export const commonPictureSignatures: Readonly<Record<string, Compact>> = {
  ImageScaleBy: {
    title: "Upscale Image By",
    category: "image/upscaling",
    module: "nodes",
    required: {
      image: ["IMAGE"],
      upscale_method: [["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]],
      scale_by: ["FLOAT", { default: 1, min: 0.01, max: 8, step: 0.01 }]
    },
    output: ["IMAGE"],
    essentials: "Image Tools",
    old: true
  },
  ImageScaleToTotalPixels: {
    title: "Scale Image to Total Pixels",
    category: "image/upscaling",
    module: "comfy_extras.nodes_post_processing",
    required: {
      image: ["IMAGE", {}],
      upscale_method: ["COMBO", {
        multiselect: false,
        options: ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
      }],
      megapixels: ["FLOAT", { default: 1, min: 0.01, max: 16, step: 0.01 }],
      resolution_steps: ["INT", { advanced: true, default: 1, min: 1, max: 256 }]
    },
    output: ["IMAGE"]
  },
  ImageScaleToMaxDimension: {
    title: "Scale Image to Max Dimension",
    category: "image/upscaling",
    module: "comfy_extras.nodes_images",
    required: {
      image: ["IMAGE", {}],
      upscale_method: ["COMBO", {
        multiselect: false,
        options: ["area", "lanczos", "bilinear", "nearest-exact", "bilinear", "bicubic"]
      }],
      largest_size: ["INT", { default: 512, min: 0, max: 16384, step: 1 }]
    },
    output: ["IMAGE"]
  },
  ImageCrop: {
    title: "Crop Image (DEPRECATED)",
    category: "image/transform",
    module: "comfy_extras.nodes_images",
    required: {
      image: ["IMAGE", {}],
      width: ["INT", { default: 512, min: 1, max: 16384, step: 1 }],
      height: ["INT", { default: 512, min: 1, max: 16384, step: 1 }],
      x: ["INT", { default: 0, min: 0, max: 16384, step: 1 }],
      y: ["INT", { default: 0, min: 0, max: 16384, step: 1 }]
    },
    output: ["IMAGE"],
    deprecated: true,
    aliases: ["trim"],
    essentials: "Image Tools"
  },
  ImagePadForOutpaint: {
    title: "Pad Image for Outpainting",
    category: "image/transform",
    module: "nodes",
    required: {
      image: ["IMAGE"],
      left: ["INT", { default: 0, min: 0, max: 16384, step: 8 }],
      top: ["INT", { default: 0, min: 0, max: 16384, step: 8 }],
      right: ["INT", { default: 0, min: 0, max: 16384, step: 8 }],
      bottom: ["INT", { default: 0, min: 0, max: 16384, step: 8 }],
      feathering: ["INT", { default: 40, min: 0, max: 16384, step: 1, advanced: true }]
    },
    output: ["IMAGE", "MASK"],
    aliases: ["extend canvas", "expand image"],
    old: true
  },
  ImageCompositeMasked: {
    title: "Image Composite Masked",
    category: "image/compositing",
    module: "comfy_extras.nodes_mask",
    required: {
      destination: ["IMAGE", {}],
      source: ["IMAGE", {}],
      x: ["INT", { default: 0, min: 0, max: 16384, step: 1 }],
      y: ["INT", { default: 0, min: 0, max: 16384, step: 1 }],
      resize_source: ["BOOLEAN", { default: false }]
    },
    optional: {
      mask: ["MASK", {}]
    },
    output: ["IMAGE"],
    aliases: ["overlay", "layer", "paste image", "images composition"]
  },
  InvertMask: {
    title: "Invert Mask",
    category: "image/mask",
    module: "comfy_extras.nodes_mask",
    required: {
      mask: ["MASK", {}]
    },
    output: ["MASK"],
    aliases: ["reverse mask", "flip mask"]
  },
  ImageToMask: {
    title: "Convert Image to Mask",
    category: "image/mask",
    module: "comfy_extras.nodes_mask",
    required: {
      image: ["IMAGE", {}],
      channel: ["COMBO", { multiselect: false, options: ["red", "green", "blue", "alpha"] }]
    },
    output: ["MASK"],
    aliases: ["extract channel", "channel to mask"]
  },
  ImageFlip: {
    title: "Flip Image",
    category: "image/transform",
    module: "comfy_extras.nodes_images",
    required: {
      image: ["IMAGE", {}],
      flip_method: ["COMBO", { multiselect: false, options: ["x-axis: vertically", "y-axis: horizontally"] }]
    },
    output: ["IMAGE"],
    aliases: ["mirror", "reflect"]
  },
  ImageRotate: {
    title: "Rotate Image",
    category: "image/transform",
    module: "comfy_extras.nodes_images",
    required: {
      image: ["IMAGE", {}],
      rotation: ["COMBO", { multiselect: false, options: ["none", "90 degrees", "180 degrees", "270 degrees"] }]
    },
    output: ["IMAGE"],
    aliases: ["turn", "flip orientation"],
    essentials: "Image Tools"
  },
  CropMask: {
    title: "Crop Mask",
    category: "image/mask",
    module: "comfy_extras.nodes_mask",
    required: {
      mask: ["MASK", {}],
      x: ["INT", { default: 0, min: 0, max: 16384, step: 1 }],
      y: ["INT", { default: 0, min: 0, max: 16384, step: 1 }],
      width: ["INT", { default: 512, min: 1, max: 16384, step: 1 }],
      height: ["INT", { default: 512, min: 1, max: 16384, step: 1 }]
    },
    output: ["MASK"],
    aliases: ["cut mask", "extract mask region", "mask slice"]
  },
  JoinImageWithAlpha: {
    title: "Join Image with Alpha",
    category: "image/compositing",
    module: "comfy_extras.nodes_compositing",
    required: {
      image: ["IMAGE", {}],
      alpha: ["MASK", {}]
    },
    output: ["IMAGE"],
    aliases: ["add transparency", "apply alpha", "composite alpha", "RGBA"]
  },
  MaskPreview: {
    title: "Preview Mask",
    category: "image/mask",
    module: "comfy_extras.nodes_mask",
    required: {
      mask: ["MASK", {}]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["MASK"],
    names: ["mask"],
    outputNode: true,
    aliases: ["show mask", "view mask", "inspect mask", "debug mask"]
  },
  BatchImagesNode: {
    title: "Batch Images",
    category: "image/batch",
    module: "comfy_extras.nodes_post_processing",
    required: {
      images: ["COMFY_AUTOGROW_V3", {
        template: { input: { required: { image: ["IMAGE", {}] } }, prefix: "image", min: 1, max: 50 }
      }]
    },
    output: ["IMAGE"],
    aliases: ["batch", "image batch", "batch images", "combine images", "merge images", "stack images"],
    essentials: "Image Tools"
  },
  SaveAnimatedWEBP: {
    title: "Save Animated WEBP",
    category: "image",
    module: "comfy_extras.nodes_images",
    required: {
      images: ["IMAGE", {}],
      filename_prefix: ["STRING", { default: "ComfyUI", multiline: false }],
      fps: ["FLOAT", { default: 6, min: 0.01, max: 1000, step: 0.01 }],
      lossless: ["BOOLEAN", { default: true }],
      quality: ["INT", { default: 80, min: 0, max: 100 }],
      method: ["COMBO", { multiselect: false, options: ["default", "fastest", "slowest"] }]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["IMAGE"],
    names: ["images"],
    outputNode: true
  },
  SaveAnimatedPNG: {
    title: "Save Animated PNG",
    category: "image",
    module: "comfy_extras.nodes_images",
    required: {
      images: ["IMAGE", {}],
      filename_prefix: ["STRING", { default: "ComfyUI", multiline: false }],
      fps: ["FLOAT", { default: 6, min: 0.01, max: 1000, step: 0.01 }],
      compress_level: ["INT", { advanced: true, default: 4, min: 0, max: 9 }]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["IMAGE"],
    names: ["images"],
    outputNode: true
  }
}
