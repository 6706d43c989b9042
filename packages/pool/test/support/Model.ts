/**
 * A pool as a small pure model: commands in, and for every job what may come of it. It knows nothing of queues, routers and
 * clocks; all it says is which endings would be lies.
 */
import * as fc from "fast-check"

export const kinds = ["picture", "counting", "slow", "failing", "outOfMemory", "nobody"] as const
export type Kind = (typeof kinds)[number]

/** What people and the world do; `job` counts back from the last one, `server` is 1 to the number of servers. */
export type Command =
  | {
    readonly _tag: "Submit"
    readonly kind: Kind
    readonly size: number
    readonly priority: number
    readonly tenant: string
  }
  | { readonly _tag: "Cancel"; readonly job: number }
  | {
    readonly _tag: "Kill" | "Restart" | "Cut" | "Deafen" | "Flap" | "Add" | "Remove" | "Pause" | "Resume"
    readonly server: number
  }
  | { readonly _tag: "Advance"; readonly ms: number }

export const servers = 3

const server = fc.integer({ min: 1, max: servers })

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      _tag: fc.constant("Submit"),
      kind: fc.constantFrom(...kinds),
      size: fc.integer({ min: 1, max: 9 }),
      priority: fc.integer({ min: -1, max: 1 }),
      tenant: fc.constantFrom("a", "b")
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({ _tag: fc.constant("Advance"), ms: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 20_000 })) })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Cancel"), job: fc.nat({ max: 4 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      _tag: fc.constantFrom("Kill", "Restart", "Cut", "Deafen", "Flap", "Add", "Remove", "Pause", "Resume"),
      server
    })
  }
)

/** A sequence of them on a fleet of which the first two are members. */
export interface Sequence {
  readonly seed: number
  readonly commands: ReadonlyArray<Command>
}

export const sequences: fc.Arbitrary<Sequence> = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  commands: fc.array(command, { minLength: 1, maxLength: 25 })
})

/** What may be true of one job. */
interface JobModel {
  readonly kind: Kind
  readonly cancelled: boolean
  /** Servers died or were taken out while it was open: it may have run twice, or have been given up. */
  readonly troubled: boolean
}

export interface Model {
  readonly jobs: ReadonlyArray<JobModel>
}

export const initial: Model = { jobs: [] }

export const chosen = (back: number, count: number): number | undefined => back < count ? count - 1 - back : undefined

const trouble: ReadonlySet<Command["_tag"]> = new Set(["Kill", "Restart", "Flap", "Remove"])

/** `isOpen`: the job had not ended when the command came. */
export const step = (model: Model, command: Command, isOpen: (index: number) => boolean): Model => {
  if (command._tag === "Submit") {
    return { jobs: [...model.jobs, { kind: command.kind, cancelled: false, troubled: false }] }
  }
  if (command._tag === "Cancel") {
    const index = chosen(command.job, model.jobs.length)
    return { jobs: model.jobs.map((job, at) => at === index && isOpen(at) ? { ...job, cancelled: true } : job) }
  }
  if (!trouble.has(command._tag)) return model
  return { jobs: model.jobs.map((job, at) => isOpen(at) ? { ...job, troubled: true } : job) }
}

/** The endings that would be no lie: tags of the job's last event, with the reason where it has one. */
export const mayEnd = ({ cancelled, kind, troubled }: JobModel): ReadonlySet<string> => {
  const out = new Set<string>()
  if (cancelled) out.add("JobCancelled")
  if (kind === "failing") out.add("JobFailed NodeFailed")
  else if (kind === "outOfMemory") out.add("JobFailed OutOfMemory")
  else if (kind === "nobody") out.add("JobFailed NoEligibleServer").add("JobFailed MissingCapability")
  else out.add("JobSucceeded")
  if (troubled) {
    // Two executions are what a job gets while servers die under it.
    out.add("JobFailed Lost").add("JobFailed Unreachable").add("DeadLettered Lost").add("DeadLettered Unreachable")
    out.add("DeadLettered SubmitAmbiguous")
  }
  return out
}
