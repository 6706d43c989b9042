/** A third of the machines are rented: each goes when its lease ends, whatever it does then, and comes again with another. */
import { Pool } from "@effect-comfyui/pool/Pool"
import { FakeServers } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { idOf, urlOf } from "./Cards.ts"

/** What is written down of them. */
export interface Leases {
  ended: number
  /** Prompts that were running when their machine went. */
  readonly cut: Array<string>
}

export const make = (): Leases => ({ ended: 0, cut: [] })

const minutes = (low: number, high: number): Effect.Effect<number> => Random.nextIntBetween(low * 60_000, high * 60_000)

/** From one hour to three. */
export const length = minutes(60, 180)

export const isRented = (n: number): boolean => n % 3 === 0

/** Ends the leases of a machine, one after the other, while jobs come; between two it is away for some minutes. */
export const run = Effect.fnUntraced(function*(leases: Leases, n: number, firstMs: number, untilMs: number) {
  const pool = yield* Pool
  const { get } = yield* FakeServers.FakeServers
  const server = get(urlOf(n))
  for (let lease = firstMs;;) {
    yield* Effect.sleep(lease)
    if ((yield* Clock.currentTimeMillis) >= untilMs) return
    const { running } = yield* server.snapshot
    leases.ended++
    leases.cut.push(...running)
    yield* server.kill
    yield* Effect.sleep(yield* minutes(3, 15))
    yield* server.restart
    lease = yield* length
    yield* pool.servers.update(idOf(n), { availableUntil: (yield* Clock.currentTimeMillis) + lease })
  }
})
