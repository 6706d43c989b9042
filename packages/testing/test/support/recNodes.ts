// The nodes of the recordings, defined by what the recordings show of them.
import { FakeNode, Picture, Plan } from "@effect-comfyui/testing"
import * as Option from "effect/Option"

const value = FakeNode.link("*", Option.some)
const info = { module: "custom_nodes.rec_nodes", category: "rec" }
const text = (
  of: unknown
): string => (of === true ? "True" : of === false ? "False" : of === null ? "None" : String(of))
const show = (of: unknown) => Plan.returns([of], { ui: { text: [text(of)] } })

const source = FakeNode.define({
  class: "RecSource",
  required: { seed: FakeNode.int({ default: 0, min: 0, max: 18446744073709551615n }) },
  outputs: ["INT"],
  info,
  run: ({ seed }) => Plan.returns([seed])
})

const pass = FakeNode.define({
  class: "RecPass",
  required: { value },
  outputs: ["*"],
  info,
  run: ({ value }) => Plan.returns([value])
})

const out = FakeNode.define({
  class: "RecOut",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }) => show(value)
})

const silentOut = FakeNode.define({
  class: "RecSilentOut",
  required: { value },
  outputNode: true,
  info,
  run: () => Plan.returns([])
})

const sleep = FakeNode.define({
  class: "RecSleep",
  required: {
    value,
    seconds: FakeNode.float({ default: 1, min: 0n, max: 600n }),
    interruptible: FakeNode.boolean({ default: true }),
    progress: FakeNode.boolean({ default: false })
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

const preview = FakeNode.define({
  class: "RecPreview",
  required: {
    value,
    steps: FakeNode.int({ default: 3 }),
    ms: FakeNode.int({ default: 30 }),
    size: FakeNode.int({ default: 24 }),
    format: FakeNode.combo(["JPEG", "PNG"]),
    noise: FakeNode.boolean({ default: false })
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

const raise = FakeNode.define({
  class: "RecRaise",
  required: { value, kind: FakeNode.string({ default: "value" }) },
  outputs: ["*"],
  info,
  run: ({ kind }) => {
    const [type, message] = raises[kind] ?? ["Exception", kind]
    return Plan.raises(type, message)
  }
})

const outOfMemory = FakeNode.define({
  class: "RecOOM",
  required: { value },
  outputs: ["*"],
  info,
  run: () => Plan.outOfMemory()
})

const notANumber = FakeNode.define({
  class: "RecNaN",
  required: { value, size: FakeNode.float({ default: 1 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }) =>
    Plan.returns([value], {
      ui: {
        numbers: [
          Number.NaN,
          Infinity,
          -Infinity,
          18446744073709551615n,
          -9223372036854775808n,
          9007199254740993n,
          Infinity,
          FakeNode.asFloat(1),
          1e-320
        ],
        nested: [{ loss: Number.NaN, seed: 18446744073709551615n, text: "NaN, Infinity \" -Infinity" }]
      }
    })
})

const sendText = FakeNode.define({
  class: "RecText",
  required: { value, text: FakeNode.string(), broadcast: FakeNode.boolean({ default: false }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ broadcast, text: message, value }) =>
    Plan.returns([value], {
      ui: { text: [text(value)] },
      steps: [{ _tag: "Text", text: message, to: broadcast ? "everyone" : "client" }]
    })
})

const waitThenOut = FakeNode.define({
  class: "RecOutputAfterWait",
  required: { value, seconds: FakeNode.float({ default: 1 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ seconds, value }) =>
    Plan.returns([value], { ui: { text: [text(value)] }, steps: [Plan.wait(seconds * 1000)] })
})

const exit = FakeNode.define({
  class: "RecHardExit",
  required: { value, code: FakeNode.int({ default: 1 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: () => Plan.ends({ _tag: "Exit" })
})

const bytesUi = FakeNode.define({
  class: "RecBytesUi",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }) => Plan.returns([value], { ui: { data: [new Uint8Array(2)] } })
})

const crashPublish = FakeNode.define({
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

const secret = FakeNode.define({
  class: "RecSecret",
  required: { value },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ value }, context) =>
    Plan.returns([value], {
      ui: {
        text: ["auth_token_comfy_org", "api_key_comfy_org"].map((key) => String(context.secrets.get(key)?.length ?? 0))
      }
    })
})

const blocker = FakeNode.define({
  class: "TestExecutionBlocker",
  required: { input: value, block: FakeNode.boolean(), verbose: FakeNode.boolean() },
  outputs: ["*"],
  info,
  run: ({ block, input, verbose }) =>
    block
      ? Plan.ends({ _tag: "Block", message: verbose ? "Blocked Execution" : undefined })
      : Plan.returns([input])
})

export const recNodes: ReadonlyArray<FakeNode.FakeNode> = [
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
  blocker
]
