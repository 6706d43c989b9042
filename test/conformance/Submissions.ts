/** The prompts of a recording: each POST that the server accepted, with all that is said about it, and each refused one. */
import * as Endpoint from "@effect-comfyui/protocol/Endpoint"
import * as Prompt from "@effect-comfyui/protocol/Prompt"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Result from "effect/Result"
import { type Fact, fromExchange, fromFrames, messageOf } from "./Facts.ts"
import { type Exchange, exchanges, jsonOf, type Line, type Recording, textOf } from "./Recording.ts"

/** A POST of a prompt. */
export interface Posted {
  readonly exchange: Exchange
  /** Undefined if the body is not in the recording. */
  readonly body: Json.JsonObject | undefined
  /** What can be sent again; undefined if the body is no graph. */
  readonly workflow: Workflow.Workflow | undefined
  readonly clientId: string | null
}

/** An accepted prompt. An id that was posted twice makes two of them, told apart by `occurrence` (from 0). */
export interface Submission extends Posted {
  readonly promptId: string
  readonly receipt: Prompt.Receipt
  readonly occurrence: number
  readonly facts: ReadonlyArray<Fact>
}

/** A prompt that the server answered with its own refusal. */
export interface Refused extends Posted {
  readonly refusal: Prompt.Refusal
}

/** A stretch in which the process was gone; `until` is Infinity if it never came back. */
export interface Outage {
  readonly from: number
  readonly until: number
}

/** A recording with what was found in it. */
export interface Found {
  readonly recording: Recording
  readonly exchanges: ReadonlyArray<Exchange>
  readonly accepted: ReadonlyArray<Submission>
  readonly refused: ReadonlyArray<Refused>
  readonly outages: ReadonlyArray<Outage>
}

const text = (object: Json.JsonObject | undefined, name: string): string | null => {
  const value = object === undefined ? undefined : Json.get(object, name)
  return typeof value === "string" ? value : null
}

const clientIdOf = (body: Json.JsonObject | undefined): string | null => {
  const extra = body === undefined ? undefined : Json.get(body, "extra_data")
  return text(body, "client_id") ?? text(Json.isObject(extra) ? extra : undefined, "client_id")
}

const workflowOf = (body: Json.JsonObject | undefined): Workflow.Workflow | undefined => {
  const prompt = body === undefined ? undefined : Json.get(body, "prompt")
  const request = prompt === undefined ? undefined : Prompt.Request.decode({ prompt })
  return request === undefined || Result.isFailure(request) ? undefined : Workflow.fromNodes(request.success.prompt)
}

const posted = (exchange: Exchange): Posted => {
  const json = jsonOf(textOf(exchange.request))
  const body = Json.isObject(json) ? json : undefined
  return { exchange, body, workflow: workflowOf(body), clientId: clientIdOf(body) }
}

/** The answer to a POST of a prompt, as that status means it. */
const answerOf = <A>(
  { answer, request }: Exchange,
  status: number,
  decode: (json: Json.Json) => Result.Result<A, unknown>
): A | undefined => {
  if (Endpoint.match(request.method, request.path)?.name !== "submit" || answer?.status !== status) return undefined
  const json = jsonOf(textOf(answer))
  const decoded = json === undefined ? undefined : decode(json)
  return decoded === undefined || Result.isFailure(decoded) ? undefined : decoded.success
}

const isSignOfLife = (line: Line): boolean =>
  line.kind === "response" || line.kind === "ws-open" || ("dir" in line && line.dir === "in")
const isDeath = (line: Line): boolean =>
  (line.kind === "request-error" || line.kind === "ws-error") && /^ECONN(REFUSED|RESET)$/.test(line.code ?? "")

/** The process is gone from the last sign of life before a refused connection until the next sign of life. */
const outagesOf = ({ lines }: Recording): ReadonlyArray<Outage> => {
  const found: Array<Outage> = []
  for (const [at, line] of lines.entries()) {
    if (!isDeath(line) || at < (found.at(-1)?.until ?? 0)) continue
    const lost = lines.findIndex((line, index) =>
      index > lines.slice(0, at).findLastIndex(isSignOfLife) &&
      (isDeath(line) || (line.kind === "ws-close" && line.code === 1006))
    )
    const back = lines.findIndex((line, index) => index > at && isSignOfLife(line))
    found.push({ from: lost === -1 ? at : lost, until: back === -1 ? Number.POSITIVE_INFINITY : back })
  }
  return found
}

