// Signatures of common classes for videos. Data only.
import type { Compact } from "./compactSignature.ts"

export const commonVideoSignatures: Readonly<Record<string, Compact>> = {
  CreateVideo: {
    title: "Create Video",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      images: ["IMAGE", {}],
      fps: ["FLOAT", { default: 30, min: 1, max: 120, step: 1 }]
    },
    optional: {
      audio: ["AUDIO", {}],
      bit_depth: ["INT", { default: 8, min: 8, max: 10, step: 2, display: "number" }]
    },
    output: ["VIDEO"],
    aliases: ["images to video"],
    essentials: "Video Tools"
  },
  SaveVideo: {
    title: "Save Video",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      video: ["VIDEO", {}],
      filename_prefix: ["STRING", { default: "video/ComfyUI", multiline: false }],
      format: ["COMFY_DYNAMICCOMBO_V3", {
        options: [{
          key: "auto",
          inputs: {
            required: {
              codec: ["COMFY_DYNAMICCOMBO_V3", {
                options: [{ key: "auto", inputs: { required: {} } }, {
                  key: "h264",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 23, min: 0, max: 51, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }, {
                  key: "av1",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 30, min: 0, max: 63, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }]
              }]
            }
          }
        }, {
          key: "mp4",
          inputs: {
            required: {
              codec: ["COMFY_DYNAMICCOMBO_V3", {
                options: [{ key: "auto", inputs: { required: {} } }, {
                  key: "h264",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 23, min: 0, max: 51, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }, {
                  key: "av1",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 30, min: 0, max: 63, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }]
              }]
            }
          }
        }, {
          key: "mkv",
          inputs: {
            required: {
              codec: ["COMFY_DYNAMICCOMBO_V3", {
                options: [{ key: "auto", inputs: { required: {} } }, {
                  key: "h264",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 23, min: 0, max: 51, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }, {
                  key: "av1",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 30, min: 0, max: 63, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }]
              }]
            }
          }
        }, {
          key: "webm",
          inputs: {
            required: {
              codec: ["COMFY_DYNAMICCOMBO_V3", {
                options: [{ key: "auto", inputs: { required: {} } }, {
                  key: "av1",
                  inputs: {
                    required: {},
                    optional: {
                      encoding: ["COMFY_DYNAMICCOMBO_V3", {
                        display_name: "encoding mode",
                        options: [{ key: "auto", inputs: { required: {} } }, {
                          key: "re-encode",
                          inputs: {
                            required: {
                              crf: ["FLOAT", { default: 30, min: 0, max: 63, step: 1 }],
                              color_space: ["COMBO", {
                                display_name: "color space",
                                default: "auto",
                                multiselect: false,
                                options: ["auto", "sRGB", "HDR", "HDR PQ"]
                              }]
                            }
                          }
                        }]
                      }]
                    }
                  }
                }]
              }]
            }
          }
        }]
      }]
    },
    optional: {
      codec: ["COMFY_DYNAMICCOMBO_V3", {
        hidden: true,
        options: [{ key: "auto", inputs: { required: {} } }, {
          key: "h264",
          inputs: {
            required: {},
            optional: {
              encoding: ["COMFY_DYNAMICCOMBO_V3", {
                display_name: "encoding mode",
                options: [{ key: "auto", inputs: { required: {} } }, {
                  key: "re-encode",
                  inputs: {
                    required: {
                      crf: ["FLOAT", { default: 23, min: 0, max: 51, step: 1 }],
                      color_space: ["COMBO", {
                        display_name: "color space",
                        default: "auto",
                        multiselect: false,
                        options: ["auto", "sRGB", "HDR", "HDR PQ"]
                      }]
                    }
                  }
                }]
              }]
            }
          }
        }, {
          key: "av1",
          inputs: {
            required: {},
            optional: {
              encoding: ["COMFY_DYNAMICCOMBO_V3", {
                display_name: "encoding mode",
                options: [{ key: "auto", inputs: { required: {} } }, {
                  key: "re-encode",
                  inputs: {
                    required: {
                      crf: ["FLOAT", { default: 30, min: 0, max: 63, step: 1 }],
                      color_space: ["COMBO", {
                        display_name: "color space",
                        default: "auto",
                        multiselect: false,
                        options: ["auto", "sRGB", "HDR", "HDR PQ"]
                      }]
                    }
                  }
                }]
              }]
            }
          }
        }]
      }]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["VIDEO"],
    names: ["video"],
    outputNode: true,
    aliases: ["export video"],
    essentials: "Basics"
  },
  LoadVideo: {
    title: "Load Video",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      file: ["COMBO", { multiselect: false, options: [], video_upload: true }]
    },
    output: ["VIDEO"],
    aliases: ["import video", "open video", "video file"],
    essentials: "Basics"
  },
  GetVideoComponents: {
    title: "Get Video Components",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      video: ["VIDEO", {}]
    },
    output: ["IMAGE", "AUDIO", "FLOAT", "INT", "COMBO"],
    names: ["images", "audio", "fps", "bit_depth", "color_space"],
    aliases: ["extract frames", "split video", "video to images", "demux"]
  }
}
