// Running another program: its output kept, its process group gone when it is over.
import { spawn, spawnSync } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"

export interface Finished {
  /** 124 when the limit ended it. */
  readonly code: number
  readonly stdout: string
  /** Both streams as they came. */
  readonly output: string
  /** Something of its group outlived it for over two seconds. */
  readonly left: boolean
}

export interface Options {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly limitMs?: number
  /** How long it may take to end its own children when it is told to end; 1 s. */
  readonly graceMs?: number
  /** Show the output while it comes. */
  readonly echo?: boolean
}

/** What runs now, with its grace in milliseconds. */
const groups = new Map<number, number>()

const signal = (group: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(-group, name)
  } catch {
    return false
  }
}

/** Whether somebody of the group still runs; the dead that nobody has buried yet do not count. */
const runs = (group: number): boolean => {
  if (!signal(group, 0)) return false
  const { status, stdout } = spawnSync("ps", ["-A", "-o", "pgid=,stat="], { encoding: "utf8" })
  return status !== 0 || new RegExp(`^\\s*${group}\\s+[^Z\\s]`, "m").test(stdout)
}

const outlives = async (group: number, ms: number): Promise<boolean> => {
  for (let waited = 0; waited < ms; waited += 100) {
    if (!runs(group)) return false
    await sleep(100)
  }
  return true
}

/** Asks first: what it started in groups of its own it has to end by itself. */
const end = async ([group, graceMs]: readonly [number, number]): Promise<void> => {
  signal(group, "SIGTERM")
  await outlives(group, graceMs)
  signal(group, "SIGKILL")
}

let stopping = false
for (const [name, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  process.once(name, () => {
    stopping = true
    void Promise.all([...groups].map(end)).then(() => process.exit(code))
  })
}

/** Runs `program` in a process group of its own; never rejects, and starts nothing more once a signal came. */
export const run = (program: string, args: ReadonlyArray<string>, options: Options = {}): Promise<Finished> =>
  new Promise((resolve) => {
    if (stopping) return
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true
    })
    const group = child.pid
    const graceMs = options.graceMs ?? 1000
    if (group !== undefined) groups.set(group, graceMs)
    let stdout = ""
    let output = ""
    let timedOut = false
    const timer = options.limitMs === undefined ? undefined : setTimeout(() => {
      timedOut = true
      if (group !== undefined) void end([group, graceMs])
    }, options.limitMs)
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
      output += text
      if (options.echo === true) process.stdout.write(text)
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (options.echo === true) process.stderr.write(text)
    })
    const closed = new Promise((done) => child.once("close", done))
    child.once("error", (error) => resolve({ code: 127, stdout, output: String(error), left: false }))
    // Not "close" alone: something left behind may hold the pipes open.
    child.once("exit", (code) => {
      clearTimeout(timer)
      if (group === undefined) return
      void outlives(group, 2000).then(async (left) => {
        signal(group, "SIGKILL")
        groups.delete(group)
        await Promise.race([closed, sleep(1000)])
        resolve({ code: timedOut ? 124 : code ?? 1, stdout, output, left })
      })
    })
  })

/** What a failed program said, or nothing. */
export const problems = async (program: string, args: ReadonlyArray<string>, options?: Options) => {
  const { code, output } = await run(program, args, options)
  return code === 0 ? [] : [output.trim() || `${program} ended with ${code}`]
}
