/**
 * What differs between the releases of the server, as data. The rest of the fake asks these values and never compares
 * versions. Facts: upstream's source and the recordings.
 */

/** One release, as the rest of the fake sees it. */
export interface VersionProfile {
  /** `system_stats.system.comfyui_version`. */
  readonly version: string
  /** `any`: everything is made a string, `null` the id "None". `uuid`: canonical lowercase or refused; `null` is none. */
  readonly promptId: "any" | "uuid"
  /** `/api/jobs` and `/api/jobs/{id}`. */
  readonly jobs: boolean
  /** `/api/jobs/{id}/cancel` and `/api/jobs/cancel`. */
  readonly jobsCancel: boolean
  /** What an interrupted job is called. */
  readonly interruptedJob: "cancelled" | "failed"
  /** Jobs count text outputs in `outputs_count`. */
  readonly jobsCountText: boolean
  /** Jobs show a text output as `preview_output`. */
  readonly jobsPreviewText: boolean
  /** Jobs carry `previewable_outputs_count`. */
  readonly jobsPreviewable: boolean
  /** `extra_data` gets `create_time`; then it must be an object. */
  readonly createTime: boolean
  /** API keys are taken out of `extra_data` before `/queue` can show them (before: only in history). */
  readonly secretsHidden: boolean
  /** The error of an unknown class. */
  readonly unknownClass: "invalid_prompt" | "missing_node_type"
  /** A cycle gets a reason; before, a refusal without any. */
  readonly cycleErrors: boolean
  /** Node replacements walk over the prompt first: a list or a bare value in it is a 500. */
  readonly nodeReplacements: boolean
  /** `Sec-Fetch-Site: cross-site` is refused. */
  readonly crossSiteCheck: boolean
  /** `PATCH` is among the methods that CORS allows. */
  readonly corsPatch: boolean
  /** Progress frames closer than 100 ms and half a percent are left out. */
  readonly progressThrottle: boolean
  /** History of a cached rerun without client_id: its outputs, or none. */
  readonly cachedOutputsWithoutClient: boolean
  /** History outputs are read from the cache for every node of the prompt, also beside the targets. */
  readonly historyFromCache: boolean
  /** The cache of a server that is started without a flag for it. */
  readonly defaultCache: "classic" | "ram"
  /** `X-Content-Type-Options: nosniff` on whole files of `/view`. */
  readonly nosniff: boolean
  /** `extra_data.preview_method` counts. */
  readonly previewMethodPerPrompt: boolean
  /** The `extensions` of each folder in `/experiment/models`. */
  readonly modelExtensions: boolean
  /** Lines of the log begin with their level, in colour. */
  readonly logLevels: boolean
  /** `Cache-Control` of scripts, style sheets and indexes. */
  readonly pageCache: "no-cache" | "no-store"
  /** ` [type]` behind the names of `/internal/files`. */
  readonly typedInternalFiles: boolean
  /** Userdata times in milliseconds, and as attachments where `userdataAttachment`. */
  readonly userdataMillis: boolean
  readonly userdataAttachment: boolean
  /** The error about a path outside the output folder names the common path too. */
  readonly saveErrorCommonPath: boolean
  /** The second socket of a client id goes deaf when the first one closes (every release so far). */
  readonly deafAfterOldClose: boolean
  /** Keys of an old-style (V1) class in object_info beyond those of 0.3.64. */
  readonly objectInfo: {
    readonly inputList: boolean
    readonly searchAliases: boolean
    readonly essentials: boolean
    readonly intermediateOutput: boolean
  }
  /** `GET /features` in its order, without the upload limit and the assets switch that options decide. */
  readonly features: {
    readonly modelTypeTags: boolean
    readonly extension: boolean
    readonly nodeReplacements: boolean
    readonly assets: boolean
  }
  /** `system_stats.system` beyond what all have. */
  readonly systemStats: {
    readonly os: string
    readonly frontend: string
    readonly templates: string
    readonly packages: boolean
    readonly deployEnvironment: boolean
  }
}

