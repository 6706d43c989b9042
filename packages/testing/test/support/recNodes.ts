// The nodes of the recordings, defined by what the recordings show of them.
import { NodeClass, Picture, Plan } from "@effect-comfyui/testing"
import * as Option from "effect/Option"
import { expandingNodes } from "./expandingNodes.ts"

const value = NodeClass.link("*", Option.some)
const info = { module: "custom_nodes.rec_nodes", category: "rec" }
const text = (
  of: unknown
): string =>
  of === true
    ? "True"
    : of === false
    ? "False"
    : of === null
    ? "None"
    : Array.isArray(of)
    ? `[${of.map(text).join(", ")}]`
    : String(of)
const show = (of: unknown) => Plan.returns([of], { ui: { text: [text(of)] } })

const source = NodeClass.define({
  class: "RecSource",
  required: { seed: NodeClass.int({ default: 0, min: 0, max: 18446744073709551615n }) },
  outputs: ["INT"],
  info,
  run: ({ seed }) => Plan.returns([seed])
})

const pass = NodeClass.define({
  class: "RecPass",
  required: { value },
  outputs: ["*"],
  info,
  run: ({ value }) => Plan.returns([value])
})

const out = NodeClass.define({
  class: "RecOut",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }) => show(value)
})

const silentOut = NodeClass.define({
  class: "RecSilentOut",
  required: { value },
  outputNode: true,
  info,
  run: () => Plan.returns([])
})

const sleep = NodeClass.define({
  class: "RecSleep",
  required: {
    value,
    seconds: NodeClass.float({ default: 1, min: 0n, max: 600n }),
    interruptible: NodeClass.boolean({ default: true }),
    progress: NodeClass.boolean({ default: false })
  },
  outputs: ["*"],
  info,
  run: ({ interruptible, progress, seconds, value }) =>
    Plan.returns([value], {
      steps: progress
        ? Plan.progress({ count: Math.max(1, Math.round(seconds * 10)), ms: 100 })
        : [Plan.wait(seconds * 1000, { watches: interruptible })]
    })
})

const preview = NodeClass.define({
  class: "RecPreview",
  required: {
    value,
    steps: NodeClass.int({ default: 3 }),
    ms: NodeClass.int({ default: 30 }),
    size: NodeClass.int({ default: 24 }),
    format: NodeClass.combo(["JPEG", "PNG"]),
    noise: NodeClass.boolean({ default: false })
  },
  outputs: ["*"],
  info,
  run: ({ format, ms, size, steps, value }) =>
    Plan.returns([value], {
      steps: Plan.progress({
        count: Number(steps),
        ms: Number(ms),
        preview: (step) => ({
          format: format === "PNG" ? "PNG" : "JPEG",
          picture: Picture.imagine(Number(size), Number(size), 1, `${String(value)}.${step}`)
        })
      })
    })
})

const raises: Record<string, readonly [string, string]> = {
  value: ["ValueError", "the value does not fit"],
  keyerror: ["KeyError", "'missing'"],
  empty: ["Exception", ""],
  chained: ["RuntimeError", "outer"],
  odd: ["ValueError", "odd \u0000 \u2028 \u{1f600} \"quoted\" \\ </script> \u001b[31mred\u001b[0m\r\n\ttab"],
  unserialisable: ["/data/custom_nodes/rec_nodes.Odd", "odd class"],
  long: ["RuntimeError", `long ${"x".repeat(20000)}`],
  surrogate: ["ValueError", "bad name \udc80"]
}

const raise = NodeClass.define({
  class: "RecRaise",
  required: { value, kind: NodeClass.string({ default: "value" }) },
  outputs: ["*"],
  info,
  run: ({ kind }) => {
    if (kind === "systemexit") return Plan.ends({ _tag: "KillWorker" })
    const [type, message] = raises[kind] ?? ["Exception", kind]
    return Plan.raises(type, message)
  }
})

