/**
 * Outputs by the caller's own names: declared once beside the workflow, typed from then on. What a run owes and did not
 * produce is an error, not an `undefined` somewhere later.
 *
 * ```ts
 * const outputs = Results.declare({ hero: Results.image("9"), caption: Results.text("12") })
 * const { hero, caption } = (yield* success(job, outputs)).outputs // ImageFile, string
 * ```
 */
import type { Executions } from "@effect-comfyui/execution/ExecutionEvent"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { JobId } from "@effect-comfyui/execution/Ids"
import type { JobSucceeded } from "@effect-comfyui/execution/JobEvent"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import type { Receipt } from "@effect-comfyui/execution/Receipt"
import type { Json } from "@effect-comfyui/workflow/Json"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

// ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The job has succeeded without outputs that were declared: all of them, with what their nodes produced instead. */
export const MissingOutputs = Schema.TaggedStruct("MissingOutputs", {
  jobId: JobId,
  outputs: Schema.Array(Schema.Struct({
    name: Schema.String,
    nodeId: Schema.String,
    wanted: Schema.String,
    found: Schema.String
  }))
})

export const ResultReason = Schema.Union([MissingOutputs])
export type ResultReason = typeof ResultReason.Type

/** A success that is not the one that was declared. Survives JSON. */
export class ResultError extends Schema.TaggedError<ResultError>()("ResultError", { reason: ResultReason }) {
  override get message(): string {
    const { outputs } = this.reason
    return outputs.map(({ found, name, nodeId, wanted }) => `${name}: node ${nodeId} gave no ${wanted}, but ${found}`)
      .join("; ")
  }
}

// ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A file of a result. `server`: where it was made, and can be downloaded; null where that was forgotten. `location`: where
 * the pool's sink keeps it; null without one.
 */
export interface ResultFile extends Outputs.OutputFile {
  readonly nodeId: string
  readonly server: BackendId
  readonly location: string | null
}

/** Files of one kind. */
export interface ImageFile extends ResultFile {
  readonly kind: "image" | "gif"
}
export interface VideoFile extends ResultFile {
  readonly kind: "video"
}
export interface AudioFile extends ResultFile {
  readonly kind: "audio"
}
export interface ModelFile extends ResultFile {
  readonly kind: "3d"
}

/** What a node produced, as fields read it. */
interface Produced {
  readonly files: ReadonlyArray<ResultFile>
  readonly texts: ReadonlyArray<string>
  readonly raw: Json
}

/** One declared output: of which node, what in words, and how it is read; undefined where it is not there. */
export interface Field<out A> {
  readonly nodeId: string
  readonly wanted: string
  readonly read: (produced: Produced) => A | undefined
}

/** Declared outputs by name. */
export type Fields = Readonly<Record<string, Field<unknown>>>

/** Outputs that were declared, as the type of what they give. Made by {@link declare}. */
export interface Declared<out A> {
  readonly read: (success: Success) => Result.Result<A, ResultError>
}

/** What the fields give, name by name. */
export type Values<F extends Fields> = { readonly [Name in keyof F]: F[Name] extends Field<infer A> ? A : never }

const isImage = (file: ResultFile): file is ImageFile => file.kind === "image" || file.kind === "gif"
const isVideo = (file: ResultFile): file is VideoFile => file.kind === "video"
const isAudio = (file: ResultFile): file is AudioFile => file.kind === "audio"
const isModel = (file: ResultFile): file is ModelFile => file.kind === "3d"
const isFile = (file: ResultFile): file is ResultFile => file.filename !== ""

const first =
  <F extends ResultFile>(wanted: string, is: (file: ResultFile) => file is F) => (nodeId: string): Field<F> => ({
    nodeId,
    wanted,
    read: ({ files }) => files.find(is)
  })

const all = <F extends ResultFile>(wanted: string, is: (file: ResultFile) => file is F) =>
(
  nodeId: string
): Field<ReadonlyArray<F>> => ({
  nodeId,
  wanted,
  read: ({ files }) => {
    const found = files.filter(is)
    return found.length === 0 ? undefined : found
  }
})

