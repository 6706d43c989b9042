/**
 * One ComfyUI server: runs as streams that always end, once, with the truth. The assembly of everything below it, and a
 * {@link Backend} for pools.
 */
import type {
  Backend,
  BackendError,
  BackendEvent,
  CancelOutcome,
  Capabilities,
  Probe,
  RunStatus
} from "@effect-comfyui/execution/Backend"
import type * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import * as Execution from "@effect-comfyui/execution/Execution"
import type { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import type { Completed, ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import type { Attachment, Files as FilesPort } from "@effect-comfyui/execution/Files"
import type { RunId } from "@effect-comfyui/execution/Ids"
import { BackendId, makeUuid } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as FeatureFlags from "@effect-comfyui/protocol/FeatureFlags"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as BackendEvents from "./BackendEvents.ts"
import type { BaseUrlError } from "./BaseUrl.ts"
import * as ComfyHttp from "./ComfyHttp.ts"
import { toBackendError } from "./ComfyHttpError.ts"
import type { LinkError } from "./Connection.ts"
import * as Credentials from "./Credentials.ts"
import * as Defaults from "./Defaults.ts"
import * as Files from "./Files.ts"
import type { HttpTransport } from "./HttpTransport.ts"
import { lazy } from "./internal/lazy.ts"
import * as Observable from "./internal/observable.ts"
import * as Link from "./Link.ts"
import type { Observable as ObservableOf } from "./Observable.ts"
import type { PromptOptions } from "./PromptBody.ts"
import * as RunEntry from "./RunEntry.ts"
import * as RunHost from "./RunHost.ts"
import * as Runs from "./Runs.ts"
import * as RunWatch from "./RunWatch.ts"
import * as ServerFacts from "./ServerFacts.ts"

/** Where the server is, and every wait and limit of the client: each has a default in `Defaults`. */
export interface Options extends ComfyHttp.HttpOptions {
  /** The name of this server in events. Default: its origin. */
  readonly id?: string
  /**
   * Sent with each prompt under the name that servers strip from what they show; an effect is run for each prompt, when it
   * is sent. A pool takes every run there for a paid one.
   */
  readonly comfyOrgApiKey?: Redacted.Redacted<string> | Effect.Effect<Redacted.Redacted<string>>
  /**
   * `auto` works by polling where upgrades are refused three times, and tries again every 5 minutes; `required` keeps
   * trying; `none` never dials. Default `auto`.
   */
  readonly socket?: "auto" | "required" | "none"
  /** When to dial again. Default: without an end, 250 ms doubling to 15 s, jittered. */
  readonly reconnect?: Schedule.Schedule<unknown, LinkError>
  /** Default 20 s; three missed pongs while HTTP answers within 1 s end the connection. */
  readonly pingInterval?: Duration.Input
  /** Default 10 s. */
  readonly openTimeout?: Duration.Input
  /** Bound of the frames that wait for a stalled event loop. Default 256 MiB. */
  readonly maxBufferedBytes?: number
  /** Whether to interrupt whatever runs where a server cannot interrupt one prompt (before 0.3.57). Default false. */
  readonly allowGlobalInterrupt?: boolean
  /** Clocks of runs, in milliseconds. Default: see `Defaults.watch`. */
  readonly watch?: Partial<RunWatch.Options>
}

/** What one run may ask for. */
export interface RunOptions extends PromptOptions {
  /** Chosen by the caller: used twice, it is `Failed(DuplicateRun)`. Default: a fresh one per subscription. */
  readonly runId?: RunId
  /** Uploaded before the prompt is sent. */
  readonly attachments?: ReadonlyArray<Attachment>
  /** Run what is left where the server refuses some outputs, with a `Warning`. Default false: `Failed(Rejected)`. */
  readonly acceptPartial?: boolean
  /** What happens on the server if the consumer ends early. Default `cancel` for `run`; `submit` has no such end. */
  readonly onInterrupt?: "cancel" | "leave"
  /** What happens on the server if the client's scope closes first. Default `cancel` for `run`, `leave` for `submit`. */
  readonly onClose?: "cancel" | "leave"
  /** How this subscriber wants its events. Default: latest previews, latest progress. */
  readonly events?: Partial<EventBuffer.Options>
}

/** A run that the server has accepted. Dropping the handle cancels nothing. */
export interface RunHandle {
  readonly runId: RunId
  /** The server's id for it. */
  readonly promptId: string
  /** All events from the beginning, for any number of subscribers, now and later. */
  readonly events: (options?: Partial<EventBuffer.Options>) => Stream.Stream<ExecutionEvent>
  readonly result: Effect.Effect<Completed, ExecutionError>
  /** Cancels this run and nothing else. */
  readonly cancel: Effect.Effect<CancelOutcome, BackendError>
}

/** The client of one server. */
export interface Shape {
  readonly id: BackendId
  /** A partner's key is sent along: any run may cost money. */
  readonly paid: boolean
  /**
   * Submits on subscription and ends after exactly one ending; never fails. The consumer owns the run: an early end
   * (interruption, `take`) cancels it on the server, by its id and nothing else, within 5 s.
   */
  readonly run: (workflow: Workflow, options?: RunOptions) => Stream.Stream<ExecutionEvent>
  /** Runs to the end: the success, or the error. Retry this, not the stream. */
  readonly result: (workflow: Workflow, options?: RunOptions) => Effect.Effect<Completed, ExecutionError>
  /** Returns when the server has accepted the prompt. */
  readonly submit: (workflow: Workflow, options?: RunOptions) => Effect.Effect<RunHandle, ExecutionError>
  /**
   * Watches a run that was submitted elsewhere or before, by asking; opens with `Gap{cause: "attached"}` and cancels
   * nothing. A run of this client is followed from its beginning instead, without a gap.
   */
  readonly attach: (id: RunId) => Stream.Stream<ExecutionEvent>
  readonly status: (id: RunId) => Effect.Effect<RunStatus, BackendError>
  readonly cancel: (id: RunId) => Effect.Effect<CancelOutcome, BackendError>
  readonly probe: Effect.Effect<Probe, BackendError>
  /**
   * Facts of the server's process: read once per process, again after a refusal that names a class or a file, and, when
   * they are older than 10 minutes, if no run is open. Never read by a run itself.
   */
  readonly capabilities: Effect.Effect<Capabilities, BackendError>
  /** Drops models and results from the server's memory, before its next prompt. */
  readonly freeMemory: Effect.Effect<void, BackendError>
  readonly events: Stream.Stream<BackendEvent>
  readonly files: FilesPort
  /** The socket. */
  readonly link: ObservableOf<Link.LinkState>
  /** Every endpoint. */
  readonly http: ComfyHttp.Shape
}

/** The client of one server. */
export class ComfyClient extends Context.Service<ComfyClient, Shape>()("@effect-comfyui/client/ComfyClient") {}

const submission = (workflow: Workflow, options: RunOptions, onClose: "cancel" | "leave"): RunHost.Start => ({
  ...options,
  workflow,
  runId: options.runId,
  attachments: options.attachments ?? [],
  acceptPartial: options.acceptPartial ?? false,
  onClose: options.onClose ?? onClose
})

/** Probing and dialling as the options say; with `socket: "none"` nothing is dialled. */
const openLink = Effect.fnUntraced(function*(
  options: Options,
  transport: HttpTransport,
  http: () => ComfyHttp.Shape,
  parts: Pick<Link.LinkOptions, "keepsClientId" | "listener">
) {
  if (options.socket === "none") return Link.none(yield* makeUuid)
  const mayPoll = options.socket !== "required"
  return yield* Link.make({
    ...parts,
    address: transport.address,
    freshClientId: makeUuid,
    httpAnswers: Effect.map(
      Effect.timeoutOption(
        Effect.result(Effect.suspend(() => http().queueRemaining)),
        Defaults.socket.httpAliveWithin
      ),
      (answer) => answer._tag === "Some" && answer.value._tag === "Success"
    ),
    reconnect: options.reconnect ?? Link.reconnectForever,
    refusalsUntilPolling: mayPoll ? Option.some(Defaults.socket.refusalsUntilPolling) : Option.none(),
    refusedRetry: Defaults.socket.refusedRetry,
    openTimeout: options.openTimeout ?? Defaults.socket.openTimeout,
    pingInterval: options.pingInterval ?? Defaults.socket.pingInterval,
    missedPongs: Defaults.socket.missedPongs,
    maxBufferedBytes: options.maxBufferedBytes ?? Defaults.socket.maxBufferedBytes
  })
})

/**
 * A client that lives as long as its scope. A dead server is no error: the client connects in the background and its
 * runs say what they met. Closing the scope ends every fiber, timer and socket and settles every open run as
 * `Failed(Closed)`.
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Shape, BaseUrlError, Scope.Scope | HttpClient | WebSocketConstructor> {
  const clock = yield* Clock.Clock
  const transport = yield* ComfyHttp.transport(options)
  const id = BackendId.make(options.id ?? transport.baseUrl)
  const fork = yield* FiberSet.makeRuntime()
  const hub = yield* BackendEvents.make
  const runs = Runs.make()
  const tell = (events: () => ReadonlyArray<BackendEvent>) => {
    if (hub.isObserved()) fork(hub.publish(events()))
  }
  // Made when it is wanted, as are the runs: a fleet's worth of idle clients holds a socket each and little else.
  const http = lazy(() => ComfyHttp.over(transport, options))
  const files = lazy(() =>
    Files.make(http(), {
      idleTimeout: Defaults.http.idleTimeout,
      maxKnown: Defaults.limits.knownUploads,
      maxHashedBytes: Defaults.limits.hashedUploadBytes,
      tries: Defaults.http.tries
    })
  )
  const facts = lazy(() =>
    ServerFacts.make(http(), {
      clock,
      isIdle: () => runs.byRun.size === 0,
      onRestart: (epoch) => {
        files().forget()
        tell(() => [{ _tag: "Restarted", epoch }, { _tag: "CapabilitiesChanged" }])
      }
    })
  )
  const linkState = Observable.make<Link.LinkState>({ _tag: "Connecting" })
  const settled = yield* Deferred.make<void>()
  let negotiated = false

  const link = yield* openLink(options, transport, http, {
    keepsClientId: () => runs.byRun.size > 0,
    listener: {
      changed: (state) => {
        if (state._tag !== "Connecting") Deferred.doneUnsafe(settled, Effect.void)
        linkState.set(state)
      },
      up: ({ generation }) => {
        negotiated = false
        tell(() => [{ _tag: "Connected", epoch: facts().epoch() }])
        if (generation > 1) {
          files().doubt()
          fork(facts().recheck)
        }
      },
      messages: (messages, time) => {
        for (const message of messages) {
          if (message._tag === "FeatureFlags") negotiated = FeatureFlags.has(message.flags, "supports_preview_metadata")
        }
        const rest = Runs.dispatch(runs, messages, negotiated, time)
        for (const promptId of rest.risen) fork(host().cancelRisen(promptId))
        if (rest.messages.length > 0) tell(() => BackendEvents.fromMessages(rest.messages, runs.byRun.size))
      },
      down: (error, time) => {
        Runs.broadcast(runs, { _tag: "LinkLost" }, time)
        tell(() => [{ _tag: "Disconnected", kind: error.reason._tag, reason: error.message }])
      }
    }
  })

  const host = lazy(() =>
    RunHost.make({
      backend: id,
      runs,
      watch: options.watch === undefined ? RunWatch.defaults : { ...RunWatch.defaults, ...options.watch },
      context: {
        clock,
        alarm: transport.alarm,
        http: http(),
        files: files(),
        link,
        linkSettled: Effect.suspend(() =>
          options.socket === "none" || Deferred.isDoneUnsafe(settled)
            ? Effect.void
            : Effect.asVoid(
              Effect.timeoutOption(Deferred.await(settled), options.openTimeout ?? Defaults.socket.openTimeout)
            )
        ),
        facts: facts(),
        comfyOrgApiKey: keyOf(options),
        allowGlobalInterrupt: options.allowGlobalInterrupt ?? false,
        renamed: (entry, promptId) => Runs.rename(runs, entry, promptId, readTime(clock)),
        queue: undefined,
        keepsIds: false
      }
    })
  )
  yield* Effect.addFinalizer(() => host().close)

  const letGo = (wanted: RunOptions) => (entry: RunEntry.RunEntry) =>
    wanted.onInterrupt === "leave" ? Effect.void : host().abandon(entry)

  const run = (workflow: Workflow, wanted: RunOptions = {}) =>
    Stream.unwrap(
      Effect.map(
        Effect.acquireRelease(host().start(submission(workflow, wanted, "cancel")), letGo(wanted)),
        (entry) => RunEntry.events(entry, wanted.events)
      )
    )

  const resultOf = (entry: RunEntry.RunEntry) => Effect.flatMap(Deferred.await(entry.ended), Execution.fromEnding)

  const handle = (entry: RunEntry.RunEntry): RunHandle => ({
    runId: entry.state.subject.runId,
    promptId: entry.state.promptId,
    events: (wanted) => RunEntry.events(entry, wanted),
    result: resultOf(entry),
    cancel: host().cancelEntry(entry)
  })

  return {
    id,
    paid: options.comfyOrgApiKey !== undefined,
    run,
    result: (workflow, wanted = {}) =>
      Effect.acquireUseRelease(host().start(submission(workflow, wanted, "cancel")), resultOf, letGo(wanted)),
    submit: Effect.fnUntraced(function*(workflow, wanted = {}) {
      const entry = yield* host().start(submission(workflow, wanted, "leave"))
      yield* Deferred.await(entry.accepted)
      return entry.state.wasAccepted ? handle(entry) : yield* RunHost.notAccepted(entry)
    }),
    attach: (runId) => host().attach(runId),
    status: (runId) => host().status(runId),
    cancel: (runId) => host().cancel(runId),
    probe: Effect.gen(function*() {
      const before = readTime(clock).now
      const queueRemaining = yield* Effect.mapError(http().queueRemaining, toBackendError)
      return { roundTripMs: readTime(clock).now - before, queueRemaining }
    }),
    capabilities: Effect.suspend(() => facts().capabilities),
    freeMemory: Effect.suspend(() =>
      Effect.mapError(http().free({ unload_models: true, free_memory: true }), toBackendError)
    ).pipe(Effect.tap(() => hub.publish([{ _tag: "MemoryFreed" }]))),
    events: hub.events,
    get files() {
      return files()
    },
    link: linkState,
    get http() {
      return http()
    }
  }
})

/** A client as a layer; each call makes a layer of its own. */
export const layer = (options: Options): Layer.Layer<ComfyClient, BaseUrlError, HttpClient | WebSocketConstructor> =>
  Layer.effect(ComfyClient, make(options))

/**
 * A client from configuration: `COMFY_URL`, and optionally `COMFY_TOKEN` (bearer), `COMFY_USERNAME` with
 * `COMFY_PASSWORD`, `COMFY_ORG_API_KEY`. What `options` says wins.
 */
export const layerConfig = (
  options: Partial<Options> = {}
): Layer.Layer<ComfyClient, BaseUrlError | Config.ConfigError, HttpClient | WebSocketConstructor> =>
  Layer.unwrap(Effect.map(settings, (configured) => layer({ ...configured, ...options })))

const keyOf = ({ comfyOrgApiKey: key }: Options): Effect.Effect<Redacted.Redacted<string> | undefined> =>
  Effect.isEffect(key) ? key : Effect.succeed(key)

const settings = Effect.gen(function*() {
  const url = yield* Config.String("COMFY_URL")
  const token = yield* Config.option(Config.Redacted("COMFY_TOKEN"))
  const username = yield* Config.option(Config.String("COMFY_USERNAME"))
  const password = yield* Config.option(Config.Redacted("COMFY_PASSWORD"))
  const key = yield* Config.option(Config.Redacted("COMFY_ORG_API_KEY"))
  const configured: Options = {
    url,
    credentials: Credentials.all(
      ...(token._tag === "Some" ? [Credentials.bearer(token.value)] : []),
      ...(username._tag === "Some" && password._tag === "Some"
        ? [Credentials.basic(username.value, password.value)]
        : [])
    ),
    ...(key._tag === "Some" ? { comfyOrgApiKey: key.value } : {})
  }
  return configured
})

/** The client as the port that pools stand on. */
export const backend = (client: Shape): Backend => ({
  id: client.id,
  paid: client.paid,
  run: (request) =>
    client.run(request.workflow, {
      runId: request.runId,
      attachments: request.attachments,
      acceptPartial: request.acceptPartial,
      onInterrupt: request.onInterrupt,
      onClose: request.onInterrupt
    }),
  attach: client.attach,
  status: client.status,
  cancel: client.cancel,
  probe: client.probe,
  capabilities: client.capabilities,
  freeMemory: client.freeMemory,
  events: client.events,
  files: client.files
})
