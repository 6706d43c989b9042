/** Cassettes in files. Read and written at once, without a promise, so that virtual time does not wait for them. */
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type { WebSocketConstructor } from "effect/socket/Socket"
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import * as Cassette from "./Cassette.ts"
import { CassetteError } from "./CassetteError.ts"

const onDisk = <A>(path: string, use: () => A): Effect.Effect<A, CassetteError> =>
  Effect.try({
    try: use,
    catch: (cause) => new CassetteError({ reason: { _tag: "File", path, cause: String(cause).slice(0, 300) } })
  })

/** As `Cassette.record`: the file is there, whole, when the layer's scope has closed. */
export const record = (
  path: string,
  options: Omit<Cassette.RecordOptions, "save"> = {}
): Layer.Layer<
  Cassette.Recorder | HttpClient | WebSocketConstructor,
  never,
  HttpClient | WebSocketConstructor
> =>
  Cassette.record({
    ...options,
    save: (text) =>
      onDisk(path, () => {
        mkdirSync(dirname(path), { recursive: true })
        writeFileSync(`${path}.part`, text)
        renameSync(`${path}.part`, path)
      })
  })

/** As `Cassette.replay`; the file is read when the layer is built. */
export const replay = (
  path: string,
  options: Cassette.ReplayOptions = {}
): Layer.Layer<Cassette.Player | HttpClient | WebSocketConstructor, CassetteError> =>
  Layer.unwrap(
    Effect.map(onDisk(path, () => readFileSync(path, "utf8")), (text) => Cassette.replay(text, options))
  )
