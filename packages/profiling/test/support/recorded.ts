// Runs of the recordings of real servers, through the client's own machine: the frames of one prompt at their times.
import { classify } from "@effect-comfyui/client/Attribution"
import * as Run from "@effect-comfyui/client/Run"
import type { Outcome } from "@effect-comfyui/client/RunAnswer"
import * as RunState from "@effect-comfyui/client/RunState"
import * as RunWatch from "@effect-comfyui/client/RunWatch"
import { type ExecutionEvent, isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { join } from "node:path"

interface Line {
  readonly kind: string
  readonly t: number
  readonly id?: number
  readonly method?: string
  readonly path?: string
  readonly body?: string
  readonly dir?: "in" | "out"
  readonly data?: string
}

/** What the client's machine says of one prompt of a recording. */
export interface Recorded {
  readonly workflow: Workflow.Workflow
  readonly events: ReadonlyArray<ExecutionEvent>
  /** Milliseconds of the recording at which the POST went out: 0 of the run. */
  readonly postedAt: number
}

const folder = join(import.meta.dirname, "../../../testing/test/fixtures/recordings")

/** Where the wall clock of these tests begins: no time of a profile may come from it. */
export const epoch = 1_000_000

/** The accepted prompts of a recording, in order. `lostAt`: the connection is lost then, and HTTP is asked in the end. */
export const runs = (file: string, lostAt?: number): ReadonlyArray<Recorded> => {
  const lines: ReadonlyArray<Line> = readFileSync(join(folder, file), "utf8").trim().split("\n").map((line) =>
    JSON.parse(line)
  )
  return lines.flatMap((request) => {
    if (request.kind !== "request" || request.method !== "POST" || request.path !== "/prompt") return []
    const response = lines.find((line) => line.kind === "response" && line.id === request.id)
    const receipt: { readonly prompt_id?: string; readonly number?: number } = JSON.parse(response?.body ?? "{}")
    if (response === undefined || receipt.prompt_id === undefined) return []
    const { prompt }: { readonly prompt: unknown } = JSON.parse(request.body ?? "{}")
    const workflow = Result.getOrThrow(Workflow.fromJson(JSON.stringify(prompt)))
    return [{
      workflow,
      postedAt: request.t,
      events: play(lines, request, response, receipt.prompt_id, workflow, lostAt)
    }]
  })
}

const play = (
  lines: ReadonlyArray<Line>,
  request: Line,
  response: Line,
  promptId: string,
  workflow: Workflow.Workflow,
  lostAt = Infinity
): ReadonlyArray<ExecutionEvent> => {
  const subject: RunState.Subject = {
    runId: RunId.make(promptId),
    backend: BackendId.make("gpu-1"),
    classTypeOf: (nodeId) => Workflow.node(workflow, nodeId)?.class_type ?? null
  }
  const time = (t: number) => ({ now: t, at: epoch + t })
  const state = RunState.make(subject, "unsent", time(request.t), RunWatch.defaults)
  const events: Array<ExecutionEvent> = []
  const give = (input: Run.Input, t: number) => void events.push(...Run.step(state, input, time(t)))
  give({ _tag: "Posting", whole: true, seeds: [] }, request.t)
  let over = request.t
  let outcome: Outcome = { _tag: "Success", outputs: {} }
  let lost = false
  for (const line of lines) {
    if (line === response) {
      give({ _tag: "Accepted", promptId, number: 0, warnings: [] }, line.t)
    } else if (line.kind === "ws-text" && line.dir === "in" && line.data?.includes(promptId) === true) {
      over = line.t
      const messages = ServerMessage.decodeBatch([line.data])
      for (const message of messages) {
        if (message._tag === "ExecutionError") outcome = { _tag: "Error", reason: classify(message) }
        if (message._tag === "ExecutionInterrupted") outcome = { _tag: "Interrupted" }
      }
      if (line.t < lostAt) give({ _tag: "Frames", messages }, line.t)
      else if (!lost) {
        give({ _tag: "LinkLost" }, line.t)
        lost = true
      }
    }
  }
  if (!events.some(isEnding)) give({ _tag: "Asked", answer: { _tag: "Finished", outcome } }, over)
  return events
}

/** The profile of these events. */
export const profile = (events: ReadonlyArray<ExecutionEvent>, workflow?: Workflow.Workflow): Profile.Profile =>
  Profile.snapshot(events.reduce((state, event) => Profile.step(state, event), Profile.init(workflow)))

/** The run of that place in a recording. */
export const run = (file: string, place: number, lostAt?: number): Recorded => {
  const found = runs(file, lostAt)[place]
  if (found === undefined) throw new Error(`${file} has no run ${place}`)
  return found
}
