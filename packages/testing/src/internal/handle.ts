// The test's hold on a driver.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FakeComfy from "../FakeComfy.ts"
import type { FakeServer } from "../FakeServer.ts"
import * as FaultyComfy from "../FaultyComfy.ts"
import type { Driver } from "./driver.ts"

export const makeServer = (origin: string, driver: Driver): FakeServer => {
  const command = (input: Parameters<Driver["input"]>[0]): Effect.Effect<void> => Effect.sync(() => driver.input(input))
  const look = <A>(read: () => A): Effect.Effect<A> =>
    Effect.sync(() => {
      driver.settle()
      return read()
    })
  let faults = 0
  return {
    origin,
    ledger: look(() => FakeComfy.ledger(driver.state.comfy)),
    snapshot: look(() => FaultyComfy.snapshot(driver.state)),
    requests: look(() => FaultyComfy.requests(driver.state)),
    inject: (fault) =>
      Effect.sync(() => {
        const ids = (Array.isArray(fault) ? fault : [fault]).map((one) => {
          const id = ++faults
          driver.input({ _tag: "Inject", id, fault: one })
          return id
        })
        return { heal: Effect.forEach(ids, (id) => command({ _tag: "Heal", id }), { discard: true }) }
      }),
    heal: command({ _tag: "Heal" }),
    cutSockets: (which = {}) => command({ _tag: "CutSockets", which }),
    deafenSockets: (which = {}) => command({ _tag: "DeafenSockets", which }),
    halfOpenSockets: (options = {}) =>
      command({ _tag: "HalfOpenSockets", which: options, serverNoticesMs: options.serverNoticesMs }),
    sendFrames: (frames, which = {}) => command({ _tag: "SendFrames", which, frames }),
    wipe: (folder) => command({ _tag: "Wipe", folder }),
    stall: (duration) => command({ _tag: "Stall", ms: Duration.toMillis(duration) }),
    kill: command({ _tag: "Kill" }),
    restart: command({ _tag: "Restart" }),
    killWorker: command({ _tag: "KillWorker" })
  }
}
