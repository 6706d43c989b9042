/** A running fake server as a test sees it from behind, whichever shell carries it. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as FakeComfy from "./FakeComfy.ts"
import type { Fault, Frame } from "./Fault.ts"
import type { RequestRecord, Snapshot, SocketChoice } from "./FaultyComfy.ts"

/**
 * A hold on one running server: what really happened, and what shall go wrong. `F` is what faults it takes: in another
 * process only those that are data.
 */
export interface FakeServer<F = Fault> {
  /** Scheme, host and port. */
  readonly origin: string
  /** What really ran. */
  readonly ledger: Effect.Effect<FakeComfy.Ledger>
  readonly snapshot: Effect.Effect<Snapshot>
  /** The last 1,000 requests, upgrades to a socket among them, oldest first, as they came before any fault. */
  readonly requests: Effect.Effect<ReadonlyArray<Readonly<RequestRecord>>>
  /** Brings a fault, or all of a list, into force; the effect inside takes it back. */
  readonly inject: (fault: F | ReadonlyArray<F>) => Effect.Effect<{ readonly heal: Effect.Effect<void> }>
  /** Takes all faults back. */
  readonly heal: Effect.Effect<void>
  /** Breaks connections on both sides: close 1006. */
  readonly cutSockets: (which?: SocketChoice) => Effect.Effect<void>
  /** The server forgets sockets, which stay open and answer pings: the deaf second socket of a client id. */
  readonly deafenSockets: (which?: SocketChoice) => Effect.Effect<void>
  /** Everything on these connections is lost, pongs too; the server closes its side after `serverNoticesMs`, or never. */
  readonly halfOpenSockets: (
    options?: SocketChoice & { readonly serverNoticesMs?: number | undefined }
  ) => Effect.Effect<void>
  /** Sends frames of one's own, now and past all faults: see `BadFrames`. */
  readonly sendFrames: (frames: ReadonlyArray<Frame>, which?: SocketChoice) => Effect.Effect<void>
  /** All files of a folder are gone, behind the server's back: a machine that was built anew has no input files. */
  readonly wipe: (folder: "input" | "output" | "temp") => Effect.Effect<void>
  /** Nothing comes out for so long, then all at once. */
  readonly stall: (duration: Duration.Input) => Effect.Effect<void>
  /** The process ends: sockets break, connections are refused. */
  readonly kill: Effect.Effect<void>
  /** A new process: queue, history and cache are gone, numbers begin at 0. */
  readonly restart: Effect.Effect<void>
  /** The worker thread ends: prompts are taken and never run; HTTP is well. */
  readonly killWorker: Effect.Effect<void>
}
