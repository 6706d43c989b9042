// Says what it found in the folder that it was started in.
import * as ComfyNode from "@effect-comfyui/runtime/ComfyNode"
import * as Effect from "effect/Effect"

const text = await Effect.runPromise(Effect.match(ComfyNode.load(), {
  onSuccess: ({ servers = [] }) => servers.map(({ url }) => url).join(" "),
  onFailure: ({ message }) => message
}))
process.stdout.write(text)
