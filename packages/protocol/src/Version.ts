/** The version of a server, and what follows from it. */

/** Three numbers, compared as numbers: 0.3.77 is older than 0.4.0, and both are older than 0.10.0. */
export interface Version {
  readonly major: number
  readonly minor: number
  readonly patch: number
}

const pattern = /^v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?![\d.])/

/**
 * Reads `system.comfyui_version`. A `git describe` text, as before 0.3.11, counts as the release it names; undefined
 * for `unknown` and whatever else is no version.
 */
export const parse = (text: string | null | undefined): Version | undefined => {
  const match = pattern.exec(text?.trim() ?? "")
  return match === null
    ? undefined
    : { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) }
}

/** Negative if `a` is older than `b`, 0 if they are equal. */
export const compare = (a: Version, b: Version): number => a.major - b.major || a.minor - b.minor || a.patch - b.patch

/** The text of a version, as in `0.33.0`. */
export const format = (version: Version): string => `${version.major}.${version.minor}.${version.patch}`

/** The release that brought each thing. */
const since = {
  /** `POST /prompt` takes a `prompt_id`. */
  clientPromptId: "0.3.45",
  /** `feature_flags` on the socket, `GET /features`, `progress_state`, previews with metadata. */
  featureFlags: "0.3.45",
  /** `partial_execution_targets`. */
  partialTargets: "0.3.48",
  /** `POST /interrupt` looks at `prompt_id`; before, it hits whatever runs. */
  targetedInterrupt: "0.3.57",
  /** `progress_state` goes to the client of the prompt only, if it has one. */
  progressIsPrivate: "0.3.58",
  /** `offset` of `GET /history`. */
  historyOffset: "0.3.60",
  /** API keys are no longer shown in `GET /queue`. */
  hidesSecrets: "0.3.68",
  /** `create_time` in queue and history. */
  createTime: "0.3.69",
  /** `extra_data.preview_method`, for one prompt. */
  promptPreviews: "0.5.0",
  /** `/api/jobs` and `/api/jobs/{id}`. */
  jobsApi: "0.6.0",
  /** A cancelled job says `cancelled`; before, `failed`. */
  cancelledStatus: "0.9.0",
  /** An unknown class is `missing_node_type`; before, `invalid_prompt`. */
  missingNodeType: "0.12.0",
  /** Old classes are replaced; `GET /node_replacements`. */
  nodeReplacements: "0.14.0",
  /** Why a cycle is refused: `dependency_cycle`; before, nothing says it. */
  cycleErrors: "0.20.0",
  /** Userdata times are milliseconds; before, seconds. */
  userdataMilliseconds: "0.21.0",
  /** `POST /api/jobs/{id}/cancel` and `POST /api/jobs/cancel`. */
  cancelApi: "0.26.0",
  /** History has the cached outputs of prompts without client id (missing from 0.3.68 on; before, they were there). */
  cachedOutputsKept: "0.28.0",
  /** `workflow_metadata` of a prompt, echoed in its events. */
  workflowMetadata: "0.40.0"
} as const

/**
 * What a server of some version can do. Of an unknown version only what every version does is assumed: then ask it
 * (`/features`, `/api/jobs`). `promptIdRule` says which ids `POST /prompt` takes: since 0.25 only canonical lowercase
 * UUIDs, which older ones take too.
 */
export type ServerTraits = { readonly [Trait in keyof typeof since]: boolean } & {
  readonly version: Version | null
  readonly promptIdRule: "any" | "uuid"
}

/** Whether a version is that release or a later one; false for an unknown version. */
export const atLeast = (version: Version | undefined, release: string): boolean => {
  const other = parse(release)
  return version !== undefined && other !== undefined && compare(version, other) >= 0
}

/** What follows from a version. */
export const traits = (version: Version | undefined): ServerTraits => {
  const has = (trait: keyof typeof since): boolean => atLeast(version, since[trait])
  return {
    version: version ?? null,
    promptIdRule: version !== undefined && !atLeast(version, "0.25.0") ? "any" : "uuid",
    clientPromptId: has("clientPromptId"),
    featureFlags: has("featureFlags"),
    partialTargets: has("partialTargets"),
    targetedInterrupt: has("targetedInterrupt"),
    progressIsPrivate: has("progressIsPrivate"),
    historyOffset: has("historyOffset"),
    hidesSecrets: has("hidesSecrets"),
    createTime: has("createTime"),
    promptPreviews: has("promptPreviews"),
    jobsApi: has("jobsApi"),
    cancelledStatus: has("cancelledStatus"),
    missingNodeType: has("missingNodeType"),
    nodeReplacements: has("nodeReplacements"),
    cycleErrors: has("cycleErrors"),
    userdataMilliseconds: has("userdataMilliseconds"),
    cancelApi: has("cancelApi"),
    cachedOutputsKept: has("cachedOutputsKept") || (version !== undefined && !atLeast(version, "0.3.68")),
    workflowMetadata: has("workflowMetadata")
  }
}
