// Whether a request, a frame or a node is one that a fault is for.
import type { FrameMatch, Joined, Match, NodeInfo, NodeMatch, RequestInfo } from "../FaultData.ts"

const joined = <M>(match: Joined<M>, matches: (one: M) => boolean): boolean =>
  match._tag === "All" ? match.matches.every(matches) : match.matches.some(matches)

const onPath = (pattern: string, path: string): boolean => {
  const parts = pattern.split("/")
  const rest = parts.at(-1) === "*"
  const bare = path.startsWith("/api/") && !pattern.startsWith("/api/") ? path.slice(4) : path
  const segments = bare.split("/")
  if (rest ? segments.length < parts.length : segments.length !== parts.length) return false
  return parts.every((part, index) => part === "*" || part === segments[index])
}

const decoder = new TextDecoder()

export const matchesRequest = (match: Match, request: RequestInfo): boolean => {
  if (typeof match === "function") return match(request)
  switch (match._tag) {
    case "Any":
      return true
    case "Method":
      return request.method === match.method
    case "Path":
      return onPath(match.pattern, request.path)
    case "Header": {
      const value = request.headers[match.name]
      return value !== undefined && (match.value === undefined || value === match.value)
    }
    case "BodyIncludes":
      return decoder.decode(request.body).includes(match.text)
    case "BodyOver":
      return request.body.length > match.bytes
    default:
      return joined<Match>(match, (one) => matchesRequest(one, request))
  }
}

const eventType = /^\s*\{\s*"type":\s*"([^"\\]*)"/

export const matchesFrame = (match: FrameMatch, frame: string | Uint8Array): boolean => {
  if (typeof match === "function") return match(frame)
  switch (match._tag) {
    case "AnyFrame":
      return true
    case "Event": {
      const type = typeof frame === "string" ? eventType.exec(frame)?.[1] : undefined
      return type !== undefined && match.types.includes(type)
    }
    case "Binary":
      if (typeof frame === "string") return false
      return match.event === undefined || (frame.length >= 4 && (frame[3] ?? 0) === match.event)
    case "TextIncludes":
      return typeof frame === "string" && frame.includes(match.text)
    default:
      return joined<FrameMatch>(match, (one) => matchesFrame(one, frame))
  }
}

const agrees = (wanted: string | undefined, given: string): boolean => wanted === undefined || wanted === given

export const matchesNode = (match: NodeMatch, node: NodeInfo): boolean => {
  if (typeof match === "function") return match(node)
  return agrees(match.classType, node.classType) && agrees(match.nodeId, node.nodeId) &&
    agrees(match.promptId, node.promptId) &&
    (match.inputIncludes === undefined || node.inputs.includes(match.inputIncludes))
}
