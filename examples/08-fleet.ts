/**
 * Many servers as one: twenty jobs of four workflows, from two tenants, on three servers of unequal speed that have
 * different models. One server is killed in the middle of a job and comes back later. Pictures in `./out`; at the end
 * where each job ran and why there, where the time went, and `./out/trace.json` for ui.perfetto.dev.
 *
 * `npm start`, or `COMFY_HOSTS=gpu-1,gpu-2,gpu-3 npm start` for servers of yours, which nobody kills.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import type { Attachment } from "@effect-comfyui/execution/Files"
import { JobId } from "@effect-comfyui/execution/Ids"
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import * as Pool from "@effect-comfyui/pool/Pool"
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import * as ComfyNode from "@effect-comfyui/runtime/ComfyNode"
import { ImageFile, Picture, Workflows } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import process from "node:process"
import * as Fleet from "./support/fleet.ts"
import * as FleetBoard from "./support/fleetBoard.ts"
import * as FleetReport from "./support/fleetReport.ts"

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

/** What these servers can draw with: of yours, nobody knows it here. */
const checkpointsOf = (servers: ReadonlyArray<Fleet.Server>) =>
  Effect.forEach(servers, ({ url }) =>
    ComfyClient.make({ url, socket: "none" }).pipe(
      Effect.flatMap((client) => Effect.timeout(client.capabilities, "5 seconds")),
      Effect.map(({ files }) => [...files.get("CheckpointLoaderSimple/ckpt_name") ?? []]),
      Effect.orElseSucceed((): Array<string> => [])
    ), { concurrency: "unbounded" }).pipe(
      Effect.map((found) => [...new Set(found.flat())]),
      Effect.scoped,
      Effect.provide(PlatformNode.layer())
    )

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

/** Until it is known what each server can do, for a moment at most: else the first jobs are a guess. */
const known = ({ servers }: Pool.Shape) =>
  Effect.repeat(servers.get, {
    until: (views) => views.every(({ version }) => version !== null),
    schedule: Schedule.spaced("50 millis")
  }).pipe(Effect.timeoutOption("3 seconds"))

const courseOf = ({ profiles }: Pool.Shape, id: JobId): Effect.Effect<FleetBoard.Course> =>
  Effect.map(Effect.all([profiles.progress(id), profiles.eta(id)]), ([progress, eta]) => ({
    fraction: Option.getOrNull(Option.map(progress, ({ fraction }) => fraction)),
    eta: Option.getOrNull(eta)
  }))

/** What can be seen of a pool while it works. */
const watch = Effect.fnUntraced(function*(pool: Pool.Shape, modelsOf: ReadonlyMap<WorkflowKey.AffinityKey, string>) {
  const begun = yield* Clock.currentTimeMillis
  const { isTTY } = process.stdout
  const see = Effect.fnUntraced(function*(event: PoolEvent) {
    if (isTTY) return
    const course = event._tag === "Placed" ? yield* courseOf(pool, event.jobId) : { fraction: null, eta: null }
    const line = FleetBoard.line(event, course)
    if (line !== undefined) yield* Console.log(`${FleetBoard.seconds(event.at - begun).padStart(7)}  ${line}`)
  })
  const show = FleetBoard.screen(process.stdout)
  const draw = Effect.gen(function*() {
    const jobs = yield* pool.list
    const open = jobs.filter(({ status }) => status !== "Ended")
    const courses = new Map(
      yield* Effect.forEach(open, ({ id }) => Effect.map(courseOf(pool, id), (course) => [id, course] as const))
    )
    show(FleetBoard.draw({ snapshot: yield* pool.snapshot, jobs, modelsOf, courses }))
  })
  yield* Effect.forkScoped(Stream.runForEach(pool.events, see), { startImmediately: true })
  if (isTTY) yield* Effect.forkScoped(Effect.repeat(draw, Schedule.spaced("100 millis")))
  return { begun, last: isTTY ? draw : Effect.void }
})

const work = Effect.fnUntraced(function*(servers: ReadonlyArray<Fleet.Server>) {
  const pool = yield* Pool.Pool
  const wanted = orders(yield* checkpointsOf(servers))
  // The pool knows models as keys; these are names for people.
  const modelsOf = new Map(wanted.flatMap(({ workflow }) => {
    const key = WorkflowKey.affinity(workflow)
    const models = WorkflowKey.models(workflow).map((name) => name.replace(/\.\w+$/, ""))
    return Result.isSuccess(key) ? [[key.success, models.join(" + ") || "no model"] as const] : []
  }))

  yield* known(pool)
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
      return { job, endings, attempts: yield* job.why }
    }), { concurrency: "unbounded" })
  yield* last

  const endings = done.flatMap((one) => one.endings)
  const failed = endings.filter(({ _tag }) => _tag !== "JobSucceeded").length
  const isWhole = done.every((one) => one.endings.length === 1)
  if (!isWhole || failed > 0) process.exitCode = 1
  const verdict = isWhole ? "nothing lost" : "something is lost"
  const count = `${jobs.length} jobs, ${endings.length} endings${failed === 0 ? "" : `, ${failed} of them failures`}`
  yield* FleetReport.writeTrace(done, "out/trace.json")
  yield* Console.log(`\n${FleetReport.placements(done, begun)}`)
  yield* Console.log(`\n${yield* FleetReport.profile(pool, modelsOf)}`)
  yield* Console.log(`\n${verdict}: ${count}; out/trace.json opens in ui.perfetto.dev`)
}, Effect.scoped)

const program = Effect.gen(function*() {
  const servers = yield* Fleet.servers
  const config = ComfyConfig.define({
    servers: servers.map(({ name, url }) => ({ id: name, url })),
    // A job is done when its pictures are here, from whichever server.
    collect: { directory: "out" },
    queue: { kind: "memory" },
    profiling: {},
    // What happens is told here already, in lines or as a table.
    logging: { level: "None" }
  })
  yield* Effect.provide(work(servers), ComfyNode.layerNode(config))
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(NodeServices.layer)))
