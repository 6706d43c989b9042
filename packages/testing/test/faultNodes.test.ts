import { Fault, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import { Server, textOf, upload } from "./support/server.ts"

const server = () => new Server({ nodes: TestNodes.nodes, version: "0.33.0" })

let faults = 0
const inject = (one: Server, ...given: ReadonlyArray<Fault.Fault>): void => {
  for (const fault of given) one.input({ _tag: "Inject", id: ++faults, fault })
}

const steps = (seed = 0) => ({
  "1": { class_type: "FakeValue", inputs: { seed } },
  "2": { class_type: "FakeSteps", inputs: { count: 10, milliseconds: 100, preview: false, value: ["1", 0] } }
})
const picture = (color = 1) => ({
  "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color } },
  "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "a" } }
})

const ofSteps = { classType: "FakeSteps" }

/** What history says of a prompt: its status, and the exception of its last message. */
const history = (one: Server, id: string) => {
  const entry = JSON.parse(textOf(one.get(`/history/${id}`).body))[id]
  const [type, data] = entry.status.messages.at(-1)
  return { type, exception: data.exception_type, message: data.exception_message, node: data.node_id }
}

const run = (one: Server, graph: object, ms = 5_000) => {
  const id = one.prompt(graph, { client_id: "a" })
  one.pass(ms)
  return id
}

describe("faults on nodes", () => {
  it("keep one silent before its first progress, whatever the server's speed is", () => {
    const one = new Server({ nodes: TestNodes.nodes, speed: 0, dequeueMs: 0 })
    const conn = one.open("a")
    inject(one, Fault.onNode(ofSteps, Fault.silent(300_000)))
    run(one, steps(), 299_999)
    assert.deepStrictEqual([one.types(conn).at(-1), one.types(conn).includes("progress")], ["executing 2", false])
    one.pass(2)
    assert.strictEqual(one.types(conn).at(-1), "executing null")
  })

  it("do not let a silent node see an interrupt: the next thing does", () => {
    const one = server()
    inject(one, Fault.onNode(ofSteps, Fault.silent(60_000)))
    const id = run(one, steps(), 1_000)
    one.http("POST", "/interrupt")
    one.pass(58_000)
    assert.deepStrictEqual(one.snapshot().running, [id])
    one.pass(2_000)
    assert.strictEqual(history(one, id).type, "execution_interrupted")
  })

  it("make one slower, and add up", () => {
    const one = server()
    inject(one, Fault.onNode(ofSteps, Fault.slower(2)), Fault.onNode({}, Fault.slower(5), { skip: 1 }))
    run(one, steps(), 60_000)
    const [, node] = one.ledger().nodes
    assert.strictEqual((node?.endedAt ?? 0) - (node?.startedAt ?? 0), 10 * 100 * 2 * 5)
  })

  it("raise before, after, or in the middle", () => {
    const one = server()
    const conn = one.open("a")
    const ends = (when: Fault.NodeMoment, seed: number) => {
      const before = one.types(conn).length
      inject(one, Fault.onNode(ofSteps, Fault.raise("ValueError", "no", when), { times: 1 }))
      const { exception, message, node } = history(one, run(one, steps(seed)))
      assert.deepStrictEqual([exception, message, node], ["ValueError", "no\n", "2"])
      return one.types(conn).slice(before).filter((type) => type === "progress").length
    }
    assert.deepStrictEqual([ends("before", 1), ends({ progress: 7 }, 2), ends("after", 3)], [0, 7, 10])
  })

  it("leave a node as it is that has less progress", () => {
    const one = server()
    inject(one, Fault.onNode({}, Fault.raise("ValueError", "no", { progress: 11 })))
    assert.strictEqual(history(one, run(one, steps())).type, "execution_success")
  })

  it("run out of memory, as often as they say, for the content that they mean", () => {
    const one = server()
    inject(one, Fault.onNode({ inputIncludes: "\"seed\": 7" }, Fault.outOfMemory(), { times: 1 }))
    assert.strictEqual(history(one, run(one, steps(1))).type, "execution_success")
    const failed = history(one, run(one, steps(7)))
    assert.deepStrictEqual([failed.exception, failed.node], ["torch.OutOfMemoryError", "1"])
    assert.strictEqual(history(one, run(one, steps(7))).type, "execution_success")
  })

  it("poison the GPU: all later jobs fail in milliseconds, HTTP is well, a restart heals", () => {
    const one = server()
    inject(one, Fault.onNode(ofSteps, Fault.poisonGpu({ progress: 3 }), { times: 1 }))
    const first = history(one, run(one, steps(1)))
    assert.deepStrictEqual([first.exception, first.node], ["torch.AcceleratorError", "2"])
    assert.isTrue(one.snapshot().poisoned)
    for (const graph of [picture(5), steps(2)]) {
      const id = one.prompt(graph)
      one.pass(10)
      assert.match(history(one, id).message, /^CUDA error/)
    }
    assert.strictEqual(one.get("/system_stats").status, 200)
    one.input({ _tag: "Restart" })
    assert.strictEqual(history(one, run(one, steps(3))).type, "execution_success")
  })

  it("make one uninterruptible: what comes next is interrupted", () => {
    const one = server()
    const after = {
      "3": { class_type: "FakeSteps", inputs: { count: 1, milliseconds: 1, preview: false, value: ["2", 0] } }
    }
    inject(one, Fault.onNode({ nodeId: "2" }, Fault.uninterruptible))
    const id = run(one, { ...steps(), ...after }, 500)
    one.http("POST", "/interrupt")
    one.pass(400)
    assert.deepStrictEqual(one.snapshot().running, [id])
    one.pass(1_000)
    assert.deepStrictEqual(
      [history(one, id).type, history(one, id).node, one.ledger().nodes.map((node) => node.outcome)],
      ["execution_interrupted", "3", ["success", "success", "interrupted"]]
    )
  })

  it("make only that run of a node uninterruptible, also where an id comes again", () => {
    const one = server()
    const id = "9d7d7a5c-2f64-4b3e-8a3f-5b1f9c1f2a11"
    inject(one, Fault.onNode(ofSteps, Fault.uninterruptible, { times: 1 }))
    for (const [seed, ending] of [[1, "execution_success"], [2, "execution_interrupted"]] as const) {
      one.prompt(steps(seed), { client_id: "a", prompt_id: id })
      one.pass(500)
      one.http("POST", "/interrupt")
      one.pass(5_000)
      assert.strictEqual(history(one, id).type, ending)
    }
  })

  it("hold the event loop: the node works on, and nobody hears of it until then", () => {
    const one = server()
    const conn = one.open("a")
    inject(one, Fault.onNode(ofSteps, Fault.stallServer(5_000)))
    run(one, steps(), 4_000)
    const asked = one.send("GET", "/prompt")
    one.input({ _tag: "SocketPing", conn })
    assert.notInclude(one.types(conn), "progress")
    assert.isUndefined(one.answer(asked))
    one.pass(1_100)
    assert.strictEqual(one.types(conn).at(-1), "executing null")
    assert.deepInclude(one.answer(asked), { status: 200 })
    assert.isTrue(one.outputs.some((output) => output._tag === "SocketPong"))
  })

  it("kill the process: before a node, after it, or at its progress", () => {
    const one = server()
    const conn = () => one.open("a")
    for (const [when, seen] of [["before", 0], [{ progress: 7 }, 7], ["after", 10]] as const) {
      const socket = conn()
      inject(one, Fault.onNode(ofSteps, Fault.killProcess(when), { times: 1 }))
      run(one, steps())
      assert.strictEqual(one.types(socket).filter((type) => type === "progress").length, seen)
      assert.deepInclude(one.snapshot(), { up: false })
      assert.strictEqual(one.ledger().prompts.at(-1)?.outcome, "lost")
      one.input({ _tag: "Restart" })
    }
  })

  it("kill the worker: prompts are taken and never run, HTTP is well", () => {
    const one = server()
    inject(one, Fault.onNode(ofSteps, Fault.killWorker()))
    const id = run(one, steps())
    assert.deepInclude(one.snapshot(), { up: true, workerAlive: false, running: [id] })
    assert.strictEqual(one.get("/queue").status, 200)
  })

  it("do not strike what comes from the cache", () => {
    const one = server()
    run(one, steps())
    inject(one, Fault.onNode({}, Fault.raise("ValueError", "no")))
    assert.strictEqual(history(one, run(one, steps())).type, "execution_success")
    assert.strictEqual(one.snapshot().faults, 1)
  })

  it("match by function, too", () => {
    const one = server()
    const seen: Array<Fault.NodeInfo> = []
    inject(one, Fault.onNode((node) => seen.push(node) > 0 && false, Fault.killWorker()))
    const id = run(one, steps(3))
    assert.deepStrictEqual(seen, [
      { promptId: id, nodeId: "1", classType: "FakeValue", inputs: "{\"seed\": 3}" },
      {
        promptId: id,
        nodeId: "2",
        classType: "FakeSteps",
        inputs: "{\"count\": 10, \"milliseconds\": 100.0, \"preview\": false, \"value\": [\"1\", 0]}"
      }
    ])
  })
})

describe("faults of the machine", () => {
  it("lose an interrupt: the answer is as ever, and the run goes on", () => {
    const one = server()
    inject(one, Fault.loseInterrupts({ times: 2 }))
    const id = run(one, steps(), 200)
    assert.strictEqual(one.http("POST", "/interrupt").status, 200)
    assert.deepStrictEqual(JSON.parse(textOf(one.http("POST", `/api/jobs/${id}/cancel`).body)), { cancelled: true })
    one.pass(100)
    assert.deepStrictEqual(one.snapshot().running, [id])
    one.http("POST", "/interrupt")
    one.pass(200)
    assert.strictEqual(history(one, id).type, "execution_interrupted")
  })

  it("have no space: saving nodes raise Errno 28, uploads are 500, and nothing is half there", () => {
    const one = server()
    inject(one, Fault.diskFull({ times: 2 }))
    const failed = history(one, run(one, picture()))
    assert.deepStrictEqual(
      [failed.exception, failed.message, failed.node],
      ["OSError", "[Errno 28] No space left on device\n", "2"]
    )
    const { body, headers } = upload("a.png", Uint8Array.of(1, 2, 3))
    assert.strictEqual(one.http("POST", "/upload/image", body, headers).status, 500)
    assert.strictEqual(one.snapshot().files, 0)
    // There is space again.
    assert.strictEqual(one.http("POST", "/upload/image", body, headers).status, 200)
    assert.strictEqual(history(one, run(one, picture())).type, "execution_success")
    assert.strictEqual(one.snapshot().files, 2)
  })

  it("delete the outputs of a run before anybody asks for them; inputs stay", () => {
    const one = server()
    const { body, headers } = upload("a.png", Uint8Array.of(1, 2, 3))
    one.http("POST", "/upload/image", body, headers)
    inject(one, Fault.deleteOutputs({ times: 1 }))
    assert.strictEqual(history(one, run(one, picture())).type, "execution_success")
    assert.strictEqual(one.get("/view?filename=a_00001_.png&type=output").status, 404)
    assert.strictEqual(one.get("/view?filename=a.png&type=input").status, 200)
    run(one, picture(2))
    assert.strictEqual(one.get("/view?filename=a_00001_.png&type=output").status, 200)
  })

  it("come back without input files", () => {
    const one = server()
    const { body, headers } = upload("a.png", Uint8Array.of(1, 2, 3))
    one.http("POST", "/upload/image", body, headers)
    run(one, picture())
    one.input({ _tag: "Restart" })
    one.input({ _tag: "Wipe", folder: "input" })
    assert.strictEqual(one.get("/view?filename=a.png&type=input").status, 404)
    assert.strictEqual(one.get("/view?filename=a_00001_.png&type=output").status, 200)
  })

  it("tell another time, and go on counting as before", () => {
    const one = server()
    const stamps = () => {
      const { headers } = one.get("/prompt")
      return Date.parse(headers["date"] ?? "")
    }
    const before = stamps()
    inject(one, Fault.skewClock(3_600_000, { forMs: 10_000 }))
    assert.strictEqual(stamps() - before, 3_600_000)
    const id = run(one, steps())
    const [, start] = JSON.parse(textOf(one.get(`/history/${id}`).body))[id].status.messages[0]
    assert.isAtLeast(start.timestamp - before, 3_600_000)
    one.pass(6_000)
    assert.strictEqual(stamps() - before, 11_000)
  })
})
