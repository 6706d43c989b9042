/**
 * Many servers as one: twenty jobs of four workflows, from two tenants, on three servers of unequal speed that have
 * different models. One server is killed in the middle of a job and comes back later. Pictures in `./out`, and at the
 * end where each job ran, and why there.
 *
 * `npm start`, or `COMFY_HOSTS=gpu-1,gpu-2,gpu-3 npm start` for servers of yours, which nobody kills.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as FilesNode from "@effect-comfyui/client/FilesNode"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import type { Attachment } from "@effect-comfyui/execution/Files"
import { JobId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEnding } from "@effect-comfyui/execution/JobEvent"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import { layerMemory } from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import { layerCostAware } from "@effect-comfyui/pool/RouterPolicies"
import { ImageFile, Picture, Workflows } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import process from "node:process"
import * as Board from "./support/board.ts"
import * as Fleet from "./support/fleet.ts"
import * as FleetBoard from "./support/fleetBoard.ts"

interface Order {
  readonly name: string
  readonly tenant: string
  readonly workflow: Workflow
  readonly attachments: ReadonlyArray<Attachment>
}

const picture: Attachment = {
  content: ImageFile.encodePng(Picture.imagine(64, 64, 1, "a picture of ours"), 0),
  filename: "ours.png",
  input: { nodeId: "1", inputName: "image" }
}

/** The studio comes first, with most of the work; the shop does not wait for the end of it. */
const orders = (checkpoints: ReadonlyArray<string>): ReadonlyArray<Order> =>
  Array.from({ length: 20 }, (_, index) => {
    const kind = ["portrait", "landscape", "poster", "edit"][index % 4] ?? ""
    const name = `${kind}-${`${index + 1}`.padStart(2, "0")}`
    const tenant = index < 14 ? "studio" : "shop"
    if (kind === "edit") {
      const workflow = Workflows.imageEdit({ width: 128 + index, filenamePrefix: name })
      return { name, tenant, workflow, attachments: [picture] }
    }
    const checkpoint = checkpoints[(index % 4) % checkpoints.length] ?? Workflows.checkpoint
    const workflow = Workflows.textToImage({ checkpoint, prompt: kind, seed: -1, filenamePrefix: name })
    return { name, tenant, workflow, attachments: [] }
  })

