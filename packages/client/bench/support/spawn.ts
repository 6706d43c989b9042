// @effect-diagnostics asyncFunction:off newPromise:off
// Processes of a bench: they end with it.
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"

export interface Child {
  readonly child: ChildProcess
  /** The first line that it printed. */
  readonly line: string
}

/** Starts a program beside this one and waits for its first line. */
export const start = (
  program: string,
  args: ReadonlyArray<string>,
  flags: ReadonlyArray<string> = []
): Promise<Child> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ["--conditions=@effect-comfyui/source", ...flags, `${import.meta.dirname}/${program}`, ...args],
      { stdio: ["pipe", "pipe", "inherit"] }
    )
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`${program} ended with ${code}`)))
    createInterface({ input: child.stdout }).once("line", (line) => resolve({ child, line }))
  })

/** The bench server in one of its modes. */
export const serve = async (mode: string): Promise<{ readonly url: string; readonly close: () => void }> => {
  const { child, line } = await start("server.ts", [mode])
  return {
    url: `http://127.0.0.1:${line}`,
    close: () => {
      child.removeAllListeners("exit")
      child.stdin?.end()
    }
  }
}
