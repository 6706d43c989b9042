import * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import * as ComfyNode from "@effect-comfyui/runtime/ComfyNode"
import * as ComfyPlatform from "@effect-comfyui/runtime/ComfyPlatform"
import * as ComfyPlatformNode from "@effect-comfyui/runtime/ComfyPlatformNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nameserver } from "./support/nameserver.ts"

const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "comfy-"))),
    use,
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )

/** What a program finds that is started there. */
const found = (folder: string): string =>
  spawnSync(process.execPath, ["--conditions=@effect-comfyui/source", join(import.meta.dirname, "support/loads.ts")], {
    cwd: folder,
    encoding: "utf8"
  }).stdout

describe("a configuration in the working directory", () => {
  it.live("is comfy.config.ts, or else comfy.config.json", () =>
    inFolder((folder) =>
      Effect.sync(() => {
        assert.match(found(folder), /there is no comfy\.config\.ts and no comfy\.config\.json/)
        const json = join(folder, "comfy.config.json")
        writeFileSync(json, "{\"servers\": [{\"url\": \"http://json:8188\"}]}")
        assert.strictEqual(found(folder), "http://json:8188")
        const script = join(folder, "comfy.config.ts")
        writeFileSync(script, "const url: string = \"http://script:8188\"\nexport default { servers: [{ url }] }\n")
        assert.strictEqual(found(folder), "http://script:8188")
        writeFileSync(script, "export const servers = []\n")
        assert.match(found(folder), /has no default export/)
        writeFileSync(script, "throw new Error(\"not today\")\n")
        assert.match(found(folder), /comfy\.config\.ts does not run: not today/)
      })
    ), 60_000)

  it.live("shows nothing of a file that is broken", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        writeFileSync(join(folder, "comfy.config.json"), "{\"servers\": hunter2}")
        const { message } = yield* Effect.flip(ComfyNode.load(folder))
        assert.match(message, /comfy\.config\.json is no JSON/)
        assert.notInclude(message, "hunter2")
      })
    ))
})

const build = (input: ComfyConfig.Input) => Effect.scoped(Effect.asVoid(Layer.build(ComfyNode.layerNode(input))))

describe("the platform that Node is", () => {
  it.live("finds the servers of a file and of the DNS together, whichever answers", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        const file = join(folder, "servers.json")
        writeFileSync(file, "[{\"url\": \"http://gpu-1:8188\"}]")
        const { sets } = yield* Effect.provide(ComfyPlatform.ComfyPlatform, ComfyPlatformNode.layer)
        const service = "_comfyui._tcp.test"
        const asked = { service, scheme: "https", nameservers: [`127.0.0.1:${yield* nameserver}`] } as const
        const first = Effect.fnUntraced(function*(discovery: ComfyConfig.Discovery, size: number) {
          const found = yield* Stream.runHead(Stream.filter(yield* sets(discovery), (set) => set.length === size))
          return Option.getOrThrow(found)
        })
        const [fromFile, fromDns] = [{ url: "http://gpu-1:8188" }, { url: "https://gpu-7.test:9000", weight: 4 }]
        assert.deepStrictEqual(yield* first({ file }, 1), [fromFile])
        assert.deepStrictEqual(yield* first({ dns: asked }, 1), [fromDns])
        assert.deepStrictEqual(yield* first({ file, dns: asked }, 2), [fromFile, fromDns])
        // Nobody listens there: what one source does not say changes nothing of the other.
        const deaf = { service, nameservers: ["127.0.0.1:9"] }
        assert.deepStrictEqual(
          yield* Effect.provideService(first({ file, dns: deaf }, 1), References.MinimumLogLevel, "None"),
          [fromFile]
        )
      }).pipe(Effect.scoped)
    ))
})

describe("the layer for Node", () => {
  it.live("keeps jobs in the file that the configuration names, which is nobody else's to read", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        const path = join(folder, "state", "queue.db")
        yield* build({ servers: [], queue: { path }, timeouts: { connect: "3 seconds" } })
        assert.isTrue(existsSync(path))
        assert.strictEqual(statSync(join(folder, "state")).mode & 0o077, 0)
      })
    ))

  it.live("has no file where jobs are kept in memory", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        const path = join(folder, "queue.db")
        yield* build({ servers: [], queue: { kind: "memory", path }, logging: { level: "None" } })
        assert.isFalse(existsSync(path))
      })
    ))

  it.live("says that the file cannot be opened", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        mkdirSync(join(folder, "queue.db"))
        const error = yield* Effect.flip(build({ servers: [], queue: { path: join(folder, "queue.db") } }))
        assert.strictEqual(error._tag === "PoolError" && error.reason._tag, "QueueUnavailable")
        const below = yield* Effect.flip(build({ servers: [], queue: { path: "/dev/null/x/queue.db" } }))
        assert.strictEqual(below._tag === "PoolError" && below.reason._tag, "QueueUnavailable")
      })
    ))

  it("keeps it with the user's state where none is named", () => {
    assert.match(ComfyNode.defaultPath(), /effect-comfyui[/\\]queue\.db$/)
    assert.deepStrictEqual(ComfyConfig.define({ servers: [] }), { servers: [] })
  })
})