const v0364: VersionProfile = {
  version: "0.3.64",
  promptId: "any",
  jobs: false,
  jobsCancel: false,
  interruptedJob: "failed",
  jobsCountText: true,
  jobsPreviewText: false,
  jobsPreviewable: false,
  createTime: false,
  secretsHidden: false,
  unknownClass: "invalid_prompt",
  cycleErrors: false,
  nodeReplacements: false,
  crossSiteCheck: false,
  corsPatch: false,
  progressThrottle: false,
  cachedOutputsWithoutClient: true,
  historyFromCache: true,
  defaultCache: "classic",
  nosniff: false,
  previewMethodPerPrompt: false,
  modelExtensions: false,
  logLevels: false,
  pageCache: "no-cache",
  typedInternalFiles: false,
  userdataMillis: false,
  userdataAttachment: false,
  saveErrorCommonPath: true,
  deafAfterOldClose: true,
  objectInfo: { inputList: false, searchAliases: false, essentials: false, intermediateOutput: false },
  features: { modelTypeTags: false, extension: false, nodeReplacements: false, assets: false },
  systemStats: {
    os: "posix",
    frontend: "1.27.10",
    templates: "0.1.95",
    packages: false,
    deployEnvironment: false
  }
}

const v0123: VersionProfile = {
  ...v0364,
  version: "0.12.3",
  jobs: true,
  pageCache: "no-store",
  interruptedJob: "cancelled",
  createTime: true,
  secretsHidden: true,
  unknownClass: "missing_node_type",
  corsPatch: true,
  progressThrottle: true,
  cachedOutputsWithoutClient: false,
  historyFromCache: false,
  previewMethodPerPrompt: true,
  objectInfo: { ...v0364.objectInfo, inputList: true, searchAliases: true },
  features: { ...v0364.features, extension: true },
  systemStats: { ...v0364.systemStats, os: "linux", frontend: "1.37.11", templates: "0.8.31" }
}

const v0201: VersionProfile = {
  ...v0123,
  version: "0.20.1",
  jobsPreviewText: true,
  cycleErrors: true,
  nodeReplacements: true,
  crossSiteCheck: true,
  typedInternalFiles: true,
  objectInfo: { inputList: true, searchAliases: true, essentials: true, intermediateOutput: true },
  features: { modelTypeTags: false, extension: true, nodeReplacements: true, assets: true },
  systemStats: { ...v0123.systemStats, frontend: "1.42.15", templates: "0.9.62" }
}

const v0270: VersionProfile = {
  ...v0201,
  version: "0.27.0",
  promptId: "uuid",
  jobsCancel: true,
  defaultCache: "ram",
  userdataMillis: true,
  systemStats: {
    os: "linux",
    frontend: "1.45.20",
    templates: "0.11.1",
    packages: true,
    deployEnvironment: true
  }
}

const v0330: VersionProfile = {
  ...v0270,
  version: "0.33.0",
  jobsCountText: false,
  jobsPreviewable: true,
  modelExtensions: true,
  logLevels: true,
  cachedOutputsWithoutClient: true,
  nosniff: true,
  saveErrorCommonPath: false,
  userdataAttachment: true,
  features: { ...v0270.features, modelTypeTags: true },
  systemStats: { ...v0270.systemStats, frontend: "1.49.6", templates: "0.11.44" }
}

/**
 * The releases that the fake knows. 0.3.64, 0.27.0 and 0.33.0 were compared with the traffic of real servers, 0.12.3 and
 * 0.20.1 follow what is known of them.
 */
export const profiles = {
  "0.3.64": v0364,
  "0.12.3": v0123,
  "0.20.1": v0201,
  "0.27.0": v0270,
  "0.33.0": v0330
} as const satisfies Record<string, VersionProfile>

/** A version that {@link profiles} has. */
export type Version = keyof typeof profiles

/** The newest of {@link profiles}, which a server has unless told otherwise. */
export const latest: VersionProfile = v0330

/** The profile of a version's name; undefined for one that is not known. */
export const find = (version: string): VersionProfile | undefined =>
  Object.values<VersionProfile>(profiles).find((profile) => profile.version === version)
