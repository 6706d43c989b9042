/** What a server says of itself: nodes, hardware, models, catalogues, logs. */
import * as FeatureFlags from "@effect-comfyui/protocol/FeatureFlags"
import * as Logs from "@effect-comfyui/protocol/Logs"
import * as Models from "@effect-comfyui/protocol/Models"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import * as SystemStats from "@effect-comfyui/protocol/SystemStats"
import * as Templates from "@effect-comfyui/protocol/Templates"
import type { Codec, Type } from "@effect-comfyui/protocol/Wire"
import type * as Json from "@effect-comfyui/workflow/Json"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import { at, type HttpCall, json } from "./HttpCall.ts"

type Reading<A> = Effect.Effect<A, ComfyHttpError>

export interface HttpServer {
  /** Hardware, versions, arguments; the only source of the version. */
  readonly systemStats: Reading<SystemStats.SystemStats>
  /** Feature flags (0.3.45 and later). */
  readonly features: Reading<FeatureFlags.FeatureFlags>
  /** Every class: megabytes, and on some servers 20 seconds. */
  readonly objectInfo: Reading<ObjectInfo.ObjectInfo>
  /** The same a class at a time, without ever holding all of them. */
  readonly eachClass: (take: Parameters<typeof ObjectInfo.classReader>[0]) => Reading<void>
  /** One class; none if the server does not have it. */
  readonly objectInfoOf: (classType: string) => Reading<Option.Option<ObjectInfo.NodeInfo>>
  readonly embeddings: Reading<Models.Names>
  /** Folders that models are in. */
  readonly modelFolders: Reading<Models.Names>
  /** Files of one such folder; none if there is no such folder. */
  readonly modelFiles: (folder: string) => Reading<Option.Option<Models.Names>>
  /** Folders with their places (experimental upstream). */
  readonly modelPlaces: Reading<Models.Folders>
  /** Files with sizes and times (experimental upstream); none if there is no such folder. */
  readonly modelDetails: (folder: string) => Reading<Option.Option<Models.Files>>
  readonly extensions: Reading<Templates.Extensions>
  readonly workflowTemplates: Reading<Templates.WorkflowTemplates>
  readonly translations: Reading<Templates.Translations>
  readonly subgraphs: Reading<Templates.Subgraphs>
  /** One subgraph with its document; null for an unknown id. */
  readonly subgraph: (id: string) => Reading<Templates.Subgraph>
  readonly nodeReplacements: Reading<Templates.Replacements>
  /** The log as one text (internal upstream). */
  readonly logText: Reading<string>
  /** The latest 300 log entries (internal upstream). */
  readonly logEntries: Reading<Type<typeof Logs.Raw>>
  /** Sends or stops `logs` frames to the socket of this client id (internal upstream). */
  readonly subscribeLogs: (clientId: string, enabled: boolean) => Reading<void>
  /** Absolute paths by folder (internal upstream). */
  readonly folderPaths: Reading<Logs.FolderPaths>
  /** File names, newest first (internal upstream). */
  readonly fileNames: (folder: "input" | "output" | "temp") => Reading<Logs.FileNames>
}

export const make = (call: HttpCall, objectInfoTimeout: Duration.Input): HttpServer => {
  const read = <A extends Json.Json>(codec: Codec<A>, path: string) =>
    call.typed(codec, path, { refusals: [404], emptyNotFound: true })
  const maybe = <A extends Json.Json>(codec: Codec<A>, path: string) =>
    call.optional(codec, path, { emptyNotFound: true })
  return {
    systemStats: read(SystemStats.SystemStats, "/system_stats"),
    features: read(FeatureFlags.FeatureFlags, "/features"),
    objectInfo: call.typed(ObjectInfo.ObjectInfo, "/object_info", { timeout: objectInfoTimeout }),
    eachClass: (take) =>
      call.pieces("object info", () => ObjectInfo.classReader(take), "/object_info", { timeout: objectInfoTimeout }),
    objectInfoOf: (classType) =>
      Effect.map(
        read(ObjectInfo.ObjectInfo, at("/object_info", classType)),
        (info) => Option.fromUndefinedOr(ObjectInfo.find(info, classType))
      ),
    embeddings: read(Models.Names, "/embeddings"),
    modelFolders: read(Models.Names, "/models"),
    modelFiles: (folder) => maybe(Models.Names, at("/models", folder)),
    modelPlaces: read(Models.Folders, "/experiment/models"),
    modelDetails: (folder) => maybe(Models.Files, at("/experiment/models", folder)),
    extensions: read(Templates.Extensions, "/extensions"),
    workflowTemplates: read(Templates.WorkflowTemplates, "/workflow_templates"),
    translations: read(Templates.Translations, "/i18n"),
    subgraphs: read(Templates.Subgraphs, "/global_subgraphs"),
    subgraph: (id) => read(Templates.Subgraph, at("/global_subgraphs", id)),
    nodeReplacements: read(Templates.Replacements, "/node_replacements"),
    logText: read(Logs.Text, "/internal/logs"),
    logEntries: read(Logs.Raw, "/internal/logs/raw"),
    subscribeLogs: (clientId, enabled) =>
      call.done("/internal/logs/subscribe", { method: "PATCH", body: json({ clientId, enabled }) }),
    folderPaths: read(Logs.FolderPaths, "/internal/folder_paths"),
    fileNames: (folder) => call.typed(Logs.FileNames, at("/internal/files", folder), { refusals: [400] })
  }
}
