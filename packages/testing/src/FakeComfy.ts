/**
 * One ComfyUI server as a pure function: `step(state, input)` answers what the server says. The same inputs give the
 * same outputs; there is no clock, no randomness and no I/O. `step` changes the state it was given and returns it, so
 * its driver is its only owner; outputs never point into it.
 */
import * as CoreNodes from "./CoreNodes.ts"
import * as Hardware from "./Hardware.ts"
import { openStore } from "./internal/assets.ts"
import { Files, normalize } from "./internal/files.ts"
import { parseQuery } from "./internal/http.ts"
import { crash, killWorker, start } from "./internal/lifecycle.ts"
import { type CacheMode, makeCache } from "./internal/nodeCache.ts"
import { nodeOf } from "./internal/nodeInfo.ts"
import { dumpsSafe } from "./internal/pyJson.ts"
import { originAllowed, respond, splitTarget } from "./internal/routes.ts"
import * as Sockets from "./internal/sockets.ts"
import type {
  ModelInfo,
  NodeOutcome,
  NodeRecord,
  Output,
  PromptOutcome,
  PromptRecord,
  Settings,
  State
} from "./internal/state.ts"
import { advance, workerWake } from "./internal/worker.ts"
import type { NodeClass } from "./NodeClass.ts"
import * as VersionProfile from "./VersionProfile.ts"

export type { CacheMode, NodeOutcome, Output, PromptOutcome, State }

/** A model file: its name, or its name with a size in bytes that its loading costs, and what its header says. */
export type ModelFile = string | {
  readonly name: string
  readonly bytes: number
  readonly metadata?: Readonly<Record<string, string>>
}

/** What a server is like. Everything has a default; the defaults are a quick server of the newest known release. */
export interface Options {
  /** A release that {@link VersionProfile.profiles} has, or a profile of one's own. Default: the newest. */
  readonly version?: VersionProfile.Version | VersionProfile.VersionProfile | undefined
  /** Decides ids and the letters in names of temporary files. Default 1. */
  readonly seed?: number | undefined
  /** Wall clock, epoch milliseconds, at monotonic time 0. Default 2026-11-21T09:00:00Z. */
  readonly epochMs?: number | undefined
  /** Node classes beyond the built-in ones; one of the same name replaces it. */
  readonly nodes?: ReadonlyArray<NodeClass> | undefined
  /** Without the built-in classes. Default false. */
  readonly bare?: boolean | undefined
  /** All times of nodes are multiplied with this: 1 as they are, 0 at once, 10 slowly. Default 1. */
  readonly speed?: number | undefined
  /** Milliseconds from the POST to the moment when an idle worker takes the prompt. Default 1. */
  readonly dequeueMs?: number | undefined
  /** What it computes on: a GPU of so many bytes, speeds of disk, bus and sampler. Default: a CPU server. */
  readonly hardware?: Hardware.Hardware | undefined
  /**
   * Which results of nodes serve later prompts. `classic` (default): those that the last prompt named. `{ lru: n }`: n
   * results, and those of the last prompt. `none`: none. `ram`, what releases from 0.23 on do by themselves: all, until
   * less RAM is free than a threshold of 96 GB; then, after every node, those that its prompt does not use go.
   */
  readonly cache?: CacheMode | undefined
  /** `--preview-method`: `none` (default), `auto`, `latent2rgb`, `taesd`. */
  readonly previewMethod?: string | undefined
  /** `--preview-size`: longest side of a preview, pixels. Default 512. */
  readonly previewSize?: number | undefined
  /** `--max-upload-size`, bytes: larger request bodies are 413. Default 100 MiB. */
  readonly maxUploadBytes?: number | undefined
  /** `--enable-cors-header`: the allowed origin. Default: none, and the origin check is on. */
  readonly cors?: string | undefined
  /**
   * `--enable-compress-response-body`: JSON goes out as `deflate` to clients that take it. The stream is valid and no
   * smaller; `gzip` alone gets plain JSON. Default false.
   */
  readonly compress?: boolean | undefined
  /** `--enable-assets`, for releases that have it: `/api/assets`, ids in outputs. Default false. */
  readonly assets?: boolean | undefined
  /** What `system_stats` shows as the command line. Default: what `hardware`, `cache` and `previewMethod` stand for. */
  readonly argv?: ReadonlyArray<string> | undefined
  /** Model files by folder; these folders stand in `/models` and in object_info. Default: a few of each kind. */
  readonly models?: Readonly<Record<string, ReadonlyArray<ModelFile>>> | undefined
  /** Files in the input folder at the start, by path. Default: none. */
  readonly inputFiles?: Readonly<Record<string, Uint8Array>> | undefined
  /** Finished prompts that history keeps; then the oldest goes. Default 10,000. */
  readonly maxHistory?: number | undefined
  /** Entries of each list of the ledger; then the oldest tenth goes and is counted. Default 10,000. */
  readonly maxLedger?: number | undefined
  /** Files of all folders together; then the oldest goes. Default 10,000. */
  readonly maxFiles?: number | undefined
}

