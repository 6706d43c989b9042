/** What of a pool's events a person wants to read in a log, and how loud. Everything else is for those who listen. */
import type { PoolEvent } from "./PoolEvent.ts"

/** A line of the log, with what it is about as annotations. */
export interface Line {
  readonly level: "Debug" | "Info" | "Warn"
  readonly message: string
  readonly about: Readonly<Record<string, string | number>>
}

const line = (level: Line["level"], message: string, about: Line["about"]): Line => ({ level, message, about })

const ofKey = (key: string | null): Line["about"] => key === null ? {} : { key }

/** The line that this event is worth; undefined for most. */
export const of = (event: PoolEvent): Line | undefined => {
  switch (event._tag) {
    case "ServerAdded":
    case "ServerUpdated":
    case "ServerRemoved":
    case "ServerConnected":
    case "ServerDraining":
    case "ServerDrained":
    case "ServerPaused":
    case "ServerResumed":
      return line("Debug", event._tag, { server: event.server })
    case "ServerDisconnected":
      return line("Info", "the connection to a server broke", { server: event.server, reason: event.reason })
    case "ServerRestarted":
      return line("Warn", "a server has restarted", { server: event.server, epoch: event.epoch })
    case "ServerRestarting":
      return line("Warn", "a server is restarted", { server: event.server, cause: event.cause })
    case "ServerControlFailed":
      return line("Warn", `the ${event.action} of a server failed`, { server: event.server, cause: event.cause })
    case "ServerGone":
      return event.why === "lease"
        ? line("Info", "the lease of a server is over", { server: event.server })
        : line("Warn", "a server is gone", { server: event.server, removed: String(event.removed) })
    case "ServerHealth":
      return event.healthy
        ? line("Info", "a server answers again", { server: event.server })
        : line("Warn", "a server does not answer", { server: event.server, cause: event.cause })
    case "ServerBlocked":
      return line("Warn", "blocked after failures", { server: event.server, cause: event.cause, ...ofKey(event.key) })
    case "ServerUnblocked":
      return line("Info", "unblocked", { server: event.server, ...ofKey(event.key) })
    case "CancelStuck":
      return line("Warn", "a cancelled run is still there", { server: event.server, job: event.jobId })
    case "AttemptEnded":
      return event.verdict === "another-server" || event.verdict === "same-server"
        ? line("Debug", "a job is tried again", { job: event.jobId, attempt: event.number, on: event.verdict })
        : undefined
    case "JobFailed":
      return line("Debug", "a job failed", { job: event.jobId, reason: event.error.reason._tag })
    case "DeadLettered":
      return line("Warn", "a job is left to a person", { job: event.jobId, reason: event.error.reason._tag })
    default:
      return undefined
  }
}
