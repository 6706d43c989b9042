/**
 * Every figure of the pool in one place; each is an option of the part that uses it. The reasons stand with the option.
 */
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"

const seconds = Duration.seconds
const minutes = Duration.minutes
const hours = Duration.hours

/** How much may wait, and what is remembered of what ended. */
export const queue = {
  /** Waiting jobs in all; the next `offer` fails with `QueueFull`. */
  maxQueued: 100_000,
  /** Waiting jobs of one tenant. */
  maxQueuedPerTenant: 100_000,
  /** `QueueFull` names a time to ask again, of at least and at most so many milliseconds. */
  retryFloor: 100,
  retryCap: 300_000,
  /** Ended jobs that are remembered, for idempotency and for `get`; the oldest go first … */
  history: 10_000,
  /** … and whatever ended longer ago than this. Dead letters stay until a person acts, up to `history` of them. */
  historyAge: hours(24),
  /** Events and bytes kept per ended job; previews are not. */
  historyEvents: 200,
  historyBytes: 64 * 1024,
  /** How long a claim holds without being extended; extended at a third of it. */
  lease: seconds(30),
  /** A store that does not answer is asked again after this, doubled each time up to the cap. */
  again: seconds(1),
  againCap: seconds(30),
  /** How often it is asked after the jobs that other pools hold. */
  follow: seconds(1)
} as const

/** When a store that does not answer is asked again: without end. */
export const queueAgain = Schedule.min([Schedule.exponential(queue.again), Schedule.spaced(queue.againCap)])

/** What becomes of runs that a pool left behind when it ended. */
export const recovery = {
  /** When their servers are asked, after the first time; then each `askRepeat`. */
  ask: [seconds(1), seconds(2), seconds(5)],
  askRepeat: seconds(10),
  /** A server that does not know a run is believed after so many answers, over so long: its POST may be on the way. */
  unknownAnswers: 3,
  unknownFor: seconds(30),
  /** A server that does not answer, or is not there: at least this, or half of what the run took so far, up to the cap. */
  hold: minutes(2),
  holdCap: minutes(15)
} as const

/** The queue in a SQLite database. */
export const sqlite = {
  /** How often changes of other processes are looked for. */
  poll: Duration.millis(500),
  /** How long a statement waits for another process's lock. */
  busyTimeout: seconds(5),
  /** Prepared statements kept. */
  statements: 128,
  /** Writes that share one commit. */
  group: 256,
  /** How often what ended too long ago is looked for. */
  trim: minutes(1)
} as const

/** Which waiting jobs are offered to the router, and in which order. */
export const readySet = {
  /** Candidates per offer. */
  candidates: 64,
  /** Tenants among which the candidates of one offer are spread. */
  tenants: 8,
  /** Estimated GPU time a tenant of weight 1 may use per round of deficit round robin. */
  quantum: seconds(60),
  /** The oldest job of the tenant at turn goes before all others once it has waited so long … */
  forcedAfter: seconds(10),
  /** … but only one dispatch of so many is forced: without this cap a full queue collapses to first come, first served. */
  forcedOneIn: 16,
  /** Accounts of tenants without a waiting job; the one unused for longest is forgotten, with its debt. */
  accounts: 10_000
} as const

/** When a server, or one workflow on it, is avoided. */
export const breakers = {
  /** Failures of a workflow on a server that open the pair, of at least so many different contents … */
  keyFailures: 3,
  keyContents: 2,
  /** … within this time, without a success between them. */
  keyWindow: minutes(10),
  /** So many failures in a row open the server: its own, however late, and all others that come this fast. */
  fastFailures: 5,
  fastWithin: seconds(2),
  /** First open time; doubled each time until it stayed closed as long as it was open last. */
  open: minutes(5),
  openCap: hours(1),
  /** Circuits kept; the one touched longest ago is forgotten. */
  cap: 10_000,
  /** Share of the servers that failures alone may take out; certain faults of a server are not bound by it. */
  ejectShare: 0.5
} as const

