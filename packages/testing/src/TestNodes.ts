/** Classes that misbehave on purpose: for tests of what a client makes of it. Not among a server's own classes. */
import * as NodeClass from "./NodeClass.ts"
import * as Picture from "./Picture.ts"
import * as Plan from "./Plan.ts"

const info = { module: "custom_nodes.fake", category: "fake" }

/** Raises a Python exception of the given type and message. */
export const raise = NodeClass.define({
  class: "FakeRaise",
  required: {
    type: NodeClass.string({ default: "ValueError" }),
    message: NodeClass.string({ default: "it does not fit" })
  },
  optional: { value: NodeClass.any() },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ message, type }) => Plan.raises(type, message)
})

/** Sleeps, and looks at the interrupt flag all the while or not at all; then shows and gives on its value. */
export const sleep = NodeClass.define({
  class: "FakeSleep",
  required: {
    seconds: NodeClass.float({ default: 1, min: 0, max: 86400 }),
    watches: NodeClass.boolean({ default: true })
  },
  optional: { value: NodeClass.any() },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ seconds, value, watches }) =>
    Plan.returns([value ?? null], { ui: { text: ["slept"] }, steps: [Plan.wait(seconds * 1000, { watches })] })
})

/** Counts to `count` with a progress frame each, and a preview where asked. */
export const steps = NodeClass.define({
  class: "FakeSteps",
  required: {
    count: NodeClass.int({ default: 10, min: 1, max: 10000 }),
    milliseconds: NodeClass.float({ default: 100, min: 0, max: 60000 }),
    preview: NodeClass.boolean({ default: false })
  },
  optional: { value: NodeClass.any() },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ count, milliseconds, preview, value }) =>
    Plan.returns([value ?? null], {
      ui: { text: ["counted"] },
      steps: Plan.progress({
        count: Number(count),
        ms: milliseconds,
        preview: (step) => preview ? { format: "JPEG", picture: Picture.imagine(64, 64, 1, `step ${step}`) } : undefined
      })
    })
})

/** Runs out of memory after some time. */
export const outOfMemory = NodeClass.define({
  class: "FakeOutOfMemory",
  required: { seconds: NodeClass.float({ default: 0, min: 0, max: 3600 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ seconds }) => Plan.outOfMemory({ steps: [Plan.wait(seconds * 1000)] })
})

/** Ends the worker thread: nothing is said, and nothing runs on this server any more. */
export const killWorker = NodeClass.define({
  class: "FakeKillWorker",
  outputs: ["*"],
  outputNode: true,
  info,
  run: () => Plan.ends({ _tag: "KillWorker" })
})

/** Ends the process. */
export const exit = NodeClass.define({
  class: "FakeExit",
  required: { seconds: NodeClass.float({ default: 0, min: 0, max: 3600 }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ seconds }) => Plan.ends({ _tag: "Exit" }, [Plan.wait(seconds * 1000)])
})

/** Shows NaN, infinities and an integer beyond 2^53. */
export const notANumber = NodeClass.define({
  class: "FakeNaN",
  outputs: ["*"],
  outputNode: true,
  info,
  run: () =>
    Plan.returns([null], {
      ui: { numbers: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 18446744073709551615n] }
    })
})

/** Sends a text as binary type 3. */
export const text = NodeClass.define({
  class: "FakeText",
  required: { text: NodeClass.string({ default: "half way" }), broadcast: NodeClass.boolean({ default: false }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ broadcast, text }) =>
    Plan.returns([text], {
      ui: { text: [text] },
      steps: [{ _tag: "Text", text, to: broadcast ? "everyone" : "client" }]
    })
})

/** Sends an event of a third party, to its client or to everyone. */
export const event = NodeClass.define({
  class: "FakeEvent",
  required: { type: NodeClass.string({ default: "fake.event" }), broadcast: NodeClass.boolean({ default: true }) },
  outputs: ["*"],
  outputNode: true,
  info,
  run: ({ broadcast, type }) =>
    Plan.returns([null], {
      ui: { text: [type] },
      steps: [{ _tag: "Event", type, data: { value: 1 }, to: broadcast ? "everyone" : "client" }]
    })
})

