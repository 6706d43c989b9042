import { BackendId } from "@effect-comfyui/execution/Ids"
import * as ClassEstimates from "@effect-comfyui/profiling/ClassEstimates"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import { backend, script } from "./support/events.ts"

const other = BackendId.make("gpu-2")

/** Loads for so long, takes so many steps of so many milliseconds after a warm-up of 100, and decodes for 50. */
const run = (
  { loadMs, stepMs, steps }: { readonly loadMs: number; readonly stepMs: number; readonly steps: number }
) => {
  const s = script()
  const from = 10 + loadMs
  const sampled = from + 100 + steps * stepMs
  const events = [
    s.submitted(0),
    s.started(10),
    ...loadMs === 0 ? [s.cached(10, "1")] : [s.start(10, "1", { classType: "Loader" }), s.finish(from, "1")],
    s.start(from, "2", { classType: "KSampler" }),
    ...Array.from({ length: steps + 1 }, (_, value) => s.progress(from + 100 + value * stepMs, "2", value, steps)),
    s.finish(sampled, "2"),
    s.start(sampled, "3", { classType: "Decode" }),
    s.finish(sampled + 50, "3"),
    s.completed(sampled + 50)
  ]
  const state = Profile.init()
  for (const event of events) Profile.step(state, event)
  return Profile.snapshot(state).nodes
}

const graphOf = (steps: unknown, classType = "KSampler") =>
  Workflow.fromNodes({
    "1": { class_type: "Loader", inputs: {} },
    "2": { class_type: classType, inputs: { steps: typeof steps === "number" ? steps : "many", model: ["1", 0] } },
    "3": { class_type: "Decode", inputs: { latent: ["2", 0] } }
  })

const learnt = () => {
  const state = ClassEstimates.init()
  ClassEstimates.step(state, { server: backend, cold: true, nodes: run({ loadMs: 2_000, stepMs: 200, steps: 10 }) })
  for (let i = 0; i < 3; i++) {
    ClassEstimates.step(state, { server: backend, cold: false, nodes: run({ loadMs: 0, stepMs: 200, steps: 20 }) })
  }
  return state
}

describe("ClassEstimates", () => {
  it("tells the steps of a class from the rest of its time", () => {
    const found = ClassEstimates.get(learnt(), backend, "KSampler")
    assert.closeTo(found?.stepMs ?? 0, 200, 1)
    assert.strictEqual(found?.steps, 20)
    assert.closeTo(found?.warmMs ?? 0, 100 + 20 * 200, 10)
    assert.strictEqual(found?.samples, 4)
    assert.isNull(ClassEstimates.get(learnt(), backend, "Loader")?.warmMs)
    assert.closeTo(ClassEstimates.get(learnt(), backend, "Loader")?.coldMs ?? 0, 2_000, 1)
  })

  it("adds up a workflow that nobody has run, by its steps", () => {
    const state = learnt()
    const ms = (steps: unknown, cold: boolean) =>
      ClassEstimates.expect(state, backend, ClassEstimates.graphOf(graphOf(steps)), cold) ?? 0
    // A loader that was never warm is thought to take as long as it did cold.
    assert.closeTo(ms(40, true), 2_000 + 100 + 40 * 200 + 50, 20)
    assert.closeTo(ms(10, true), 2_000 + 100 + 10 * 200 + 50, 20)
    assert.closeTo(ms("many", true), 2_000 + 100 + 20 * 200 + 50, 20)
  })

  it("takes the fleet's figures times the speed of a server that has shown none", () => {
    const graph = ClassEstimates.graphOf(graphOf(20))
    const here = ClassEstimates.expect(learnt(), backend, graph, false) ?? 0
    assert.closeTo(ClassEstimates.expect(learnt(), other, graph, false, 2) ?? 0, here * 2, 1)
  })

  it("says nothing of a workflow of which it knows too little", () => {
    assert.isNull(ClassEstimates.expect(learnt(), backend, ClassEstimates.graphOf(graphOf(20, "Unheard")), false))
    assert.isNull(ClassEstimates.expect(learnt(), backend, [], false))
    assert.isNull(ClassEstimates.expect(ClassEstimates.init(), backend, ClassEstimates.graphOf(graphOf(20)), false))
  })

  it("weighs nodes by what they take, and those it does not know like the average", () => {
    const weights = ClassEstimates.weights(learnt(), graphOf(20), true)
    assert.closeTo(weights.get("2") ?? 0, 4_100, 10)
    assert.closeTo(weights.get("3") ?? 0, 50, 1)
    const strange = ClassEstimates.weights(learnt(), graphOf(20, "Unheard"), true)
    assert.closeTo(strange.get("2") ?? 0, ((strange.get("1") ?? 0) + (strange.get("3") ?? 0)) / 2, 1e-6)
    assert.deepStrictEqual([...ClassEstimates.weights(ClassEstimates.init(), graphOf(1), false).values()], [1, 1, 1])
  })

  it("keeps its caps, and forgets a server but not its classes", () => {
    const state = ClassEstimates.init(4)
    for (let i = 0; i < 20; i++) {
      const nodes = run({ loadMs: 10, stepMs: 1, steps: 2 })
      ClassEstimates.step(state, { server: BackendId.make(`s${i}`), cold: true, nodes })
    }
    assert.strictEqual(state.servers.order.size, 4)
    assert.isUndefined(ClassEstimates.get(state, BackendId.make("s0"), "Decode"))
    ClassEstimates.forget(state, BackendId.make("s19"))
    assert.isUndefined(ClassEstimates.get(state, BackendId.make("s19"), "Decode"))
    assert.isDefined(ClassEstimates.ofAll(state, "Decode"))
    assert.isAtMost(state.servers.order.size, 4)
  })

  it("is what estimates say of a key that has not run yet", () => {
    const state = Estimates.init()
    const nodes = run({ loadMs: 2_000, stepMs: 200, steps: 10 })
    Estimates.learnClasses(state, { server: backend, cold: true, nodes })
    assert.strictEqual(Estimates.estimate(state, backend, "a1:new").source, "prior")
    Estimates.foresee(state, "a1:new", ClassEstimates.graphOf(graphOf(40)))
    const { samples, source, warmMs } = Estimates.estimate(state, backend, "a1:new")
    assert.deepStrictEqual([samples, source], [0, "classes"])
    assert.closeTo(warmMs, 2_000 + 100 + 40 * 200 + 50, 50)
    Estimates.step(state, { server: backend, key: "a1:new", cold: false, executionMs: 1_000 })
    assert.deepInclude(Estimates.estimate(state, backend, "a1:new"), { source: "pair", warmMs: 1_000 })
  })
})