/** How often a job is tried again, by what ended its attempt. */
export const failover = {
  /** Executions in all when servers die under the job. */
  serverDeaths: 2,
  /** Further attempts after running out of memory, on a larger card. */
  outOfMemory: 1,
  /** Further attempts after somebody else interrupted the run. */
  foreignInterrupts: 1,
  /** Further attempts after a fault of the server that was not its death, or a node that was silent too long. */
  serverFaults: 2,
  /** Delay before another attempt: doubled each time, with full jitter, up to the cap. */
  delay: seconds(1),
  delayCap: minutes(1),
  /** A server that asks to be left alone for longer is asked again after this. */
  restCap: minutes(10),
  /** Repeated executions per job of the last `budgetWindow`, in the whole fleet, plus a fixed few. */
  budgetShare: 0.1,
  budgetFixed: 5,
  budgetWindow: minutes(10)
} as const

/** What is taken for warm. */
export const residency = {
  /** Signatures remembered per server, those no longer resident included: what a hit can still prove. */
  remembered: 16,
  /** Free and total memory of a host from which on more than one workflow is expected to stay cached. */
  roomyRamBytes: 160 * 1024 ** 3,
  roomyFreeRamBytes: 96 * 1024 ** 3
} as const

/** How jobs are placed. */
export const router = {
  /** A job waits for a busy server that is warm for it, at most this share of the cold surcharge … */
  warmWaitShare: 0.8,
  /** … and at most so long … */
  warmWait: seconds(60),
  /** … and only where cold and warm runs were both seen so often. */
  warmWaitSamples: 5,
  /** Bounded load of the hash policy: no server above this multiple of the mean. */
  hashLoad: 1.25
} as const

/** A second prompt on a busy server. */
export const prefetch = {
  /** Only if the running one is thought to end within this … */
  endsWithin: seconds(5),
  /** … and the next takes less than this; never paid, never beside foreign work. */
  lastsLess: seconds(30),
  /** Taken back when another server has been idle for so long. */
  recallAfter: seconds(1)
} as const

/** Policy clocks: they belong to the pool, not to the client. */
export const timeouts = {
  /** Runs only while nothing is ahead of the job on its server. */
  start: seconds(60),
  /** Before a node's first sign of progress. */
  nodeFirst: minutes(30),
  /** Between two steps: at least this, or `nodeSteps` times the median step. */
  nodeStep: minutes(5),
  nodeSteps: 20,
  /**
   * In the place of `nodeFirst` with `nodeSamples` runs known: at least this (`nodePaid` for paid runs), or `nodeP99` times
   * the 99th percentile of whole runs. So it is shorter for quick workflows, and longer for those that may say nothing for
   * longer than `nodeFirst`.
   */
  nodeLearned: minutes(10),
  nodeP99: 4,
  nodeSamples: 5,
  /** Nodes of paid partners. */
  nodePaid: minutes(60),
  /** A silent node is told of as a `Warning`. */
  nodeWarning: minutes(5),
  /** A cancellation that has had no effect is told of as `CancelStuck`, and asked for again each `cancelRepeat`. */
  cancelStuck: seconds(60),
  cancelRepeat: seconds(5),
  /** Until a job that no known server can run fails, while some servers' capabilities are unknown. */
  nobody: minutes(10)
} as const

/** How servers are looked after. */
export const health = {
  /** `probe` of a server that sends no frames; zero or none switches it off. */
  probe: seconds(15),
  probeTimeout: seconds(10),
  /** Probes missed in a row after which nothing new is placed there; no run is ended by it. */
  misses: 4,
  /** Servers that are asked for their classes and files at once. */
  reading: 2,
  /** What a server was seen to lack is believed for so long. */
  missing: minutes(10)
} as const

/** Machines that are rented, and those that nobody hears of. */
export const machines = {
  /** Kept free at the end of a lease for the files of the last run: 1 GB over a line of 150 Mbit/s. */
  collection: seconds(60),
  /** The time that nine of ten runs keep to, where only the mean is known: runs of one workflow spread by a third. */
  spread: 1.5,
  /** What a job takes of which nobody knows anything: pictures take less, and a film is not worth a lease that ends. */
  unknown: minutes(10),
  /** A lease with less than this beside the collection is used no more: no run with models to load is shorter. */
  smallest: seconds(10),
  /** Not heard of for so long it is gone: a host that reboots, checks its disks and loads is back before. */
  gone: minutes(30),
  /** Servers that are asked to free their memory at once. */
  freeing: 8,
  /** How often a server that is to be idle is looked at. */
  settle: seconds(1)
} as const