/** What reaches a server. `now` is monotonic, in milliseconds, and never goes back. */
export type Input =
  | {
    readonly _tag: "HttpRequest"
    /** Chosen by the driver; the answer carries it. */
    readonly id: number
    readonly method: string
    /** Path and query, percent-encoded. */
    readonly path: string
    /** Names in lower case. */
    readonly headers: Readonly<Record<string, string>>
    readonly body: Uint8Array
    readonly now: number
  }
  | {
    readonly _tag: "SocketOpen"
    readonly conn: number
    readonly path: string
    readonly headers: Readonly<Record<string, string>>
    readonly now: number
  }
  | { readonly _tag: "SocketFrame"; readonly conn: number; readonly frame: string | Uint8Array; readonly now: number }
  | { readonly _tag: "SocketClose"; readonly conn: number; readonly code: number; readonly now: number }
  /** Time passed: what is due happens. */
  | { readonly _tag: "Tick"; readonly now: number }
  /** The process ends as by SIGKILL: sockets close with 1006, then nothing answers. */
  | { readonly _tag: "Kill"; readonly now: number }
  /** A new process in the place of a dead (or, if need be, killed) one: everything in memory is gone. */
  | { readonly _tag: "Restart"; readonly now: number }
  /** The worker thread ends: prompts are taken and never run. */
  | { readonly _tag: "KillWorker"; readonly now: number }
  /** This socket is taken out of the table though it stays open, as the second of two with one id is. */
  | { readonly _tag: "Deafen"; readonly conn: number; readonly now: number }

const defaultModels: Readonly<Record<string, ReadonlyArray<ModelFile>>> = {
  checkpoints: [
    { name: "sd_xl_base_1.0.safetensors", bytes: 6_938_078_334 },
    { name: "v1-5-pruned-emaonly-fp16.safetensors", bytes: 2_132_696_762 }
  ],
  configs: [],
  loras: [{ name: "detail.safetensors", bytes: 228_455_584 }],
  vae: [{ name: "sdxl_vae.safetensors", bytes: 334_641_162 }],
  text_encoders: [
    { name: "clip_l.safetensors", bytes: 246_144_152 },
    { name: "t5xxl_fp8_e4m3fn.safetensors", bytes: 4_893_934_904 }
  ],
  diffusion_models: [{ name: "flux1-dev-fp8.safetensors", bytes: 11_901_525_888 }],
  clip_vision: [],
  embeddings: ["easynegative.safetensors"],
  controlnet: [{ name: "control_canny.safetensors", bytes: 1_445_154_814 }],
  upscale_models: [{ name: "4x-UltraSharp.pth", bytes: 66_961_958 }]
}

/** Bytes of a model file of which only the name is known. */
const someBytes = 100_000_000

/** The command line that would start such a server. */
const argvOf = (options: Options, profile: VersionProfile.VersionProfile): ReadonlyArray<string> => {
  const { cache = "classic", hardware, previewMethod } = options
  const flags = cache === "ram"
    ? profile.defaultCache === "ram" ? [] : ["--cache-ram"]
    : typeof cache === "string"
    ? [`--cache-${cache}`]
    : ["--cache-lru", String(cache.lru)]
  return [
    "main.py",
    ...hardware?.vramBytes === undefined ? ["--cpu"] : [],
    ...flags,
    ...previewMethod === undefined || previewMethod === "none" ? [] : ["--preview-method", previewMethod],
    ...options.compress === true ? ["--enable-compress-response-body"] : [],
    ...options.assets === true && profile.features.assets ? ["--enable-assets"] : []
  ]
}