/** Kills the server in the middle of its third job, and starts it again when the others have had time to take over. */
const strike = (pool: Pool.Shape, { fake, name }: Fleet.Server) => {
  const jobs = new Set<JobId>()
  const isHalfway = (event: PoolEvent): boolean => {
    if (event._tag !== "Attempt" || event.event.backend !== name || event.event._tag !== "NodeProgress") return false
    jobs.add(event.jobId)
    return jobs.size >= 3 && event.event.value >= event.event.max / 2
  }
  return Effect.gen(function*() {
    if (fake === undefined) return
    yield* Stream.runDrain(Stream.takeUntil(pool.events, isHalfway))
    yield* fake.kill()
    yield* Effect.sleep("4 seconds")
    yield* fake.restart
  })
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** What can be seen of a pool while it works. */
const watch = Effect.fnUntraced(function*(pool: Pool.Shape, modelsOf: ReadonlyMap<WorkflowKey.AffinityKey, string>) {
  const begun = yield* Clock.currentTimeMillis
  const progress = new Map<JobId, number>()
  const { isTTY } = process.stdout
  const see = (event: PoolEvent) => {
    if (event._tag === "Attempt" && event.event._tag === "NodeProgress") {
      progress.set(event.jobId, event.event.value / event.event.max)
    }
    const line = FleetBoard.line(event)
    return isTTY || line === undefined ? Effect.void : Console.log(`${seconds(event.at - begun).padStart(7)}  ${line}`)
  }
  const show = FleetBoard.screen(process.stdout)
  const draw = Effect.map(
    Effect.all({ snapshot: pool.snapshot, jobs: pool.list }),
    (now) => show(FleetBoard.draw({ ...now, modelsOf, progress }))
  )
  yield* Effect.forkScoped(Stream.runForEach(pool.events, see), { startImmediately: true })
  if (isTTY) yield* Effect.forkScoped(Effect.repeat(draw, Schedule.spaced("100 millis")))
  return { begun, last: isTTY ? draw : Effect.void }
})

interface Done {
  readonly job: Pool.PoolJob
  readonly endings: ReadonlyArray<JobEnding>
  readonly attempts: Effect.Success<Pool.PoolJob["why"]>
  readonly saved: ReadonlyArray<string>
}

/** A line per attempt: where it ran, why there, and how long. */
const report = (done: ReadonlyArray<Done>, begun: number): string =>
  Board.table([
    ["job", "attempt", "ran on", "because", "from", "took", "ended", "picture"],
    ...done.flatMap(({ attempts, job, saved }) =>
      attempts.map(({ endedAs, endedAt, number, server, startedAt, why }) => [
        number === 1 ? job.id : "",
        `${number}`,
        server,
        FleetBoard.because(why),
        seconds(startedAt - begun),
        seconds((endedAt ?? startedAt) - startedAt),
        endedAs ?? "",
        endedAs === "Completed" ? saved.join(", ") : ""
      ])
    )
  ])

const program = Effect.gen(function*() {
  const servers = yield* Fleet.servers
  const clients = new Map(
    yield* Effect.forEach(
      servers,
      ({ name, url }) => Effect.map(ComfyClient.make({ id: name, url }), (client) => [client.id, client] as const)
    )
  )
  // The pool could make the clients; here they are also what brings the pictures home.
  const pool = yield* Pool.make({
    servers: [...clients].map(([id, client]) => ({ id, make: Effect.succeed(ComfyClient.backend(client)) }))
  })

  // What these servers can draw with: of yours, nobody knows it here.
  const capabilities = yield* Effect.forEach(
    clients.values(),
    (client) => Effect.option(Effect.timeout(client.capabilities, "5 seconds")),
    { concurrency: "unbounded" }
  )
  const checkpoints = new Set(
    capabilities.flatMap((known) =>
      known._tag === "None" ? [] : known.value.files.get("CheckpointLoaderSimple/ckpt_name") ?? []
    )
  )
  const wanted = orders([...checkpoints])
  // The pool knows models as keys; these are names for people.
  const modelsOf = new Map(wanted.flatMap(({ workflow }) => {
    const key = WorkflowKey.affinity(workflow)
    const models = WorkflowKey.models(workflow).map((name) => name.replace(/\.\w+$/, ""))
    return Result.isSuccess(key) ? [[key.success, models.join(" + ") || "no model"] as const] : []
  }))

  const { begun, last } = yield* watch(pool, modelsOf)
  const [first] = servers
  if (first !== undefined) yield* Effect.forkScoped(strike(pool, first), { startImmediately: true })
  const jobs = yield* Effect.forEach(
    wanted,
    ({ attachments, name, tenant, workflow }) => pool.submit(workflow, { id: JobId.make(name), tenant, attachments })
  )
  const done = yield* Effect.forEach(jobs, (job) =>
    Effect.gen(function*() {
      const endings = (yield* Stream.runCollect(job.events())).filter(isJobEnding)
      const attempts = yield* job.why
      const server = attempts.at(-1)?.server
      const files = server === undefined ? undefined : clients.get(server)?.files
      const outputs = endings.flatMap((ending) => ending._tag === "JobSucceeded" ? Outputs.files(ending.outputs) : [])
      const saved = files === undefined
        ? []
        : yield* Effect.forEach(outputs, (file) => FilesNode.saveInto(files, file, "out"))
      const one: Done = { job, endings, attempts, saved }
      return one
    }), { concurrency: "unbounded" })
  yield* last

  const endings = done.flatMap((one) => one.endings)
  const failed = endings.filter(({ _tag }) => _tag !== "JobSucceeded").length
  const isWhole = done.every((one) => one.endings.length === 1)
  if (!isWhole || failed > 0) process.exitCode = 1
  const verdict = isWhole ? "nothing lost" : "something is lost"
  const count = `${jobs.length} jobs, ${endings.length} endings${failed === 0 ? "" : `, ${failed} of them failures`}`
  yield* Console.log(`\n${report(done, begun)}\n\n${verdict}: ${count}`)
})

await Effect.runPromise(program.pipe(
  Effect.scoped,
  Effect.provide([layerMemory, layerCostAware, PlatformNode.layer(), NodeServices.layer]),
  // What happens is told here already, in lines or as a table.
  Effect.provideService(References.MinimumLogLevel, "None")
))