/** Restarts of servers by the user's own hook. */
export const restarts = {
  /** Between two of one server: what a restart did not cure twice in ten minutes it does not cure. */
  every: minutes(10),
  /** Of all servers at once, but always one. */
  share: 0.1,
  /** From the call of the hook until the server answers as a new process: custom nodes install, models are fetched. */
  within: minutes(10),
  /** Free memory that fell at so many readings in a row, to less than `lowMemory` of the whole, is a leak. */
  readings: 4,
  lowMemory: 0.1,
  /** A machine is given back within this, or a person has to: what a cloud's own interfaces wait at most. */
  release: minutes(10)
} as const

/** Storage that servers share, and that fails for all of them. */
export const storage = {
  /** One job tries one of the servers whose storage failed, this often … */
  probe: seconds(20),
  /** … or after this share of the outage so far: a long one is not paid for with hundreds of runs. */
  probeShare: 1 / 15,
  /** So many contents that failed, without a success between, are no fault of theirs. */
  contents: 2,
  /** Contents that are remembered of one outage: more than `contents` say nothing more. */
  remembered: 16
} as const

/** What is said to those who add and release machines. */
export const demand = {
  /** How often it is reckoned while somebody listens; a machine takes minutes to come. */
  every: seconds(5),
  /** The last job that waits shall begin within this. */
  target: seconds(60),
  /** Servers that are worth adding, at most: what is missing then is seen when these are there. */
  maxAdding: 64,
  /** Idle for so long a server is worth releasing: several times what it takes to boot one. */
  idle: minutes(10),
  /** Kinds of jobs that are reckoned, those with the most jobs: a thousand on 60 servers take a few milliseconds. */
  kinds: 1_000,
  /** Groups, and servers and keys of a group, that are named. */
  named: 100
} as const

/** How the files of a job are brought home. */
export const collect = {
  /** Files of one server under way at once: enough to fill a line, few enough that the next job's uploads get through. */
  atOnce: 4,
  /** Tries per file; within one the client goes on by range where a transfer broke. */
  tries: 3,
  /** Before the second try, three times that before the third, ± 20 %: a server that restarts is back after 40 s. */
  delay: seconds(10),
  /** A file that is not there is asked for again after this: a proxy may have said it. */
  goneAfter: seconds(2),
  /** A sink may take no byte for so long, and so long to finish: more than the client's own three tries of 60 s. */
  sinkIdle: minutes(10),
  /** A server that is removed is kept for the files on their way from it, at most so long. */
  removal: minutes(2)
} as const

/** What is made of processes that end under a job. */
export const deaths = {
  /** A content that ended so many is given to no other server … */
  poisonDeaths: 2,
  /** … for so long. */
  poisonAge: hours(24),
  /** A workflow that ended as many within this time goes on one server at a time. */
  deathWindow: minutes(15),
  /** Servers that end within this of each other under different contents were ended by something else. */
  deathTogether: seconds(10),
  /** Contents, and workflows, that are remembered. */
  suspects: 10_000
} as const

/** What is remembered of the decisions about one job. */
export const explain = {
  /** Steps kept: the first few, and the last … */
  steps: 64,
  first: 16,
  /** … and servers named with what spoke against them. */
  servers: 100
} as const

/** What is learnt of the memory that workflows need. */
export const memoryNeeds = {
  age: hours(24),
  /** Workflows at one size that are remembered. */
  cap: 10_000
} as const

/** What is kept of profiles, where they are wanted. */
export const profiles = {
  /** Of jobs that ended; the oldest go first, with their age at the latest. */
  finished: 1_000,
  finishedAge: hours(24),
  /** Finished ones that a slow listener may be behind. */
  listeners: 1_024,
  /** Between two saves of what was learnt of times, where a store was given for it. */
  save: minutes(5),
  /** How often it is looked for nodes that are slow by now, while somebody listens. */
  slow: seconds(1),
  /** How often it is reckoned anew where time is lost, while somebody listens. */
  bottlenecks: minutes(1)
} as const
