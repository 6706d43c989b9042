// @effect-diagnostics globalTimers:off
// 200 fake servers in one process, or as many HTTP servers that only answer: `fleet.ts fake|bare N`. Prints their ports as
// JSON, or with `memory` what an idle one holds; ends with its standard input.
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"

const [mode = "fake", count = "200"] = process.argv.slice(2)
const n = Number(count)

const bare = Effect.callback<number>((resume) => {
  const answer = JSON.stringify({ prompt_id: "00000000-0000-4000-8000-000000000000", number: 1, node_errors: {} })
  const server = createServer((request, response) => {
    request.resume()
    request.on("end", () => {
      response.writeHead(200, { "content-type": "application/json", "content-length": answer.length })
      response.end(answer)
    })
  })
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
  })
})

const fake = Effect.map(LoopbackNode.make({ speed: 0, dequeueMs: 0, seed: 1 }), (server) => server.port)

const collected = Effect.sync(() => {
  globalThis.gc?.()
  return process.memoryUsage().rss
})

const program = Effect.gen(function*() {
  if (mode !== "memory") {
    const ports = yield* Effect.forEach(Array.from({ length: n }), () => mode === "bare" ? bare : fake)
    return process.stdout.write(`${JSON.stringify(ports)}\n`)
  }
  // The first one brings the code.
  yield* fake
  const before = yield* collected
  yield* Effect.forEach(Array.from({ length: n }), () => fake)
  const bytes = ((yield* collected) - before) / n
  return process.stdout.write(`${JSON.stringify({ bytes })}\n`)
})

process.stdin.on("end", () => process.exit(0)).resume()
await Effect.runPromise(Effect.scoped(Effect.andThen(program, Effect.never)))