/** The first picture of a node. */
export const image = first("image", isImage)
/** All pictures of a node, at least one. */
export const images = all("images", isImage)
/** The first film of a node. */
export const video = first("video", isVideo)
/** All films of a node, at least one. */
export const videos = all("videos", isVideo)
/** The first sound of a node. */
export const audio = first("audio file", isAudio)
/** The first 3D model of a node. */
export const model = first("3D model", isModel)
/** The first file of a node, of any kind. */
export const file = first("file", isFile)
/** All files of a node, at least one. */
export const files = all("files", isFile)

/** The first text of a node. */
export const text = (nodeId: string): Field<string> => ({ nodeId, wanted: "text", read: ({ texts }) => texts[0] })

/** All texts of a node, at least one. */
export const texts = (nodeId: string): Field<ReadonlyArray<string>> => ({
  nodeId,
  wanted: "text",
  read: ({ texts }) => texts.length === 0 ? undefined : texts
})

/** The record of a node as its author meant it; one that the schema refuses counts as missing. */
export const record = <A>(nodeId: string, schema: Schema.ConstraintDecoder<A>): Field<A> => {
  const decode = Schema.decodeUnknownOption(schema)
  return { nodeId, wanted: "such record", read: ({ raw }) => Option.getOrUndefined(decode(raw)) }
}

/** The field's value, or null where a run may do without it. */
export const optional = <A>({ nodeId, read, wanted }: Field<A>): Field<A | null> => ({
  nodeId,
  wanted,
  read: (produced) => read(produced) ?? null
})

// ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A job that has succeeded. `outputs`: those that were declared; without a declaration all, node by node. */
export interface Success<out A = Outputs.Outputs> {
  readonly jobId: JobId
  readonly outputs: A
  /** Every file of every node. */
  readonly files: ReadonlyArray<ResultFile>
  readonly receipts: ReadonlyArray<Receipt>
  readonly executions: Executions
  /** Where it ran; null where that was forgotten. */
  readonly server: BackendId
}

const keyOf = (
  nodeId: string,
  { filename, subfolder, type }: Pick<Outputs.OutputFile, "filename" | "subfolder" | "type">
) => JSON.stringify([nodeId, type, subfolder, filename])

/** The success without a declaration. */
export const plain = (ended: JobSucceeded): Success => {
  const locations = new Map(ended.receipts.map((receipt) => [keyOf(receipt.nodeId, receipt.file), receipt.location]))
  const files = Object.entries(ended.outputs).flatMap(([nodeId, output]) =>
    output.files.map((one): ResultFile => ({
      ...one,
      nodeId,
      server: ended.server,
      location: locations.get(keyOf(nodeId, one)) ?? null
    }))
  )
  const { executions, jobId, outputs, receipts, server } = ended
  return { jobId, outputs, files, receipts, executions, server }
}

const said = ({ files, texts }: Produced): string => {
  const kinds = [...new Set(files.map(({ kind }) => kind)), ...texts.length > 0 ? ["text"] : []]
  return kinds.join(", ") || "nothing"
}

const producedBy = ({ files, outputs }: Success, nodeId: string): Produced => {
  const output = Outputs.get(outputs, nodeId)
  return { files: files.filter((file) => file.nodeId === nodeId), texts: output?.texts ?? [], raw: output?.raw ?? null }
}

/**
 * Declares outputs by name. A name that is none of these does not compile where the result is used; outputs that are not
 * there when the job has succeeded are one `ResultError`, with all of them.
 */
export const declare = <const F extends Fields>(fields: F): Declared<Values<F>> => ({
  read: (success) => {
    const missing: Array<typeof MissingOutputs.Type["outputs"][number]> = []
    const values = Object.entries(fields).map(([name, { nodeId, read, wanted }]) => {
      const produced = producedBy(success, nodeId)
      const value = read(produced)
      if (value === undefined) missing.push({ name, nodeId, wanted, found: said(produced) })
      return [name, value] as const
    })
    // One entry per field, of the field's own type: what the compiler cannot follow through `entries`.
    return missing.length === 0
      ? Result.succeed(Object.fromEntries(values) as Values<F>)
      : Result.fail(new ResultError({ reason: { _tag: "MissingOutputs", jobId: success.jobId, outputs: missing } }))
  }
})

/** The success with its outputs as they were declared. */
export const read = <A>(success: Success, declared: Declared<A>): Result.Result<Success<A>, ResultError> =>
  Result.map(declared.read(success), (outputs) => ({ ...success, outputs }))
