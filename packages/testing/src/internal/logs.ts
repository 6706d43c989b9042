// The server's log: the last lines, as its endpoints show them, and a frame for each to whoever has subscribed.
import * as Option from "effect/Option"
import { empty, json, type Request, type Response, serverError } from "./http.ts"
import { dict, isDict, type Py, truthy } from "./py.ts"
import { loadsBytes } from "./pyJson.ts"
import type { PyError } from "./pyText.ts"
import { publishEvent } from "./sockets.ts"
import type { LogLine, State } from "./state.ts"
import { isoLocal } from "./time.ts"

/** Lines that the server keeps. */
const maxLines = 300

/** Client ids that are sent the log; more than this at once are not remembered. */
const maxSubscribers = 1_000

const shown = ({ at, text }: LogLine): Py => dict({ t: isoLocal(at), m: text })

/** A line as somebody printed it. */
export const print = (state: State, text: string): void => {
  const line = { at: state.settings.epochMs + state.now, text: `${text}\n` }
  state.log.push(line)
  if (state.log.length > maxLines) state.log.shift()
  for (const client of state.logSubscribers) {
    publishEvent(state, client, "logs", dict({ entries: [shown(line)], size: null }))
  }
}

const red = (text: string): string => `\u001b[1m\u001b[31m${text}\u001b[0m`
const green = (text: string): string => `\u001b[32m${text}\u001b[0m`

/** A line of the server's logger; newer releases put the level before it. */
const write = (state: State, level: "INFO" | "ERROR", text: string): void =>
  print(state, state.profile.logLevels ? `${(level === "INFO" ? green : red)(`[${level}]`)} ${text}` : text)

export const logPrompt = (state: State): void => write(state, "INFO", "got prompt")

export const logFailure = (state: State, error: PyError, traceback: ReadonlyArray<string>): void => {
  write(state, "ERROR", `!!! Exception during processing !!! ${error.message}`)
  write(state, "ERROR", `Traceback (most recent call last):\n${traceback.join("")}${error.type}: ${error.message}\n`)
}

export const logInterrupt = (state: State): void => write(state, "INFO", "Processing interrupted")

export const logExecuted = (state: State, ms: number): void => {
  const text = ms > 600_000
    ? `Prompt executed in ${isoLocal(ms).slice(11, 19)}`
    : `Prompt executed in ${(ms / 1000).toFixed(2)} seconds`
  write(state, "INFO", state.profile.logLevels ? green(text) : text)
}

export const getLogs = (state: State): Response =>
  json(200, state.log.map(({ at, text }) => `${isoLocal(at)} - ${text}`).join(""))

export const getRawLogs = (state: State): Response =>
  json(200, dict({ entries: state.log.map(shown), size: dict({ cols: 80, rows: 24 }) }))

export const subscribeLogs = (state: State, request: Request): Response => {
  const body = Option.getOrUndefined(loadsBytes(request.body))
  if (!isDict(body) || !body.has("clientId") || !body.has("enabled")) return serverError
  const client = body.get("clientId")
  if (typeof client !== "string") return empty(200)
  if (!truthy(body.get("enabled"))) state.logSubscribers.delete(client)
  else if (state.logSubscribers.size < maxSubscribers) state.logSubscribers.add(client)
  return empty(200)
}
