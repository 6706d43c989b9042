// A real server runs the outputs of a prompt in the order of a Python set, which its queue and history show. The fake runs
// them in the order of the prompt: a recorded prompt is put into the recorded order before the fake gets it.
type Known = ReadonlyMap<string, ReadonlyArray<string>>

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const collect = (value: unknown, found: Map<string, ReadonlyArray<string>>): void => {
  if (Array.isArray(value)) {
    const [, id, , , outputs] = value
    if (
      value.length === 5 && typeof id === "string" && Array.isArray(outputs) &&
      outputs.every((one) => typeof one === "string")
    ) {
      found.set(id, outputs)
    } else for (const item of value) collect(item, found)
  } else if (isObject(value)) { for (const item of Object.values(value)) collect(item, found) }
}

/** By prompt id, the order that the answers of a recording show. */
export const outputOrders = (bodies: Iterable<string>): Known => {
  const found = new Map<string, ReadonlyArray<string>>()
  for (const body of bodies) if (body.includes("[")) collect(parse(body), found)
  return found
}

/** The body of a prompt with its output nodes in this order; as it is where that would change anything else. */
export const inOrder = (body: string, outputs: ReadonlyArray<string> | undefined): string => {
  if (outputs === undefined || outputs.length < 2) return body
  const parsed = parse(body)
  const prompt = isObject(parsed) ? parsed["prompt"] : undefined
  // Numbers that JavaScript does not hold, or a text that is written in another way.
  if (!isObject(parsed) || !isObject(prompt) || JSON.stringify(parsed) !== body) return body
  const wanted = outputs.filter((id) => Object.hasOwn(prompt, id))
  const left = [...wanted]
  const ids = Object.keys(prompt).map((id) => (wanted.includes(id) ? left.shift() ?? id : id))
  const nodes = ids.map((id) => `${JSON.stringify(id)}:${JSON.stringify(prompt[id])}`)
  const members = Object.entries(parsed).map(([key, value]) =>
    `${JSON.stringify(key)}:${key === "prompt" ? `{${nodes.join(",")}}` : JSON.stringify(value)}`
  )
  return `{${members.join(",")}}`
}