const outOfMemory = NodeClass.define({
  class: "RecOOM",
  required: { value },
  outputs: ["*"],
  info,
  run: () => Plan.outOfMemory()
})

const notANumber = NodeClass.define({
  class: "RecNaN",
  required: { value, size: NodeClass.float({ default: 1 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: () =>
    Plan.returns([Number.NaN], {
      ui: {
        numbers: [
          Number.NaN,
          Infinity,
          -Infinity,
          18446744073709551615n,
          -9223372036854775808n,
          9007199254740993n,
          Infinity,
          NodeClass.asFloat(1),
          1e-320
        ],
        nested: [{ loss: Number.NaN, seed: 18446744073709551615n, text: "NaN, Infinity \" -Infinity" }]
      }
    })
})

const sendText = NodeClass.define({
  class: "RecText",
  required: { value, text: NodeClass.string(), broadcast: NodeClass.boolean({ default: false }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ broadcast, text: message, value }) =>
    Plan.returns([value], {
      ui: { text: [text(value)] },
      steps: [{ _tag: "Text", text: message, to: broadcast ? "everyone" : "client" }]
    })
})

const waitThenOut = NodeClass.define({
  class: "RecOutputAfterWait",
  required: { value, seconds: NodeClass.float({ default: 1 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ seconds, value }) =>
    Plan.returns([value], { ui: { text: [text(value)] }, steps: [Plan.wait(seconds * 1000)] })
})

const exit = NodeClass.define({
  class: "RecHardExit",
  required: { value, code: NodeClass.int({ default: 1 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: () => Plan.ends({ _tag: "Exit" })
})

const bytesUi = NodeClass.define({
  class: "RecBytesUi",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }) => Plan.returns([value], { ui: { data: [new Uint8Array(2)] } })
})

const crashPublish = NodeClass.define({
  class: "RecCrashPublish",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }) =>
    Plan.returns([value], {
      steps: [{ _tag: "Event", type: "rec.bytes", data: { bytes: new Uint8Array(1) }, to: "everyone" }]
    })
})

const secret = NodeClass.define({
  class: "RecSecret",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }, context) =>
    Plan.returns([value], {
      ui: {
        text: ["api_key_comfy_org", "auth_token_comfy_org"].map((key) => String(context.secrets.get(key)?.length ?? 0))
      }
    })
})

const customEvent = NodeClass.define({
  class: "RecCustomEvent",
  required: { value, mode: NodeClass.string({ default: "plain" }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ mode, value }) => {
    const event = (type: string, data: unknown, to: Plan.Audience = "everyone"): Plan.Step => ({
      _tag: "Event",
      type,
      data,
      to
    })
    const binary = (bytes: Uint8Array): Plan.Step => ({ _tag: "Binary", bytes, to: "everyone" })
    const plain = [
      event("rec.custom", { value: text(value), for: "all" }),
      event("rec.custom", { value: text(value), for: "client" }, "client")
    ]
    const odd = [
      event("rec.null", null),
      event("rec.text", "just text"),
      event("rec.list", [1, 2, Number.NaN]),
      event("status", { odd: true }),
      binary(Buffer.from("\0\0\0\x63\0\0\0\x01unknown binary event")),
      binary(Buffer.from("\0\0\0\x01"))
    ]
    return Plan.returns([value], { ui: { text: [text(value)] }, steps: mode === "odd" ? [...plain, ...odd] : plain })
  }
})

const written = [
  "a.png",
  "sub dir/ä b#1.png",
  "clip.mp4",
  "clip.png",
  "anim.gif",
  "s.flac",
  "mesh.glb",
  "note.txt",
  "page.html"
]
const saved = (filename: string, subfolder = "") => ({ filename, subfolder, type: "output" })

const many = NodeClass.define({
  class: "RecMany",
  required: { value, number: NodeClass.boolean({ default: false }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ number, value }) =>
    Plan.returns([value], {
      steps: written.map((path): Plan.Step => ({
        _tag: "File",
        folder: "output",
        path,
        bytes: new TextEncoder().encode(`rec ${path}`)
      })),
      ui: {
        images: [saved("a.png"), { ...saved("ä b#1.png", "sub dir"), extra: 1 }],
        animated: [true],
        gifs: [
          {
            ...saved("clip.mp4"),
            format: "video/h264-mp4",
            frame_rate: NodeClass.asFloat(8),
            workflow: "clip.png",
            fullpath: "/data/output/clip.mp4"
          },
          { ...saved("anim.gif"), format: "image/gif" }
        ],
        audio: [saved("s.flac")],
        "3d": [saved("mesh.glb")],
        result: ["mesh.glb", null, { position: { x: 1, y: 2, z: 3 } }],
        text: ["one", "two"],
        files: [saved("note.txt"), saved("page.html")],
        string: "not a list",
        flag: [true, false, null],
        map: { k: 1 },
        empty: [],
        ...number ? { number: 5 } : {}
      }
    })
})

const asyncSleep = NodeClass.define({
  class: "TestSleep",
  required: { value, seconds: NodeClass.float({ default: 1, min: 0, max: 9999, step: 0.01 }) },
  hidden: { unique_id: "UNIQUE_ID" },
  outputs: ["*"],
  async: true,
  info,
  run: ({ seconds, value }) =>
    Plan.returns([value], {
      steps: Array.from({ length: Math.round(seconds * 100) }, (_, step): ReadonlyArray<Plan.Step> => [
        { _tag: "Progress", value: step / 100 + 1e-7, max: seconds },
        Plan.wait(10)
      ]).flat()
    })
})

const asyncError = NodeClass.define({
  class: "TestAsyncError",
  required: { value, error_after: NodeClass.float({ default: 1, min: 0, max: 10, step: 0.01 }) },
  outputs: ["*"],
  async: true,
  info,
  run: ({ error_after }) =>
    Plan.raises("RuntimeError", "Intentional async execution error for testing", {
      steps: [Plan.wait(error_after * 1000)]
    })
})

const stubImage = NodeClass.define({
  class: "StubImage",
  required: {
    content: NodeClass.combo(["WHITE", "BLACK", "NOISE"]),
    height: NodeClass.int({ default: 512 }),
    width: NodeClass.int({ default: 512 }),
    batch_size: NodeClass.int({ default: 1 })
  },
  outputs: ["IMAGE"],
  info,
  run: ({ batch_size, content, height, width }) =>
    Plan.returns([Picture.solid(Number(width), Number(height), Number(batch_size), content === "WHITE" ? 0xffffff : 0)])
})

const average = NodeClass.define({
  class: "TestVariadicAverage",
  required: { input1: NodeClass.image() },
  optional: { input2: NodeClass.image(), input3: NodeClass.image() },
  outputs: ["IMAGE"],
  info,
  run: ({ input1, input2 }) => Plan.returns([input2 === undefined ? input1 : Picture.mix(input1, input2, 0.5)])
})

const blocker = NodeClass.define({
  class: "TestExecutionBlocker",
  required: { input: value, block: NodeClass.boolean(), verbose: NodeClass.boolean() },
  outputs: ["*"],
  info,
  run: ({ block, input, verbose }) =>
    block
      ? Plan.ends({ _tag: "Block", message: verbose ? "Blocked Execution" : undefined })
      : Plan.returns([input])
})

export const recNodes: ReadonlyArray<NodeClass.NodeClass> = [
  source,
  pass,
  out,
  silentOut,
  sleep,
  preview,
  raise,
  outOfMemory,
  notANumber,
  sendText,
  waitThenOut,
  exit,
  bytesUi,
  crashPublish,
  secret,
  customEvent,
  many,
  asyncSleep,
  asyncError,
  stubImage,
  average,
  blocker,
  ...expandingNodes
]