const settingsOf = (options: Options): Settings => {
  const { version } = options
  const profile = version === undefined
    ? VersionProfile.latest
    : typeof version === "string"
    ? VersionProfile.profiles[version]
    : version
  const models = new Map<string, ReadonlyMap<string, ModelInfo>>()
  for (const [folder, files] of Object.entries(options.models ?? defaultModels)) {
    models.set(
      folder,
      new Map(files.map((file) =>
        typeof file === "string"
          ? [file, { bytes: someBytes, metadata: undefined }]
          : [file.name, { bytes: file.bytes, metadata: file.metadata }]
      ))
    )
  }
  return {
    profile,
    seed: options.seed ?? 1,
    epochMs: options.epochMs ?? Date.UTC(2026, 10, 21, 9),
    speed: options.speed ?? 1,
    dequeueMs: options.dequeueMs ?? 1,
    hardware: Hardware.figures(options.hardware),
    cache: options.cache ?? "classic",
    previewMethod: options.previewMethod ?? "none",
    previewSize: options.previewSize ?? 512,
    maxUploadBytes: options.maxUploadBytes ?? 104_857_600,
    maxHistory: options.maxHistory ?? 10_000,
    maxLedger: options.maxLedger ?? 10_000,
    maxFiles: options.maxFiles ?? 10_000,
    cors: options.cors,
    compress: options.compress ?? false,
    argv: options.argv ?? argvOf(options, profile),
    models,
    inputFiles: new Map(Object.entries(options.inputFiles ?? {})),
    folders: { base: "/data", source: "/app/ComfyUI" }
  }
}

/** A server that has just been started, at monotonic time 0. */
export const init = (options: Options = {}): State => {
  const settings = settingsOf(options)
  const files = new Files(settings.maxFiles, settings.folders.base)
  for (const [path, bytes] of settings.inputFiles) files.write("input", normalize(path), bytes, settings.epochMs)
  const nodes = new Map<string, NodeClass>()
  for (const node of options.bare === true ? [] : CoreNodes.nodes) {
    nodes.set(node.class, nodeOf(node, settings.profile.version))
  }
  for (const node of options.nodes ?? []) nodes.set(node.class, node)
  const state: State = {
    settings,
    profile: settings.profile,
    nodes,
    files,
    now: 0,
    random: (Math.imul(settings.seed | 0, 0x9e3779b1) ^ 0x5bd1e995) || 1,
    out: [],
    ledger: { prompts: [], nodes: [], dropped: 0 },
    log: [],
    up: true,
    boots: 1,
    doom: undefined,
    number: 0,
    tasks: 0,
    heap: [],
    running: new Map(),
    history: new Map(),
    worker: { dead: false, readyAt: 0, run: undefined },
    interrupt: false,
    freeMemory: false,
    unloadModels: false,
    cache: makeCache(settings.cache),
    objects: new Map(),
    vram: new Map(),
    conns: new Map(),
    sockets: new Map(),
    flags: new Map(),
    client: undefined,
    lastNode: undefined,
    users: new Map(),
    userFiles: new Map(),
    logSubscribers: new Set(),
    assets: undefined
  }
  if (options.assets === true && settings.profile.features.assets) state.assets = openStore(state)
  return state
}

const socketPaths = new Set(["/ws", "/api/ws"])

const openSocket = (state: State, input: Extract<Input, { readonly _tag: "SocketOpen" }>): void => {
  const { conn, headers, path } = input
  if (!state.up) {
    state.out.push({ _tag: "SocketClosed", conn, code: 1006, reason: "" })
    return
  }
  const { search, segments } = splitTarget(path)
  if (!originAllowed(state, headers) || !socketPaths.has(`/${segments.join("/")}`)) {
    const answer = respond(state, "GET", path, headers, new Uint8Array(0))
    state.out.push({ _tag: "SocketRefused", conn, ...answer })
    return
  }
  Sockets.open(state, conn, parseQuery(search).get("clientId") ?? "")
}

