/**
 * Every wait and limit of the client in one place. Each is an option of {@link ComfyClient}; the reasons stand in the
 * documentation of the option that uses it.
 */
import * as Duration from "effect/Duration"

const seconds = Duration.seconds
const minutes = Duration.minutes
const hours = Duration.hours

/** Waits and limits of HTTP. */
export const http = {
  /** Until the headers of the answer to `POST /prompt`: validation runs on the server's event loop. */
  promptTimeout: seconds(90),
  /** Until the headers of `GET /object_info`, which some packs make take 20 s. */
  objectInfoTimeout: seconds(120),
  /** Until the headers of any other answer. */
  headersTimeout: seconds(30),
  /** Between two chunks of a body, either way; no total limit. */
  idleTimeout: seconds(60),
  /** Idle connections are kept for so long, unless the server names a time. */
  keepAlive: seconds(20),
  /** Of one answer that is read whole, in bytes; files are streamed and have none. */
  maxBodyBytes: 256 * 1024 * 1024,
  /** Tries of an idempotent request, the first included. */
  tries: 3
} as const

/** Waits and limits of the socket. */
export const socket = {
  openTimeout: seconds(10),
  /** Bytes that may wait for the pump, which never waits for anybody: only a stalled event loop can reach this. */
  maxBufferedBytes: 256 * 1024 * 1024,
  /** The largest frame; full-size pictures of SaveImageWebsocket come as one. */
  maxFrameBytes: 256 * 1024 * 1024,
  closeTimeout: seconds(2),
  pingInterval: seconds(20),
  /** So many pongs missed, with HTTP answering within `httpAliveWithin`, is a dead socket. */
  missedPongs: 3,
  httpAliveWithin: seconds(1),
  /** A prompt that is gone while the socket seems whole: the socket has so long to prove that it is. */
  pongWithin: seconds(5),
  reconnectBase: Duration.millis(250),
  reconnectCap: seconds(15),
  /** Dials in any minute, whatever ends the connections: the schedule alone needs nine in its first. */
  dialsPerMinute: 10,
  /** After so many refused upgrades `socket: "auto"` works by polling … */
  refusalsUntilPolling: 3,
  /** … and tries again this often. */
  refusedRetry: minutes(5)
} as const

/** When a run that is silent is asked for over HTTP. */
export const watch = {
  /** Silence on a whole connection: ask after these, then every `silenceRepeat`. */
  silence: [seconds(10), seconds(20), seconds(40)],
  silenceRepeat: seconds(60),
  /** Without a whole connection: a tenth of the run's age, within these. */
  pollFloor: seconds(1),
  pollCap: seconds(10),
  /** How often the whole queue may be read, which can be megabytes. */
  queueInterval: seconds(60),
  /** A frame that HTTP proves to be due and that is so late makes the socket deaf. */
  deafAfter: seconds(5),
  /** From the socket's terminal message until HTTP is asked for the ending. */
  settleGrace: seconds(1),
  /** From HTTP's ending until it is told, for frames that are still on their way. */
  frameGrace: Duration.millis(500),
  /** Between the two answers "unknown" that make a run lost. */
  lostApart: seconds(2),
  /** No answer at all: the run is held for half its age, within these. */
  unreachableFloor: minutes(2),
  unreachableCap: minutes(15),
  /** Waiting with nothing ahead and nothing running, or started without a first node: the worker is stuck. */
  stuckStart: seconds(60),
  /** A node without a sign of life while HTTP is well: longer than any policy of a pool waits. */
  stuckNode: minutes(60),
  /**
   * A run that says nothing while HTTP says that it is running: the connection is replaced once, because a socket that
   * went deaf looks the same. Sooner than a pool's limits end a run for its silence, and late enough for a load …
   */
  silentRedial: minutes(15),
  /** … and after this, or ten of its steps, in the middle of a node that was counting. */
  stepRedial: minutes(2),
  /** Waiting behind one and the same running prompt, of whom it may be: longer than anything that people run. */
  stuckAhead: hours(6)
} as const

/** A POST without an answer. */
export const ambiguity = {
  /** When the server is asked for the id, counted from the failure. */
  ask: [seconds(1), seconds(2), seconds(5), seconds(10), seconds(20), seconds(40)],
  askRepeat: seconds(40),
  /** So many answers "unknown", over at least this long, prove that nothing was queued … */
  absentAnswers: 3,
  absentAfterClose: seconds(30),
  /** … and this long if a proxy may still deliver the POST. */
  absentAfterProxy: seconds(120),
  /** After this nobody knows. */
  giveUp: minutes(10),
  /** An id that was given up is cancelled if it shows up within this. */
  tombstone: Duration.hours(24),
  maxTombstones: 10_000
} as const

/** Cancelling one run. */
export const cancel = {
  /** An interrupt that lands while the prompt starts is lost: it is repeated. */
  repeat: seconds(5),
  /** After this a warning says that the cancellation has no effect. */
  stuck: seconds(60),
  /** How long the end of a consumer may be held for cancelling on the server. */
  onInterrupt: seconds(5)
} as const

/** Caps of what is kept. */
export const limits = {
  /** Lifecycle events of one run kept for late subscribers. */
  replay: 4_096,
  /** Ids of ended runs remembered to refuse their reuse: at most so many, and always the latest half of them. */
  endedRuns: 10_000,
  /** Capabilities older than this are read again when they are asked for and no run is open: files come and go. */
  capabilitiesAge: minutes(10),
  /** Uploads remembered by content per server process. */
  knownUploads: 100_000,
  /** A stream is read whole for its name by content up to so many bytes. */
  hashedUploadBytes: 32 * 1024 * 1024,
  /** Frames of prompts that are not known yet, while a POST is under way. */
  unclaimedFrames: 4_096
} as const
