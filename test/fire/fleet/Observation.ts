/** What was seen of a fleet and its jobs: all that there is to judge. Times are milliseconds of the one clock. */
import type { RunId } from "@effect-comfyui/execution/Ids"
import type { JobError, JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type * as Member from "@effect-comfyui/pool/Member"
import type { ServerEvent } from "@effect-comfyui/pool/PoolEvent"
import type { FakeComfy } from "@effect-comfyui/testing"
import type * as Exit from "effect/Exit"
import type { FleetJob } from "./Scenario.ts"

/** What one subscriber heard. `exit` is undefined while its stream has not ended. */
export interface Heard {
  readonly events: ReadonlyArray<JobEvent>
  readonly exit: Exit.Exit<void> | undefined
}

/** One job and what came of it. */
export interface SeenJob {
  readonly index: number
  readonly job: FleetJob
  readonly affinity: string
  readonly paid: boolean
  readonly submittedAt: number
  /** Why it was not taken at all. */
  readonly refused: PoolError | undefined
  /** The runs of its last 64 attempts. */
  readonly runs: ReadonlySet<RunId>
  readonly attempts: number
  readonly main: Heard
  /** Others, some of whom came after its end. */
  readonly others: ReadonlyArray<Heard>
  /** What whoever waits for its success got. */
  readonly result: Exit.Exit<unknown, JobError> | undefined
  /** When it was asked to end, and whether whoever asked was answered. */
  readonly cancel: { readonly at: number; readonly answered: boolean } | undefined
}

/** A server at one moment, as the pool shows it and as it is. */
export interface SampledServer extends Pick<Member.View, "id" | "status" | "jobs" | "next"> {
  /** Nothing runs or waits there, of anybody. */
  readonly empty: boolean
  /** The process lives, answers, and can be reached. */
  readonly well: boolean
}

/** Fleet and queue at one moment. */
export interface Sample {
  readonly at: number
  readonly servers: ReadonlyArray<SampledServer>
  /** Indices of jobs whose time has come, and that nobody has. */
  readonly waiting: ReadonlyArray<number>
  readonly blocked: ReadonlyArray<{
    readonly server: string
    readonly key: string | null
    readonly probing: boolean
    readonly state: string
  }>
  readonly queued: number
  readonly running: number
  /** The most workflows remembered of one server. */
  readonly resident: number
}

/** What a server did, whatever anybody was told. */
export interface SeenServer {
  readonly id: string
  readonly ledger: FakeComfy.Ledger
  /** When somebody dialled its socket. */
  readonly dials: ReadonlyArray<number>
}

export interface Observation {
  readonly jobs: ReadonlyArray<SeenJob>
  readonly servers: ReadonlyArray<SeenServer>
  readonly victim: string
  /** When the fault struck. */
  readonly struckAt: number
  /** Prompts of others. */
  readonly foreign: ReadonlySet<string>
  readonly serverEvents: ReadonlyArray<ServerEvent>
  readonly samples: ReadonlyArray<Sample>
  /** What was logged as an error: a fiber that died. */
  readonly defects: ReadonlyArray<string>
  /** What a row itself finds wrong while it strikes. */
  readonly notes: ReadonlyArray<string>
  /** Of the pool, some time after the last job has ended; undefined where the row closed it before. */
  readonly rest: Sample | undefined
  /** After the pool was closed, and an hour more. */
  readonly left: { readonly closes: boolean; readonly sockets: number; readonly requestsLater: number }
}
