// Servers with many node packs, in one process of their own: `packs.ts COUNT SETS MEGABYTES`. Each has one of so many sets of
// classes, so large as `/object_info`. Prints the ports as JSON; ends with its standard input.
import { createServer } from "node:http"

const [count = "1", sets = "1", megabytes = "1"] = process.argv.slice(2)

const files = Array.from({ length: 400 }, (_, i) => `folder/model-number-${i}-of-many.safetensors`)
const classOf = (name: string, i: number) => ({
  input: {
    required: {
      model_name: [files, { tooltip: "A model of this folder" }],
      strength: ["FLOAT", { default: 1, min: 0, max: 10, step: 0.01, tooltip: "How much of it" }],
      image: ["IMAGE"]
    },
    optional: { mask: ["MASK", { tooltip: "Where" }] }
  },
  input_order: { required: ["model_name", "strength", "image"], optional: ["mask"] },
  output: ["IMAGE", i % 2 === 0 ? "MASK" : "LATENT"],
  output_is_list: [false, false],
  output_name: ["IMAGE", "OTHER"],
  name,
  display_name: `${name} (a pack)`,
  description: "What this node does, at some length, as packs have it.".repeat(4),
  category: "pack/many",
  output_node: false
})

const textOf = (set: number): string => {
  const parts: Array<string> = []
  for (let size = 0, i = 0; size < Number(megabytes) * 1e6; i++) {
    const name = `Pack${set}Class${i}`
    const part = `${JSON.stringify(name)}:${JSON.stringify(classOf(name, i))}`
    parts.push(part)
    size += part.length
  }
  return `{${parts.join(",")}}`
}

const texts = Array.from({ length: Number(sets) }, (_, set) => textOf(set))
const answers = new Map([
  ["/system_stats", JSON.stringify({ system: { comfyui_version: "0.33.0", argv: [] }, devices: [] })],
  ["/prompt", "{\"exec_info\": {\"queue_remaining\": 0}}"]
])

const ports = await Promise.all(Array.from({ length: Number(count) }, (_, i) => {
  const server = createServer(({ url = "" }, response) => {
    const text = url === "/object_info" ? texts[i % texts.length] : answers.get(url)
    response.writeHead(text === undefined ? 404 : 200, { "content-type": "application/json" }).end(text)
  })
  const { promise, resolve } = Promise.withResolvers<number>()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    resolve(typeof address === "object" && address !== null ? address.port : 0)
  })
  return promise
}))
process.stdin.on("end", () => process.exit(0)).resume()
process.stdout.write(`${JSON.stringify(ports)}\n`)