type Accepted = Omit<Submission, "facts" | "occurrence">

/**
 * Which of several POSTs of one id a fact is about: a frame belongs to the run that started last, an answer to the prompt
 * that was posted last.
 */
const occurrenceOf = (posts: ReadonlyArray<Accepted>, starts: ReadonlyArray<number>, fact: Fact): number => {
  const before = starts.filter((at) => at <= fact.at).length
  const last = posts.filter(({ exchange }) => exchange.requestAt < fact.at).length
  return (fact._tag === "Frame" && before > 0 ? Math.min(before, posts.length) : last) - 1
}

const withFacts = (
  recording: Recording,
  all: ReadonlyArray<Exchange>,
  posts: ReadonlyArray<Accepted>
): ReadonlyArray<Submission> => {
  const [first] = posts
  if (first === undefined) return []
  const facts = [...fromFrames(recording, first.promptId), ...all.flatMap((one) => fromExchange(one, first.promptId))]
    .filter(({ at }) => at > first.exchange.requestAt).toSorted((a, b) => a.at - b.at)
  const starts = facts.filter((fact) => fact._tag === "Frame" && fact.type === "execution_start").map(({ at }) => at)
  return posts.map((post, occurrence) => ({
    ...post,
    occurrence,
    facts: facts.filter((fact) => occurrenceOf(posts, starts, fact) === occurrence)
  }))
}

/** Everything about the prompts of a recording. */
export const find = (recording: Recording): Found => {
  const all = exchanges(recording)
  const accepted = all.flatMap((exchange): ReadonlyArray<Accepted> => {
    const receipt = answerOf(exchange, 200, Prompt.Receipt.decode)
    return receipt === undefined ? [] : [{ ...posted(exchange), promptId: receipt.prompt_id, receipt }]
  })
  const byId = Map.groupBy(accepted, ({ promptId }) => promptId)
  return {
    recording,
    exchanges: all,
    accepted: [...byId.values()].flatMap((posts) => withFacts(recording, all, posts))
      .toSorted((a, b) => a.exchange.requestAt - b.exchange.requestAt),
    refused: all.flatMap((exchange): ReadonlyArray<Refused> => {
      const refusal = answerOf(exchange, 400, Prompt.Refusal.decode)
      return refusal === undefined ? [] : [{ ...posted(exchange), refusal }]
    }),
    outages: outagesOf(recording)
  }
}

/** A connection of the recorded client: the client id that the server knew it by, and the lines of its life. */
export interface RecordedSocket {
  readonly conn: string
  readonly clientId: string
  readonly openAt: number
  /** Infinity if it outlives the recording. */
  readonly closeAt: number
  /** The server's flags, as it sent them: only to clients that sent theirs. */
  readonly flags: string | undefined
}

/** All connections that the server registered: it says so in its first frame. */
export const sockets = ({ lines }: Recording): ReadonlyArray<RecordedSocket> =>
  lines.flatMap((line, openAt): ReadonlyArray<RecordedSocket> => {
    if (line.kind !== "ws-open") return []
    const mine = lines.flatMap((other, at) =>
      at > openAt && other.kind === "ws-text" && other.dir === "in" && other.conn === line.conn
        ? [{ data: other.data, message: messageOf(other.data) }]
        : []
    )
    const sid = mine.map(({ message }) => text(message?.data, "sid")).find((sid) => sid !== null)
    if (sid === undefined || sid === null) return []
    const closeAt = lines.findIndex((other, at) => at > openAt && other.kind === "ws-close" && other.conn === line.conn)
    return [{
      conn: line.conn,
      clientId: sid,
      openAt,
      closeAt: closeAt === -1 ? Number.POSITIVE_INFINITY : closeAt,
      flags: mine.find(({ message }) => message?.type === "feature_flags")?.data
    }]
  })
