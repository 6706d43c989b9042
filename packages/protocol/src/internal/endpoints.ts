// Every endpoint, by subject. `twin` is true where it is also there under `/api`.
import type * as Json from "@effect-comfyui/workflow/Json"
import * as Assets from "../Assets.ts"
import type { Body, Endpoint, Method } from "../Endpoint.ts"
import * as ErrorAnswer from "../ErrorAnswer.ts"
import * as FeatureFlags from "../FeatureFlags.ts"
import * as Files from "../Files.ts"
import * as History from "../History.ts"
import * as Jobs from "../Jobs.ts"
import * as Logs from "../Logs.ts"
import * as Models from "../Models.ts"
import * as ObjectInfo from "../ObjectInfo.ts"
import * as Prompt from "../Prompt.ts"
import * as Queue from "../Queue.ts"
import * as Settings from "../Settings.ts"
import * as SystemStats from "../SystemStats.ts"
import * as Templates from "../Templates.ts"
import * as Userdata from "../Userdata.ts"
import * as Users from "../Users.ts"
import type * as Wire from "../Wire.ts"

const json = (codec: Wire.Decoder<Json.Json>): Body => ({ kind: "json", codec })
const raw: Body = { kind: "raw" }
const empty: Body = { kind: "empty" }
const error = json(ErrorAnswer.Body)

const endpoint = (method: Method) =>
(
  path: string,
  answers: Readonly<Record<number, Body>>,
  more: Partial<Endpoint> = {}
): Endpoint => ({
  method,
  path,
  answers,
  twin: true,
  since: null,
  query: [],
  request: empty,
  ...more
})

const get = endpoint("GET")
const post = endpoint("POST")
const put = endpoint("PUT")
const patch = endpoint("PATCH")
const remove = endpoint("DELETE")
const head = endpoint("HEAD")

/** Registered once, as written. */
const once = { twin: false }
const since = (release: string): Partial<Endpoint> => ({ since: release })
const asset = (release: string): Partial<Endpoint> => ({ twin: false, since: release })
const written = { 200: json(Userdata.Written) }
const scanned = { 200: json(Assets.Seed), 202: json(Assets.Seed), 409: error }

const prompts = {
  submit: post("/prompt", { 200: json(Prompt.Receipt), 400: json(Prompt.Refusal) }, { request: json(Prompt.Request) }),
  load: get("/prompt", { 200: json(Prompt.Load) }),
  queue: get("/queue", { 200: json(Queue.Queue) }),
  updateQueue: post("/queue", { 200: empty }, { request: json(Queue.Update) }),
  interrupt: post("/interrupt", { 200: empty }, { request: json(Queue.Interrupt) }),
  free: post("/free", { 200: empty }, { request: json(Queue.Free) }),
  history: get("/history", { 200: json(History.History) }, { query: ["max_items", "offset"] }),
  historyOf: get("/history/{prompt_id}", { 200: json(History.History) }),
  updateHistory: post("/history", { 200: empty }, { request: json(Queue.Update) }),
  jobs: get("/api/jobs", { 200: json(Jobs.Page), 400: error }, {
    since: "0.6.0",
    query: ["status", "workflow_id", "sort_by", "sort_order", "limit", "offset"]
  }),
  cancelJobs: post("/api/jobs/cancel", { 200: json(Jobs.Cancelled), 400: error }, {
    since: "0.26.0",
    request: json(Jobs.CancelRequest)
  }),
  job: get("/api/jobs/{job_id}", { 200: json(Jobs.Job), 404: error }, since("0.6.0")),
  cancelJob: post("/api/jobs/{job_id}/cancel", { 200: json(Jobs.Cancelled) }, since("0.26.0"))
}

const files = {
  view: get("/view", { 200: raw, 206: raw }, {
    query: ["filename", "type", "subfolder", "preview", "channel"]
  }),
  viewMetadata: get("/view_metadata/{folder}", { 200: json(Models.Metadata) }, { query: ["filename"] }),
  uploadImage: post("/upload/image", { 200: json(Files.Uploaded) }, { request: raw }),
  uploadMask: post("/upload/mask", { 200: json(Files.Uploaded) }, { request: raw })
}

const catalogues = {
  objectInfo: get("/object_info", { 200: json(ObjectInfo.ObjectInfo) }),
  objectInfoOf: get("/object_info/{class}", { 200: json(ObjectInfo.ObjectInfo) }),
  systemStats: get("/system_stats", { 200: json(SystemStats.SystemStats) }),
  features: get("/features", { 200: json(FeatureFlags.FeatureFlags) }, since("0.3.45")),
  embeddings: get("/embeddings", { 200: json(Models.Names) }),
  modelFolders: get("/models", { 200: json(Models.Names) }, since("0.2.3")),
  models: get("/models/{folder}", { 200: json(Models.Names) }, since("0.1.0")),
  experimentModelFolders: get("/experiment/models", { 200: json(Models.Folders) }, since("0.3.8")),
  experimentModels: get("/experiment/models/{folder}", { 200: json(Models.Files) }, since("0.3.8")),
  modelPreview: get("/experiment/models/preview/{folder}/{path_index}/{file*}", { 200: raw }, since("0.3.8")),
  extensions: get("/extensions", { 200: json(Templates.Extensions) }),
  workflowTemplates: get("/workflow_templates", { 200: json(Templates.WorkflowTemplates) }, since("0.3.11")),
  i18n: get("/i18n", { 200: json(Templates.Translations) }, since("0.3.13")),
  subgraphs: get("/global_subgraphs", { 200: json(Templates.Subgraphs) }, since("0.3.67")),
  subgraph: get("/global_subgraphs/{id}", { 200: json(Templates.Subgraph) }, since("0.3.67")),
  nodeReplacements: get("/node_replacements", { 200: json(Templates.Replacements) }, since("0.14.0"))
}

