/**
 * What can go wrong, as types: what a fault is for, what happens, how often and how long. `Fault.ts` makes such values;
 * the schema of those that are data is in `internal/faultCodec.ts`.
 */

// ---- When

/** How often and how long a fault is in force. Each server counts and throws its dice by itself, from its own seed. */
export interface Schedule {
  /** Ends after striking so often. Default: never. */
  readonly times?: number
  /** Lets so many matches pass first. Default 0. */
  readonly skip?: number
  /** Sleeps so many milliseconds after it was injected. Default 0. */
  readonly afterMs?: number
  /** Ends so many milliseconds after it was injected. Default: never. */
  readonly forMs?: number
  /** Strikes with this probability, by the server's seed. Default 1. */
  readonly probability?: number
}

// ---- Requests: which

/** A request as a matcher sees it. */
export interface RequestInfo {
  readonly method: string
  /** Without query. */
  readonly path: string
  /** Path and query as sent. */
  readonly target: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** Every one, or any one, of several matches. */
export interface Joined<M> {
  readonly _tag: "All" | "Either"
  readonly matches: ReadonlyArray<M>
}

/** Which requests a fault is for, as data. */
export type MatchData =
  | { readonly _tag: "Any" }
  | { readonly _tag: "Method"; readonly method: string }
  | { readonly _tag: "Path"; readonly pattern: string }
  /** A header of this name (lower case), of this value if one is given. */
  | { readonly _tag: "Header"; readonly name: string; readonly value?: string }
  /** The body, read as UTF-8, has this text in it. */
  | { readonly _tag: "BodyIncludes"; readonly text: string }
  /** The body has more bytes. */
  | { readonly _tag: "BodyOver"; readonly bytes: number }
  | Joined<MatchData>

/** Which requests a fault is for; a function is called for each, and must answer the same each time. */
export type Match = MatchData | Joined<Match> | ((request: RequestInfo) => boolean)

// ---- Requests: what happens

/** An answer that does not come from the server: a proxy's page, a login, a limit. */
export interface RawResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** How fast bytes come: all of them within a time, or so many in each millisecond. */
export type Pace = { readonly overMs: number } | { readonly bytesPerMs: number }

/** How a body breaks off: by a reset, by a regular end of the connection, or by a chunk whose length is no number. */
export type BodyEnd = "reset" | "end" | "badChunk"

/** What happens to a request, as data. */
export type ActionData =
  /** Somebody else answers; the server never sees the request. */
  | { readonly _tag: "Respond"; readonly response: RawResponse }
  /** The connection breaks before the server sees the request. */
  | { readonly _tag: "DropRequest" }
  /** The server does what was asked, and the connection breaks before its answer. */
  | { readonly _tag: "DropAnswer" }
  /** The server does what was asked, and somebody else answers: a 504 of a proxy. */
  | { readonly _tag: "ReplaceAnswer"; readonly response: RawResponse }
  /** Nothing ever comes back. The server sees the request, or does not. */
  | { readonly _tag: "Hang"; readonly done: boolean }
  /** The process dies of it, as by SIGKILL; `done`: after it did what was asked, before its answer. */
  | { readonly _tag: "Kill"; readonly done: boolean }
  /** The body breaks off after so many bytes. */
  | { readonly _tag: "CutBody"; readonly bytes: number; readonly how: BodyEnd }
  /** The body stops after so many bytes and the connection stays open. */
  | { readonly _tag: "StallBody"; readonly bytes: number }
  /** Adds up: the request reaches the server later. */
  | { readonly _tag: "DelayRequest"; readonly ms: number }
  /** Adds up: the answer comes later; frames do not wait for it. With 0 it comes behind the frames of the same moment. */
  | { readonly _tag: "HoldAnswer"; readonly ms: number }
  /** Adds up: the head comes byte by byte. */
  | { readonly _tag: "SlowHeaders"; readonly overMs: number }
  /** Adds up: the body comes bit by bit. */
  | { readonly _tag: "SlowBody"; readonly pace: Pace }
  /** Adds up: white space is put behind a shorter body (JSON stays JSON). */
  | { readonly _tag: "PadBody"; readonly bytes: number }
  /** Adds up: a proxy gives this answer if the server's is not there in time; the server goes on with the request. */
  | { readonly _tag: "AnswerWithin"; readonly ms: number; readonly response: RawResponse }

/** What happens to a request; a function edits the server's answer on its way. */
export type Action = ActionData | {
  readonly _tag: "EditAnswer"
  readonly edit: (response: Required<RawResponse>) => RawResponse
}

// ---- Upgrades

/** What happens to an upgrade to a WebSocket. */
export type UpgradeAction =
  /** It is answered with a status. */
  | { readonly _tag: "Refuse"; readonly response: RawResponse }
  /** The connection breaks. */
  | { readonly _tag: "Reset" }
  /** It is never answered. */
  | { readonly _tag: "Hang" }
  /** The socket opens and answers pings, and no event ever reaches it. */
  | { readonly _tag: "Deaf" }

// ---- Frames

/**
 * A frame for a client: text, binary, or bytes that are put on the TCP connection as they are, framing included. The
 * latter need a real socket; in memory the connection breaks instead, as it does after a client has seen such bytes.
 */
export type Frame = string | Uint8Array | { readonly _tag: "Raw"; readonly bytes: Uint8Array }

/** Which frames a fault is for, as data. */
export type FrameMatchData =
  | { readonly _tag: "AnyFrame" }
  /** JSON frames of one of these types. */
  | { readonly _tag: "Event"; readonly types: ReadonlyArray<string> }
  /** Binary frames, of this event number if one is given: 1 preview, 3 text, 4 preview with metadata. */
  | { readonly _tag: "Binary"; readonly event?: number }
  /** Text frames with this text in them. */
  | { readonly _tag: "TextIncludes"; readonly text: string }
  | Joined<FrameMatchData>

/** Which frames a fault is for. */
export type FrameMatch = FrameMatchData | Joined<FrameMatch> | ((frame: string | Uint8Array) => boolean)

/** What happens to a frame, as data. Faults on frames work one after the other, in the order of their injection. */
export type FrameActionData =
  | { readonly _tag: "Drop" }
  /** It comes later; order within a socket is kept. */
  | { readonly _tag: "Delay"; readonly ms: number }
  /** It comes `1 + copies` times. */
  | { readonly _tag: "Duplicate"; readonly copies: number }
  /** Frames are gathered until there are `window` of them or `withinMs` have passed, and go out shuffled by the seed. */
  | { readonly _tag: "Reorder"; readonly window: number; readonly withinMs: number }
  /** Other frames come before it, after it or in its place. */
  | { readonly _tag: "Insert"; readonly frames: ReadonlyArray<Frame>; readonly where: "before" | "after" | "instead" }
  /** Only its first bytes come (of text: characters). */
  | { readonly _tag: "Truncate"; readonly length: number }
  /** A member of a JSON frame is set: `path` names it from the top, `value` is JSON. */
  | { readonly _tag: "SetField"; readonly path: ReadonlyArray<string>; readonly json: string }
  /** A member of a JSON frame is left out. */
  | { readonly _tag: "OmitField"; readonly path: ReadonlyArray<string> }
  /** After it, all that this socket was sent since it opened or since the last replay comes again: at most 2,000 frames. */
  | { readonly _tag: "Replay" }
  /** The connection breaks in its place: close 1006. */
  | { readonly _tag: "CutSocket" }
  /** The process dies before it: what was done is done, and nobody was told. */
  | { readonly _tag: "KillServer" }

/** What happens to a frame; a function edits it, and loses it by giving nothing back. */
export type FrameAction = FrameActionData | {
  readonly _tag: "EditFrame"
  readonly edit: (frame: string | Uint8Array) => string | Uint8Array | undefined
}

// ---- Nodes

/** A node that is about to run, as a matcher sees it: cached ones do not run. */
export interface NodeInfo {
  readonly promptId: string
  readonly nodeId: string
  readonly classType: string
  /** Its inputs as they stand in the prompt, as JSON text. */
  readonly inputs: string
}

/** Which runs of nodes a fault is for, as data: all that is given must agree; `{}` is every node. */
export interface NodeMatchData {
  readonly classType?: string
  readonly nodeId?: string
  readonly promptId?: string
  /** Text in the JSON of the node's inputs: "this content", on any server. */
  readonly inputIncludes?: string
}

/** Which runs of nodes a fault is for. */
export type NodeMatch = NodeMatchData | ((node: NodeInfo) => boolean)

/**
 * When it happens to a node: `before` it does anything, `after` it did everything (files are written, nothing was
 * shown), or at its n-th progress, from 1 (the server does not send
 * every one of them); a node with less progress ends as it is.
 */
export type NodeMoment = "before" | "after" | { readonly progress: number }

/** What happens to a node. Times are real ones: `speed` does not change them. */
export type NodeAction =
  /** Adds up: nothing is heard for so long before its first progress: a model loads. It does not look at interrupts. */
  | { readonly _tag: "Silent"; readonly ms: number }
  /** Adds up: its own times are multiplied. */
  | { readonly _tag: "Slower"; readonly factor: number }
  /** Adds up: it never looks at the interrupt flag; whoever comes next does. */
  | { readonly _tag: "Uninterruptible" }
  /** Adds up: it holds the event loop: no answer, frame or pong for so long, then all at once. */
  | { readonly _tag: "StallServer"; readonly ms: number }
  /** It raises a Python exception. */
  | { readonly _tag: "Raise"; readonly type: string; readonly message: string; readonly when: NodeMoment }
  /** It raises a CUDA error, and so does every node after it, at once, until the process is started again. */
  | { readonly _tag: "PoisonGpu"; readonly when: NodeMoment }
  /** The process ends. */
  | { readonly _tag: "KillProcess"; readonly when: NodeMoment }
  /** The worker thread ends; HTTP is well, and nothing runs any more. */
  | { readonly _tag: "KillWorker"; readonly when: NodeMoment }

// ---- Faults

/** A fault on requests that match. */
export interface OnRequest<M, A> {
  readonly _tag: "OnRequest"
  readonly match: M
  readonly action: A
  readonly schedule: Schedule
}

/** A fault on frames that match. */
export interface OnFrame<M, A> {
  readonly _tag: "OnFrame"
  readonly match: M
  readonly action: A
  readonly schedule: Schedule
}

/** A fault on runs of nodes that match. */
export interface OnNode<M> {
  readonly _tag: "OnNode"
  readonly match: M
  readonly action: NodeAction
  readonly schedule: Schedule
}

/** What comes and goes: the network before the server, the process (a new one each time), or its event loop. */
export type Flapping = "network" | "process" | "stall"

/** Faults that match nothing: on every upgrade, interrupt, write or ending, or on the server as a whole. */
export type Plain =
  | { readonly _tag: "OnUpgrade"; readonly action: UpgradeAction; readonly schedule: Schedule }
  | { readonly _tag: "LoseInterrupts"; readonly schedule: Schedule }
  | { readonly _tag: "DiskFull"; readonly schedule: Schedule }
  | { readonly _tag: "DeleteOutputs"; readonly schedule: Schedule }
  | {
    readonly _tag: "Flap"
    readonly what: Flapping
    readonly upMs: number
    readonly downMs: number
    readonly schedule: Schedule
  }
  | { readonly _tag: "SkewClock"; readonly ms: number; readonly schedule: Schedule }
  | {
    readonly _tag: "IdleCut"
    readonly socketsMs?: number
    readonly keepAliveMs?: number
    readonly schedule: Schedule
  }

/** A fault that holds no function: it can be written down and sent to another process. */
export type FaultData =
  | OnRequest<MatchData, ActionData>
  | OnFrame<FrameMatchData, FrameActionData>
  | OnNode<NodeMatchData>
  | Plain

/** A fault: what it is for, what it does, and when. */
export type Fault = OnRequest<Match, Action> | OnFrame<FrameMatch, FrameAction> | OnNode<NodeMatch> | Plain
