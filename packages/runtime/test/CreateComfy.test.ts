// @effect-diagnostics asyncFunction:off newPromise:off
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { ComfyError } from "@effect-comfyui/runtime/ComfyError"
import { createComfy } from "@effect-comfyui/runtime/CreateComfyNode"
import * as Results from "@effect-comfyui/runtime/Results"
import { Workflows } from "@effect-comfyui/testing"
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A folder that is gone afterwards, and a server of a process of its own. */
const around = (use: (at: { readonly url: string; readonly folder: string }) => Promise<void>, instant = false) =>
  Effect.scoped(Effect.gen(function*() {
    const { url } = yield* spawnFake({ testNodes: true, instant })
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "comfy-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    )
    yield* Effect.promise(() => use({ url, folder }))
  }))

const memory = (url: string) => ({
  servers: [{ id: "gpu", url }],
  queue: { kind: "memory", onClose: "cancel" } as const,
  logging: { level: "None" } as const
})

const rejection = async (promise: Promise<unknown>): Promise<ComfyError> => {
  const error = await promise.then(() => undefined, (error: unknown) => error)
  assert.instanceOf(error, ComfyError)
  return error
}

describe("the promises", () => {
  it.live("give typed results, events and files, and close", () =>
    around(async ({ folder, url }) => {
      await using comfy = await createComfy(memory(url))
      const run = comfy.run(Workflow.toJson(Workflows.textToImage()), {
        id: "order 7",
        outputs: Results.declare({ hero: Results.image("9") })
      })
      const tags: Array<JobEvent["_tag"]> = []
      for await (const { _tag } of run) tags.push(_tag)
      assert.deepStrictEqual([tags[0], tags.at(-1)], ["Queued", "JobSucceeded"])
      const { jobId, outputs: { hero }, server } = await run
      const [again, more] = await Promise.all([Array.fromAsync(run), Array.fromAsync(run)])
      assert.deepStrictEqual([again[0]?._tag, again.at(-1)?._tag], ["Queued", "JobSucceeded"])
      assert.deepStrictEqual(more, again)
      assert.deepStrictEqual([String(jobId), String(server), hero.kind], ["order 7", "gpu", "image"])
      const bytes = await comfy.download(hero)
      assert.deepStrictEqual([...bytes.subarray(1, 4)], [..."PNG"].map((letter) => letter.charCodeAt(0)))
      await comfy.save(hero, join(folder, "hero.png"))
      assert.deepStrictEqual(new Uint8Array(await readFile(join(folder, "hero.png"))), bytes)
      const profile = await comfy.profile("order 7")
      assert.strictEqual(profile.state, "succeeded")
      assert.strictEqual((await (await comfy.get("order 7")).result()).files.length, 1)
      assert.deepStrictEqual((await comfy.servers()).map(({ id }) => String(id)), ["gpu"])
    }, true))

  it.live("take files along with a job", () =>
    around(async ({ folder, url }) => {
      await using comfy = await createComfy(memory(url))
      const { outputs: { hero } } = await comfy.run(Workflows.picture(), {
        outputs: Results.declare({ hero: Results.image(Object.keys(Workflows.picture().nodes).at(-1) ?? "") })
      })
      await comfy.save(hero, join(folder, "cat.png"))
      const file = await comfy.upload(join(folder, "cat.png"), { input: { nodeId: "1", inputName: "image" } })
      assert.strictEqual(file.filename, "cat.png")
      const { files } = await comfy.run(
        Workflow.fromNodes({
          "1": { class_type: "LoadImage", inputs: { image: "" } },
          "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "again" } }
        }),
        { attachments: [file] }
      )
      assert.strictEqual(files.some(({ nodeId }) => nodeId === "2"), true)
      assert.strictEqual((await rejection(comfy.upload(join(folder, "none.png")))).reason, "LocalFile")
    }))

  it.live("are rejected with an error that has a reason and a category, and a cause", () =>
    around(async ({ url }) => {
      await using comfy = await createComfy(memory(url))
      const failed = await rejection(comfy.run(Workflows.raising({ message: "no" })))
      assert.deepStrictEqual([failed.reason, failed.category], ["NodeFailed", "workflow"])
      assert.strictEqual((await rejection(comfy.run("{"))).reason, "Syntax")
      assert.strictEqual((await rejection(comfy.get("nobody"))).reason, "InvalidOptions")
      assert.strictEqual((await rejection(comfy.submit(Workflows.picture(), { id: "" }))).reason, "InvalidOptions")
      const missing = comfy.run(Workflows.picture(), { outputs: Results.declare({ film: Results.video("1") }) })
      assert.strictEqual((await rejection(missing)).reason, "MissingOutputs")
      const config = await rejection(createComfy({ servers: [{ url: "gpu" }] }))
      assert.deepStrictEqual([config.reason, config.category], ["WrongValue", "caller"])
      // Nobody awaits it: its events say it, and nothing is thrown at the process.
      const run = comfy.run(Workflows.raising({ message: "no" }))
      let last: JobEvent | undefined
      for await (const event of run) last = event
      assert.strictEqual(last?._tag, "JobFailed")
      const iterated = comfy.run("{")
      assert.strictEqual((await rejection(Array.fromAsync(iterated))).reason, "Syntax")
    }))

  it.live("bring files to a folder, from servers that a file names", () =>
    around(async ({ folder, url }) => {
      const file = join(folder, "servers.json")
      await writeFile(file, JSON.stringify([{ url, id: "found" }]))
      const config = { queue: memory(url).queue, logging: memory(url).logging }
      const directory = join(folder, "out")
      await using comfy = await createComfy({ ...config, discovery: { file }, collect: { directory }, profiling: {} })
      const profiles = comfy.profiles.finished()[Symbol.asyncIterator]()
      const profile = profiles.next()
      const { files: [picture], jobId } = await comfy.run(Workflows.picture())
      assert.isDefined(picture)
      assert.strictEqual(String(picture.server), "found")
      assert.isTrue(picture.location?.startsWith(directory))
      const kept = new Uint8Array(await readFile(picture.location ?? ""))
      assert.deepStrictEqual(kept, await comfy.download(picture))
      const { value } = await profile
      await profiles.return?.()
      assert.deepStrictEqual([value?.jobId, value?.state], [jobId, "succeeded"])
      assert.deepStrictEqual(await comfy.profiles.get(String(jobId)), value)
      assert.strictEqual(await comfy.profiles.get("nobody"), null)
      assert.include(JSON.stringify(await comfy.profiles.statistics()), "found")
      const wrong = await rejection(createComfy({ ...config, servers: [], collect: { directory: file } }))
      assert.deepStrictEqual([wrong.reason, wrong.category], ["WrongValue", "caller"])
      assert.include(wrong.message, "collect.directory: is no folder")
    }, true))

  it.live("a signal cancels the job, wherever it is, and a wait for it alone", () =>
    around(async ({ url }) => {
      await using comfy = await createComfy(memory(url))
      const controller = new AbortController()
      const run = comfy.run(Workflows.slow({ seconds: 600 }), { id: "slow", signal: controller.signal })
      for await (const event of run) {
        if (event._tag === "Attempt" && event.event._tag === "Started") break
      }
      const job = await comfy.get("slow")
      const wait = new AbortController()
      const waiting = job.result({ signal: wait.signal })
      wait.abort()
      assert.strictEqual((await rejection(waiting)).reason, "Cancelled")
      assert.strictEqual((await job.status())._tag, "Running")
      controller.abort("enough")
      const error = await rejection(run)
      assert.deepStrictEqual([error.reason, error.category], ["Cancelled", "caller"])
      assert.strictEqual((await job.status())._tag, "Ended")
      const never = await rejection(comfy.run(Workflows.picture(), { signal: AbortSignal.abort("before") }))
      assert.deepStrictEqual([never.reason, never.cause], ["Cancelled", "before"])
    }))

  it.live("are all settled when the fleet is closed, and later ones at once", () =>
    around(async ({ url }) => {
      const comfy = await createComfy(memory(url))
      const run = comfy.run(Workflows.slow({ seconds: 600 }))
      for await (const event of run) if (event._tag === "Placed") break
      const rejected = rejection(run)
      const events = Array.fromAsync(comfy.events())
      const job = await comfy.submit(Workflows.slow({ seconds: 600 }))
      const told = Array.fromAsync(job.events())
      const profile = comfy.profile(job.id)
      const result = rejection(job.result())
      assert.strictEqual(await comfy.close(), false)
      assert.strictEqual((await rejected).reason, "Closed")
      assert.strictEqual((await result).reason, "Closed")
      assert.strictEqual((await told).at(-1)?._tag, "JobFailed")
      assert.strictEqual((await profile).state, "failed")
      assert.isAbove((await events).length, 0)
      assert.strictEqual((await rejection(comfy.servers())).reason, "Closed")
      assert.deepStrictEqual(await Array.fromAsync(comfy.events()), [])
      assert.strictEqual(await comfy.close(), false)
    }))

  it.live("a drain waits for what runs, and a second close ends the wait", () =>
    around(async ({ url }) => {
      const first = await createComfy(memory(url))
      const job = await first.submit(Workflows.picture())
      await job.result()
      assert.strictEqual(await first.close({ drain: "10 seconds" }), true)
      const second = await createComfy(memory(url))
      const open = await second.submit(Workflows.slow({ seconds: 600 }))
      for await (const event of open.events()) if (event._tag === "Placed") break
      const closing = second.close({ drain: "1 hour" })
      assert.strictEqual((await rejection(second.submit(Workflows.picture()))).reason, "Closed")
      assert.strictEqual(second.close(), closing)
      assert.strictEqual(await closing, false)
    }))

  it.live("a durable queue outlives them: the next one finds the job and its result", () =>
    around(async ({ folder, url }) => {
      const durable = {
        servers: [{ id: "gpu", url }],
        queue: { path: join(folder, "deep", "queue.db") },
        logging: { level: "None" } as const
      }
      const before = await createComfy({ ...durable, servers: [] })
      await before.submit(Workflows.picture(), { id: "kept" })
      await before.close()
      await using after = await createComfy(durable)
      const job = await after.get("kept")
      assert.strictEqual((await job.result()).files.length, 1)
    }))

  it.live("a fleet that is started again knows how long things take, and forgets what is broken", () =>
    around(async ({ folder, url }) => {
      const durable = {
        servers: [{ id: "gpu", url }],
        queue: { path: join(folder, "queue.db") },
        logging: { level: "None" } as const
      }
      const placed = async (seed: number) => {
        await using comfy = await createComfy(durable)
        const run = comfy.run(Workflows.textToImage({ seed, steps: 1, width: 64, height: 64 }))
        let from: unknown = null
        for await (const event of run) if (event._tag === "Placed") from = event.why["estimateFrom"]
        return from
      }
      assert.strictEqual(await placed(1), "prior")
      assert.strictEqual(await placed(2), "pair")
      for (const file of await readdir(join(folder, "estimates"))) await writeFile(join(folder, "estimates", file), "{")
      assert.strictEqual(await placed(3), "prior")
    }))

  it.live("fetch the files of a job that another process ran, which shares the queue", () =>
    around(async ({ folder, url }) => {
      const shared = {
        servers: [{ id: "gpu", url }],
        queue: { path: join(folder, "queue.db") },
        logging: { level: "None" } as const
      }
      await using runs = await createComfy(shared)
      // This one places nothing: the other has the only server.
      await using asks = await createComfy({ ...shared, servers: [] })
      const job = await asks.submit(Workflows.picture())
      const { files: [file], server } = await job.result()
      assert.strictEqual(server, "gpu")
      assert.isDefined(file)
      if (file !== undefined) assert.isAbove((await runs.download(file)).byteLength, 0)
    }))

  it.live("say how far a job is, when it ends, which node is slow, and where time is lost", () =>
    around(async ({ url }) => {
      await using comfy = await createComfy({ ...memory(url), profiling: {} })
      const slow = comfy.profiles.slowNodes({ overMs: 300 })[Symbol.asyncIterator]()
      const first = slow.next()
      const run = comfy.run(Workflows.slow({ seconds: 2 }), { id: "slow" })
      for await (const event of run) {
        if (event._tag !== "Attempt" || event.event._tag !== "NodeStarted" || event.event.nodeId !== "2") continue
        const eta = await comfy.profiles.eta("slow")
        assert.isTrue(eta !== null && eta.lowMs <= eta.expectedMs && eta.expectedMs <= eta.highMs)
        assert.deepStrictEqual((await comfy.profiles.progress("slow"))?.running, ["2"])
        break
      }
      assert.deepInclude((await first).value, { jobId: "slow", nodeId: "2", classType: "FakeSleep", by: "threshold" })
      await slow.return?.()
      await run
      assert.deepStrictEqual([await comfy.profiles.eta("slow"), await comfy.profiles.eta("nobody")], [null, null])
      assert.deepInclude(await comfy.profiles.bottlenecks(), { jobs: 1, findings: [] })
    }))
})
