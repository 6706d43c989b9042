/** `/internal`, which upstream declares unstable. Never under `/api`. */
import * as Schema from "effect/Schema"
import { Logs } from "./MessageData.ts"
import * as Wire from "./Wire.ts"

/** `GET /internal/logs`: all lines as one text. */
export const Text = Wire.make("log text", Schema.String)

/** `GET /internal/logs/raw`: the latest 300 entries, as in the socket's `logs`. */
export const Raw = Logs

/** `PATCH /internal/logs/subscribe`: from then on that client's socket gets `logs`. */
export const Subscribe = Wire.make(
  "log subscription",
  Schema.Struct({ clientId: Schema.String, enabled: Schema.Boolean })
)
export type Subscribe = Wire.Type<typeof Subscribe>

/** `GET /internal/folder_paths`: absolute paths by folder key. */
export const FolderPaths = Wire.make("folder paths", Schema.Record(Schema.String, Wire.strings))
export type FolderPaths = Wire.Type<typeof FolderPaths>

/** `GET /internal/files/{input|output|temp}`: newest first; each ends in ` [input]` and so on since 0.20. */
export const FileNames = Wire.make("file names", Wire.strings)
export type FileNames = Wire.Type<typeof FileNames>