const act = (state: State, input: Input): void => {
  switch (input._tag) {
    case "HttpRequest": {
      const { body, headers, id, method, path } = input
      if (!state.up) state.out.push({ _tag: "HttpAborted", id, reason: "refused" })
      else state.out.push({ _tag: "HttpResponse", id, ...respond(state, method, path, headers, body) })
      break
    }
    case "SocketOpen":
      openSocket(state, input)
      break
    case "SocketFrame":
      Sockets.receive(state, input.conn, input.frame)
      break
    case "SocketClose":
      Sockets.close(state, input.conn)
      break
    case "Deafen":
      Sockets.deafen(state, input.conn)
      break
    case "Kill":
      crash(state, "killed")
      break
    case "Restart":
      crash(state, "restarted")
      start(state)
      break
    case "KillWorker":
      killWorker(state)
      break
    case "Tick":
      break
  }
}

/**
 * Lets everything happen that is due by `input.now`, then the input, then what became due by it. Never throws. The
 * outputs are in the order in which the server sends them; an answer may stand behind frames that it caused.
 */
export const step = (state: State, input: Input): readonly [State, ReadonlyArray<Output>] => {
  state.out = []
  const now = Math.max(state.now, input.now)
  advance(state, now)
  act(state, input)
  advance(state, now)
  const { out } = state
  state.out = []
  return [state, out]
}

/** When a `Tick` is wanted, monotonic milliseconds; undefined while there is nothing to wait for. */
export const nextWake = (state: State): number | undefined => {
  const wake = workerWake(state)
  const doom = state.doom?.at
  return wake === undefined ? doom : doom === undefined ? wake : Math.min(wake, doom)
}

/** What really ran, whatever anybody was told: the witness of every test. Times are monotonic milliseconds. */
export interface Ledger {
  /** Every accepted prompt. `lost`: the worker or the process ended under it. */
  readonly prompts: ReadonlyArray<Readonly<PromptRecord>>
  /** Every execution of a node; nodes served from the cache have none. */
  readonly nodes: ReadonlyArray<Readonly<NodeRecord>>
  /** Entries that were given up because a list was full. */
  readonly dropped: number
}

/** A copy of the ledger; it goes on over restarts. */
export const ledger = (state: State): Ledger => ({
  prompts: state.ledger.prompts.map((record) => ({ ...record })),
  nodes: state.ledger.nodes.map((record) => ({ ...record })),
  dropped: state.ledger.dropped
})

/** A look at a server. */
export interface Snapshot {
  readonly now: number
  readonly up: boolean
  /** 1 for the first process, one more per restart. */
  readonly boots: number
  readonly workerAlive: boolean
  readonly running: ReadonlyArray<string>
  /** In the order of the heap's array, as `/queue` shows it. */
  readonly pending: ReadonlyArray<string>
  readonly history: ReadonlyArray<string>
  /** Every open socket, whether events reach it, and the feature flags of its client as JSON. */
  readonly sockets: ReadonlyArray<
    { readonly conn: number; readonly clientId: string; readonly registered: boolean; readonly flags: string }
  >
  readonly interruptFlag: boolean
  readonly cachedNodes: number
  readonly files: number
  readonly lastNode: string | undefined
}

/** A copy of what the server holds, for assertions and for people. */
export const snapshot = (state: State): Snapshot => ({
  now: state.now,
  up: state.up,
  boots: state.boots,
  workerAlive: state.up && !state.worker.dead,
  running: [...state.running.values()].map((item) => item.id),
  pending: state.heap.map((item) => item.id),
  history: [...state.history.keys()],
  sockets: [...state.conns.values()].map((conn) => ({
    conn: conn.id,
    clientId: conn.sid,
    registered: state.sockets.get(conn.sid) === conn.id,
    flags: dumpsSafe(state.flags.get(conn.sid) ?? null)
  })),
  interruptFlag: state.interrupt,
  cachedNodes: state.cache.size,
  files: state.files.count,
  lastNode: state.lastNode
})

/** Models in VRAM and how much of each, the least recently used first; none without `hardware.vramBytes`. */
export const residency = (state: State): ReadonlyArray<{ readonly name: string; readonly bytes: number }> =>
  [...state.vram].map(([{ name }, { bytes }]) => ({ name, bytes }))
