// Steps that wait for others, two at a time, one line each.

export interface Outcome {
  /** Empty when all is well. */
  readonly problems: ReadonlyArray<string>
  /** Printed behind the name of a step that passed. */
  readonly note?: string
}

export interface Step {
  readonly name: string
  /** Steps without which this one cannot run. */
  readonly needs?: ReadonlyArray<string>
  readonly run: () => Promise<Outcome> | Outcome
}

const indent = (text: string): string => text.replaceAll(/^/gm, "    ")

const outcome = async (step: Step): Promise<Outcome> => {
  try {
    return await step.run()
  } catch (error) {
    return { problems: [error instanceof Error ? error.stack ?? error.message : String(error)] }
  }
}

const attempt = async (step: Step, failed: ReadonlySet<string>): Promise<boolean> => {
  const missing = step.needs?.find((name) => failed.has(name))
  const start = performance.now()
  const { note, problems } = missing === undefined
    ? await outcome(step)
    : { note: undefined, problems: [`not run, it needs ${missing}`] }
  const took = `(${((performance.now() - start) / 1000).toFixed(1)} s)`
  console.log(
    problems.length === 0
      ? `ok ${step.name} ${took}${note === undefined ? "" : ` ${note}`}`
      : [`FAIL ${step.name} ${took}`, ...problems.map(indent)].join("\n")
  )
  return problems.length === 0
}

/** Runs every step, in the order given as far as their needs allow; says how many passed and failed. */
export const runAll = async (steps: ReadonlyArray<Step>, width: number) => {
  const waiting = [...steps]
  const ended = new Set<string>()
  const failed = new Set<string>()
  const running = new Set<Promise<void>>()
  while (waiting.length > 0 || running.size > 0) {
    const next = waiting.findIndex((step) => (step.needs ?? []).every((name) => ended.has(name)))
    const step = next >= 0 && running.size < width ? waiting.splice(next, 1)[0] : undefined
    if (step === undefined) {
      if (running.size === 0) throw new Error(`needs that no step fulfils: ${waiting.map(({ name }) => name)}`)
      await Promise.race(running)
      continue
    }
    const task = attempt(step, failed).then((passed) => {
      if (!passed) failed.add(step.name)
      ended.add(step.name)
      running.delete(task)
    })
    running.add(task)
  }
  return { passed: ended.size - failed.size, failed: failed.size }
}