/** Blocks what follows, with a warning if there is a message. */
export const block = NodeClass.define({
  class: "FakeBlock",
  required: { message: NodeClass.string({ default: "" }) },
  optional: { value: NodeClass.any() },
  outputs: ["*"],
  info,
  run: ({ message }) => Plan.ends({ _tag: "Block", message: message === "" ? undefined : message })
})

/** Shows data that JSON cannot hold: the process dies of it, or history answers 500. */
export const bytes = NodeClass.define({
  class: "FakeBytes",
  outputs: ["*"],
  outputNode: true,
  info,
  run: () => Plan.returns([null], { ui: { data: [new Uint8Array(1)] } })
})

/** An integer, shown and given on; its seed makes a run miss the cache. */
export const value = NodeClass.define({
  class: "FakeValue",
  required: { seed: NodeClass.int({ default: 0, min: 0, max: 18446744073709551615n }) },
  outputs: ["INT"],
  outputNode: true,
  info,
  run: ({ seed }) => Plan.returns([seed], { ui: { text: [String(seed)] } })
})

/** Evaluates one of two inputs, and what leads to the other one alone never runs. */
export const choose = NodeClass.define({
  class: "FakeChoose",
  required: {
    first: NodeClass.boolean({ default: true }),
    on_true: NodeClass.lazy(NodeClass.any()),
    on_false: NodeClass.lazy(NodeClass.any())
  },
  outputs: ["*"],
  info,
  needs: ({ first }) => [first ? "on_true" : "on_false"],
  run: ({ first, on_false, on_true }) => Plan.returns([first ? on_true : on_false])
})

/** Expands into a chain of `FakeSleep`s, each an output node with an id of its own. */
export const expand = NodeClass.define({
  class: "FakeExpand",
  required: {
    count: NodeClass.int({ default: 2, min: 1, max: 1000 }),
    seconds: NodeClass.float({ default: 1, min: 0, max: 3600 })
  },
  optional: { value: NodeClass.any() },
  outputs: ["*"],
  info,
  run: ({ count, seconds, value }) =>
    Plan.expands({
      nodes: Object.fromEntries(Array.from({ length: Number(count) }, (_, index): [string, Plan.ExpandedNode] => [
        `${index + 1}`,
        { class: "FakeSleep", inputs: { seconds, watches: true, value: index === 0 ? value : Plan.out(`${index}`) } }
      ])),
      outputs: [Plan.out(`${count}`)]
    })
})

/** A loop as custom nodes write them: one pass, and itself again with a smaller `count`. Each pass is an output node. */
export const loop = NodeClass.define({
  class: "FakeLoop",
  required: {
    count: NodeClass.int({ default: 3, min: 0, max: 1000 }),
    seconds: NodeClass.float({ default: 1, min: 0, max: 3600 })
  },
  optional: { value: NodeClass.any() },
  outputs: ["*"],
  info,
  run: ({ count, seconds, value }, { nodeId }) =>
    Number(count) <= 0 ? Plan.returns([value ?? null]) : Plan.expands({
      nodes: {
        Body: { class: "FakeSleep", inputs: { seconds, watches: true, value } },
        Recurse: {
          class: "FakeLoop",
          inputs: { count: Number(count) - 1, seconds, value: Plan.out("Body") },
          display: nodeId
        }
      },
      outputs: [Plan.out("Recurse")]
    })
})

/** All of them: `FakeServers.layer({ url: { nodes: TestNodes.nodes } })`. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  raise,
  sleep,
  steps,
  outOfMemory,
  killWorker,
  exit,
  notANumber,
  text,
  event,
  block,
  bytes,
  value,
  choose,
  expand,
  loop
]