const users = {
  users: get("/users", { 200: json(Users.Users) }),
  createUser: post("/users", { 200: json(Users.UserId), 400: error }, { request: json(Users.Create) }),
  settings: get("/settings", { 200: json(Settings.Settings) }),
  setting: get("/settings/{id}", { 200: json(Settings.Value) }),
  mergeSettings: post("/settings", { 200: empty }, { request: json(Settings.Settings) }),
  putSetting: post("/settings/{id}", { 200: empty }, { request: json(Settings.Value) }),
  userdata: get("/userdata", { 200: json(Userdata.Listing) }, { query: ["dir", "recurse", "split", "full_info"] }),
  userdataTree: get("/v2/userdata", { 200: json(Userdata.Tree) }, { since: "0.3.31", query: ["path"] }),
  readUserdata: get("/userdata/{file}", { 200: raw }),
  writeUserdata: post("/userdata/{file}", written, { query: ["overwrite", "full_info"], request: raw }),
  deleteUserdata: remove("/userdata/{file}", { 204: empty }),
  moveUserdata: post("/userdata/{file}/move/{dest}", written, { query: ["overwrite", "full_info"] })
}

const internals = {
  logs: get("/internal/logs", { 200: json(Logs.Text) }, once),
  rawLogs: get("/internal/logs/raw", { 200: json(Logs.Raw) }, once),
  subscribeLogs: patch("/internal/logs/subscribe", { 200: empty }, { ...once, request: json(Logs.Subscribe) }),
  folderPaths: get("/internal/folder_paths", { 200: json(Logs.FolderPaths) }, once),
  fileNames: get("/internal/files/{directory}", { 200: json(Logs.FileNames), 400: error }, {
    ...once,
    since: "0.3.15"
  })
}

const assets = {
  assets: get("/api/assets", { 200: json(Assets.Page), 400: error, 503: error }, {
    ...asset("0.9.0"),
    query: [
      "tags_all",
      "tags_any",
      "tags_none",
      "include_tags",
      "exclude_tags",
      "name_contains",
      "metadata_filter",
      "limit",
      "offset",
      "after",
      "sort",
      "order"
    ]
  }),
  createAsset: post("/api/assets", {
    200: json(Assets.Asset),
    201: json(Assets.Asset),
    400: error,
    404: error,
    503: error
  }, {
    ...asset("0.12.0"),
    request: raw
  }),
  assetFromHash: post("/api/assets/from-hash", { 200: json(Assets.Asset), 201: json(Assets.Asset), 404: error }, {
    ...asset("0.12.0"),
    request: json(Assets.FromHash)
  }),
  hasAsset: head("/api/assets/hash/{hash}", { 200: empty, 404: empty }, asset("0.12.0")),
  seedAssets: post("/api/assets/seed", scanned, {
    ...asset("0.12.0"),
    query: ["wait"],
    request: json(Settings.Settings)
  }),
  seedStatus: get("/api/assets/seed/status", { 200: json(Assets.Seed) }, asset("0.12.0")),
  cancelSeed: post("/api/assets/seed/cancel", scanned, asset("0.12.0")),
  pruneAssets: post("/api/assets/prune", { 409: error }, asset("0.12.0")),
  exportAssets: post("/api/assets/export", { 202: json(Assets.Task) }, {
    ...asset("0.40.0"),
    request: json(Settings.Settings)
  }),
  assetExport: get("/api/assets/exports/{name}", { 200: json(Assets.Export), 404: error }, asset("0.40.0")),
  task: get("/api/tasks/{task_id}", { 200: json(Assets.Task), 404: error }, asset("0.40.0")),
  refineTags: get("/api/assets/tags/refine", { 200: json(Settings.Settings) }, asset("0.18.0")),
  tags: get("/api/tags", { 200: json(Assets.Tags) }, { ...asset("0.9.0"), query: ["limit", "offset"] }),
  asset: get("/api/assets/{asset_id}", { 200: json(Assets.Asset) }, asset("0.12.0")),
  updateAsset: put("/api/assets/{asset_id}", { 200: json(Assets.Asset) }, {
    ...asset("0.12.0"),
    request: json(Assets.Update)
  }),
  deleteAsset: remove("/api/assets/{asset_id}", { 204: empty }, asset("0.12.0")),
  assetContent: get("/api/assets/{asset_id}/content", { 200: raw }, { ...asset("0.12.0"), query: ["disposition"] }),
  addTags: post("/api/assets/{asset_id}/tags", { 200: json(Assets.TagsUpdated) }, {
    ...asset("0.12.0"),
    request: json(Assets.TagsUpdate)
  }),
  removeTags: remove("/api/assets/{asset_id}/tags", { 200: json(Assets.TagsUpdated) }, {
    ...asset("0.12.0"),
    request: json(Assets.TagsUpdate)
  })
}

/** The editor's own files, and the upgrade to the socket. */
const statics = {
  socket: get("/ws", { 101: empty }, { query: ["clientId"] }),
  workflowTemplate: get("/api/workflow_templates/{pack}/{file*}", { 200: raw }, once),
  extension: get("/extensions/{file*}", { 200: raw }, once),
  template: get("/templates/{file*}", { 200: raw }, once),
  doc: get("/docs/{file*}", { 200: raw }, once),
  editor: get("/", { 200: raw }, once)
}

export const table = {
  ...prompts,
  ...files,
  ...catalogues,
  ...users,
  ...internals,
  ...assets,
  ...statics
}
