/**
 * Three runs at once on one server: a text-to-image workflow with previews, an edit of an uploaded picture, and one that
 * fails in a node. Progress while they run, their pictures in `./out`, and how each ended.
 *
 * `npm run node -- examples/01-quick-start.ts`, or `COMFY_HOSTS=http://host:8188` before it for a server of yours.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as FilesNode from "@effect-comfyui/client/FilesNode"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { type ExecutionEvent, isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import type { Attachment } from "@effect-comfyui/execution/Files"
import { ImageFile, Picture, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import process from "node:process"
import * as Board from "./support/board.ts"
import { serverUrl } from "./support/server.ts"

interface Ran {
  readonly name: string
  readonly workflow: Workflow.Workflow
  readonly events: ReadonlyArray<ExecutionEvent>
}

/** Milliseconds that each node took, in the order in which they ended. */
const nodeTimes = ({ events, workflow }: Ran): ReadonlyArray<readonly [string, number]> => {
  const begun = new Map<string, number>()
  return events.flatMap((event) => {
    if (event._tag === "NodeStarted") begun.set(event.nodeId, event.elapsed)
    if (event._tag !== "NodeFinished") return []
    const classType = Workflow.node(workflow, event.displayId)?.class_type ?? "?"
    return [[`${event.nodeId} ${classType}`, event.elapsed - (begun.get(event.nodeId) ?? event.elapsed)]]
  })
}

const howItEnded = ({ events }: Ran): string => {
  const ending = events.findLast(isEnding)
  switch (ending?._tag) {
    case "Completed":
      return `completed in ${Math.round(ending.elapsed)} ms, learnt by ${ending.via}`
    case "Failed":
      return `failed: ${ending.error.message.split("\n")[0]}`
    case "Cancelled":
      return `cancelled by ${ending.by}`
    case undefined:
      return "without an ending"
  }
}

const summary = (runs: ReadonlyArray<Ran>): string =>
  Board.table([
    ["run", "node", "ms", "ending"],
    ...runs.flatMap((run) => [
      [run.name, "", "", howItEnded(run)],
      ...nodeTimes(run).map(([node, ms]) => ["", node, ms.toFixed(0), ""])
    ])
  ])

const program = Effect.gen(function*() {
  const url = yield* serverUrl
  const client = yield* ComfyClient.make({ url })
  yield* Console.log(`server ${url}`)
  const board = Board.make(process.stdout)

  const run = Effect.fnUntraced(function*(
    name: string,
    workflow: Workflow.Workflow,
    attachments: ReadonlyArray<Attachment> = []
  ) {
    const show = board.add(name, Object.keys(workflow.nodes))
    const events: Array<ExecutionEvent> = []
    yield* Stream.runForEach(client.run(workflow, { attachments }), (event) =>
      Effect.sync(() => {
        show(event)
        if (event._tag !== "Preview") events.push(event)
      }))
    const ran: Ran = { name, workflow, events }
    return ran
  })

  const { files } = yield* client.capabilities
  const checkpoint = files.get("CheckpointLoaderSimple/ckpt_name")?.[0] ?? Workflows.checkpoint
  const picture: Attachment = {
    content: ImageFile.encodePng(Picture.imagine(64, 64, 1, "a picture of ours"), 0),
    filename: "ours.png",
    input: { nodeId: "1", inputName: "image" }
  }
  const runs = yield* Effect.all([
    run("text to image", Workflows.textToImage({ checkpoint, seed: -1, filenamePrefix: "lighthouse" })),
    run("image edit", Workflows.imageEdit(), [picture]),
    run("failing", Workflows.failing)
  ], { concurrency: "unbounded" })

  const outputs = runs.flatMap(({ events }) =>
    events.flatMap((event) => event._tag === "Completed" ? Object.values(event.outputs) : [])
  )
  const saved = yield* Effect.forEach(
    outputs.flatMap((output) => output.files),
    (file) => FilesNode.saveInto(client.files, file, "out")
  )
  yield* Console.log(`\n${summary(runs)}\n\n${saved.map((path) => `wrote ${path}`).join("\n")}`)
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide([PlatformNode.layer(), NodeServices.layer])))
