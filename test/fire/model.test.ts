import { Fault } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { judge } from "./Judge.ts"
import { chosen, type Command, initial, jobOf, type Model, permitsOf, type Sequence, sequences, step } from "./Model.ts"
import { live, type World } from "./World.ts"

const numRuns = Number(process.env["FIRE_SEQUENCES"] ?? 2_000)
/** The same ones each time: a change is judged by what it changes. Others are found with another seed, and by the soak. */
const seed = Number(process.env["FIRE_SEED"] ?? 1)

const obey = (world: World, command: Command) => {
  const { running, server } = world
  switch (command._tag) {
    case "Submit":
      return world.start(jobOf(command))
    case "Cancel":
    case "Attach":
    case "Leave": {
      const index = chosen(command.run, running.length)
      const one = index === undefined ? undefined : running[index]
      if (one === undefined) return Effect.void
      if (command._tag === "Attach") return world.attach(one)
      if (command._tag === "Leave") return world.leave(one)
      return Effect.forkScoped(world.cancel(one), { startImmediately: true })
    }
    case "Kill":
      return server.kill
    case "Restart":
      return server.restart
    case "CutSocket":
      return server.cutSockets()
    case "Deafen":
      return server.deafenSockets()
    case "HalfOpen":
      return server.halfOpenSockets({ serverNoticesMs: 20_000 })
    case "Delay": {
      const forMs = 10_000
      return Effect.andThen(
        server.inject(Fault.delayFrames(command.ms, { forMs })),
        server.inject(Fault.on(Fault.any, Fault.holdAnswer(command.ms), { forMs }))
      )
    }
    case "LosePost":
      return server.inject(
        Fault.on(Fault.request("POST", "/prompt"), command.done ? Fault.dropAnswer : Fault.dropRequest, { times: 1 })
      )
    case "Advance":
      return TestClock.adjust(command.ms)
  }
}

const play = ({ commands, seed, version }: Sequence) =>
  Effect.gen(function*() {
    let model: Model = initial
    const seen = yield* live({ seed, version }, (world) =>
      Effect.gen(function*() {
        for (const command of commands) {
          model = step(model, command, (index) => world.running[index]?.main.exit === undefined)
          yield* obey(world, command)
        }
        // Nobody leaves a server dead for ever.
        if (!model.up) {
          model = step(model, { _tag: "Restart" }, (index) => world.running[index]?.main.exit === undefined)
          yield* world.server.restart
        }
      }))
    return judge(seen, (_, index) => {
      const run = model.runs[index]
      return run === undefined ? {} : permitsOf(run)
    })
  })

it("any sequence of commands ends as the model permits", { timeout: 300_000 }, () =>
  fc.assert(
    fc.asyncProperty(sequences, (sequence) =>
      Effect.runPromise(Effect.map(play(sequence), (complaints) => assert.deepStrictEqual(complaints, [])))),
    { numRuns, timeout: 20_000, seed }
  ))
