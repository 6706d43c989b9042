/**
 * What a program does when somebody wants it to end. The first SIGINT or SIGTERM drains: nothing new is taken, what runs
 * may end within a limit. The second ends the process at once.
 *
 * The process ends with 0 when all that ran has ended, else with 128 and the number of the signal, 130 or 143: what still
 * ran then is cancelled, or with a durable queue left running for the next process. Waiting jobs of a durable queue stay in
 * it. 1 means that the closing itself broke.
 */
import type * as Duration from "effect/Duration"
import process from "node:process"

/** How a program ends. */
export interface Options {
  /** How long what runs may take to its end. Default 30 seconds. */
  readonly drain?: Duration.Input
  /** Ends the process. Default `process.exit`. */
  readonly exit?: (code: number) => void
}

/** What is closed: it answers whether all that ran has ended, and never fails. */
export type Close = (options: { readonly drain: Duration.Input }) => Promise<boolean>

const codes = { SIGINT: 130, SIGTERM: 143 } as const

/** Listens for both signals until what it returns is called. Nobody else's listeners are touched. */
export const listen = (
  close: Close,
  { drain = "30 seconds", exit = (code) => process.exit(code) }: Options = {}
): () => void => {
  let isSecond = false
  const onSignal = (signal: NodeJS.Signals): void => {
    const code = signal === "SIGINT" ? codes.SIGINT : codes.SIGTERM
    if (isSecond) return exit(code)
    isSecond = true
    void close({ drain }).then((drained) => exit(drained ? 0 : code), () => exit(1))
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal)
  return () => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal)
  }
}
