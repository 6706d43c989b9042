// @effect-diagnostics asyncFunction:off
// What these benches take from the client's: its processes, which end with whoever started them, and its program without a
// library.
import type { ChildProcess } from "node:child_process"

// Of another package's benches, which are a project of their own: loaded by its address.
const clientBench = new URL("../../../client/bench/support/", import.meta.url).href

const { start }: {
  readonly start: (
    program: string,
    args: ReadonlyArray<string>,
    flags?: ReadonlyArray<string>
  ) => Promise<{ readonly child: ChildProcess; readonly line: string }>
} = await import(`${clientBench}spawn.ts`)

/** A socket of `ws`, and one POST by `fetch` per prompt. */
export interface Raw {
  readonly run: () => Promise<void>
  readonly close: () => void
}

/** Loaded by whoever wants it: it brings `ws` and undici. */
export const connectRaw = async (url: string): Promise<Raw> => {
  const { connect }: { readonly connect: (url: string) => Promise<Raw> } = await import(`${clientBench}raw.ts`)
  return connect(url)
}

const here = "../../../pool/bench/support"

export interface Servers {
  readonly ports: ReadonlyArray<number>
  readonly urls: ReadonlyArray<string>
  readonly close: () => void
}

/** Servers whose runs take no time, all in one process. */
export const serve = (count: number, gapMs: number): Promise<Servers> => started("origins.ts", [`${count}`, `${gapMs}`])

/** Servers of a program that prints its ports. */
export const started = async (program: string, args: ReadonlyArray<string>): Promise<Servers> => {
  const { child, line } = await start(`${here}/${program}`, args)
  const ports: ReadonlyArray<number> = JSON.parse(line)
  return {
    ports,
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    close: () => {
      child.removeAllListeners("exit")
      child.stdin?.end()
    }
  }
}

/** The line that a program of its own process printed: what it measured, as JSON. */
export const measured = async (program: string, args: ReadonlyArray<string>): Promise<string> =>
  (await start(`${here}/${program}`, args, ["--expose-gc"])).line
