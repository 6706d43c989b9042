// @effect-diagnostics asyncFunction:off
// A pool of a thousand servers at rest against `ws` and undici alone, which ping and probe as often: memory and CPU time of
// a process each, side by side.
import * as ClientDefaults from "@effect-comfyui/client/Defaults"
import * as PoolDefaults from "@effect-comfyui/pool/Defaults"
import * as Duration from "effect/Duration"
import { measured, serve } from "./support/start.ts"

const servers = 1_000
const rounds = 3
/** Of one round: each server is pinged once in it. */
const seconds = Duration.toSeconds(ClientDefaults.socket.pingInterval)

interface Figures {
  readonly rss: number
  readonly cpu: number
}

const rest = async (side: string): Promise<ReadonlyArray<Figures>> => {
  const { close, ports } = await serve(servers, 0)
  const line = await measured("resting.ts", [side, JSON.stringify(ports), `${rounds}`, `${seconds}`])
  close()
  const { figures }: { readonly figures: ReadonlyArray<Figures> } = JSON.parse(line)
  return figures
}

/** Both rest at the same time, so that the machine is the same for both. */
const samples = (of: (figures: Figures) => number) => async () => {
  const [ours, raw] = await Promise.all([rest("ours"), rest("raw")])
  return ours.map((one, i) => {
    const other = raw[i]
    const reference = other === undefined ? Number.NaN : of(other)
    return { ours: of(one), reference, ratio: of(one) / reference }
  })
}

const intervals = `probe ${Duration.toSeconds(PoolDefaults.health.probe)} s, ping ${seconds} s`

const common = { goal: { max: 1.3 }, noise: "wide", measure: "samples" }

export const cases = [
  { name: "fleet-1000-rss", unit: `MB (${intervals})`, ...common, samples: samples(({ rss }) => rss) },
  { name: "fleet-1000-cpu", unit: `ms/s (${intervals})`, ...common, samples: samples(({ cpu }) => cpu) }
]
