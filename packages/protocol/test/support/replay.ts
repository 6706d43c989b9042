// Runs the decoders over recordings of real servers and says what was lost.
import * as Endpoint from "@effect-comfyui/protocol/Endpoint"
import * as Frame from "@effect-comfyui/protocol/Frame"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import * as Result from "effect/Result"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { inflateSync } from "node:zlib"
import { canonical } from "./exact.ts"

interface Line {
  readonly kind: string
  readonly id?: number
  readonly conn?: string
  readonly dir?: "in" | "out"
  readonly method?: string
  readonly path?: string
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly base64?: string
  readonly data?: string
}

export interface Report {
  files: number
  frames: number
  answers: number
  /** Answers of paths or methods that no endpoint has. */
  unknown: number
  /** Messages by tag, answers by endpoint and status. */
  readonly seen: Map<string, number>
  readonly problems: Array<string>
}

const count = (report: Report, key: string): void => {
  report.seen.set(key, (report.seen.get(key) ?? 0) + 1)
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** What is wrong with a message and the frame that it is written as again. */
const lossOf = (frame: Frame.Frame, message: ServerMessage.ServerMessage): string | undefined => {
  const encoded = ServerMessage.encode(message)
  if (typeof frame !== "string" || typeof encoded !== "string") {
    return typeof frame !== "string" && typeof encoded !== "string" && sameBytes(frame, encoded)
      ? undefined
      : "other bytes"
  }
  if (message._tag === "Malformed") return frame === encoded ? undefined : "other text"
  return canonical(frame) === canonical(encoded) && canonical(frame) !== undefined
    ? undefined
    : "lost a member or a digit"
}

const bodyOf = (line: Line): string | Uint8Array => {
  if (line.base64 === undefined) return line.body ?? ""
  const bytes = Buffer.from(line.base64, "base64")
  return line.headers?.["content-encoding"] === "deflate" ? inflateSync(bytes) : bytes
}

const textOf = (body: string | Uint8Array): string => typeof body === "string" ? body : Frame.text(body)

const answer = (report: Report, where: string, request: Line, line: Line): void => {
  const { method = "", path = "" } = request
  const match = Endpoint.match(method, path)
  report.answers++
  if (match === undefined) {
    report.unknown++
    count(report, `unknown ${method} ${path.split("?", 1)[0]} ${line.status}`)
    return
  }
  const body = bodyOf(line)
  const decoded = Endpoint.decodeAnswer(match.endpoint, line.status ?? 0, line.headers ?? {}, body)
  if (Result.isFailure(decoded)) {
    report.problems.push(`${where} ${method} ${path} ${line.status}: ${JSON.stringify(decoded.failure)}`)
    return
  }
  count(report, `${match.name} ${line.status} ${decoded.success.kind}`)
  const encoded = Endpoint.encodeAnswer(decoded.success)
  const same = decoded.success.kind === "json"
    ? canonical(textOf(body)) === canonical(textOf(encoded)) && canonical(textOf(body)) !== undefined
    : body === encoded || (body.length === 0 && encoded.length === 0)
  if (!same) report.problems.push(`${where} ${method} ${path} ${line.status}: lost a member or a digit`)
}

const replayFile = (report: Report, path: string): void => {
  const requests = new Map<number | undefined, Line>()
  const decoders = new Map<string, ServerMessage.Decoder>()
  for (const [index, text] of readFileSync(path, "utf8").split("\n").entries()) {
    if (text === "") continue
    const line: Line = JSON.parse(text)
    const where = `${path}:${index + 1}`
    if (line.kind === "request") requests.set(line.id, line)
    const request = line.kind === "response" ? requests.get(line.id) : undefined
    if (request !== undefined) answer(report, where, request, line)
    if (line.kind !== "ws-text" && line.kind !== "ws-binary") continue
    const frame = line.data ?? Buffer.from(line.base64 ?? "", "base64")
    const conn = line.conn ?? ""
    const decoder = decoders.get(conn) ?? ServerMessage.makeDecoder()
    decoders.set(conn, decoder)
    report.frames++
    const [alone] = ServerMessage.decodeBatch([frame])
    const [remembered] = line.dir === "in" ? decoder.decodeBatch([frame]) : [alone]
    for (const message of [alone, remembered]) {
      const loss = message === undefined ? "no message" : lossOf(frame, message)
      if (loss !== undefined) report.problems.push(`${where}: ${loss}`)
    }
    if (alone !== undefined) count(report, `${line.dir} ${alone._tag}`)
  }
}

/** Replays every `.jsonl` file of these folders. */
export const replay = (folders: ReadonlyArray<string>): Report => {
  const report: Report = { files: 0, frames: 0, answers: 0, unknown: 0, seen: new Map(), problems: [] }
  for (const folder of folders) {
    for (const name of readdirSync(folder)) {
      if (!name.endsWith(".jsonl")) continue
      report.files++
      replayFile(report, join(folder, name))
    }
  }
  return report
}

if (process.argv[1] === import.meta.filename) {
  const report = replay(process.argv.slice(2))
  const seen = [...report.seen].toSorted().map(([key, times]) => `  ${key} × ${times}`)
  process.stdout.write(
    `${report.files} files, ${report.frames} frames, ${report.answers} answers (${report.unknown} of unknown paths), ` +
      `${report.problems.length} problems\n${[...seen, ...report.problems].join("\n")}\n`
  )
}
