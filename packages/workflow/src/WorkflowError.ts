/** What can be wrong with a workflow, with the way to the place. */
import * as Schema from "effect/Schema"
import type { JsonProblem } from "./Json.ts"

const NodeId = Schema.String
const path = Schema.Array(Schema.Union([Schema.String, Schema.Finite]))

/** The text is not JSON; `offset` in UTF-16 units. */
export const Syntax = Schema.TaggedStruct("Syntax", { offset: Schema.Int, excerpt: Schema.String })
/** More text than allowed; both in UTF-16 units. */
export const TooLarge = Schema.TaggedStruct("TooLarge", { length: Schema.Int, limit: Schema.Int })
/** Nested deeper than allowed. */
export const TooDeep = Schema.TaggedStruct("TooDeep", { limit: Schema.Int })
/** One object has a key twice; the server would silently take the last. */
export const DuplicateKey = Schema.TaggedStruct("DuplicateKey", { path })
/** The editor's own format (`nodes`, `links`): export it with "Export (API)", or convert it. */
export const UiFormat = Schema.TaggedStruct("UiFormat", {})
/** Not an object of nodes. */
export const NotAWorkflow = Schema.TaggedStruct("NotAWorkflow", { found: Schema.String })
/** No node at all. */
export const Empty = Schema.TaggedStruct("Empty", {})
/** A node that is not an object with an object of inputs. */
export const InvalidNode = Schema.TaggedStruct("InvalidNode", { nodeId: NodeId, problem: Schema.String })
/** A node without `class_type`. */
export const MissingClassType = Schema.TaggedStruct("MissingClassType", { nodeId: NodeId })
/** `__proto__`, `constructor` or `prototype` as a name. */
export const ForbiddenName = Schema.TaggedStruct("ForbiddenName", {
  nodeId: NodeId,
  inputName: Schema.NullOr(Schema.String)
})
/** A link to a node that is not there. Under a name that the class does not declare it would end the server's worker. */
export const DanglingLink = Schema.TaggedStruct("DanglingLink", {
  nodeId: NodeId,
  inputName: Schema.String,
  target: NodeId
})
/** Nodes that feed themselves, in the order of the links; `inputName` is the first node's link into the circle. */
export const Cycle = Schema.TaggedStruct("Cycle", { nodeIds: Schema.Array(NodeId), inputName: Schema.String })
/** An edit names a node that is not there. */
export const NodeNotFound = Schema.TaggedStruct("NodeNotFound", { nodeId: NodeId })
/** An edit names an input that the node does not have. */
export const InputNotFound = Schema.TaggedStruct("InputNotFound", { nodeId: NodeId, inputName: Schema.String })
/** An edit would put a node over another. */
export const NodeExists = Schema.TaggedStruct("NodeExists", { nodeId: NodeId })
/** An edit would leave links of these inputs without a node. */
export const StillLinked = Schema.TaggedStruct("StillLinked", {
  nodeId: NodeId,
  by: Schema.Array(Schema.Struct({ nodeId: NodeId, inputName: Schema.String }))
})
/** No output has this alias. */
export const AliasNotFound = Schema.TaggedStruct("AliasNotFound", { alias: Schema.String })
/** Nothing says which inputs and outputs this class has, and the edit has to know. */
export const UnknownClass = Schema.TaggedStruct("UnknownClass", { nodeId: NodeId, classType: Schema.String })
/** The node is not bypassed. */
export const NotBypassed = Schema.TaggedStruct("NotBypassed", { nodeId: NodeId })
/** A value without canonical text: NaN, an infinity, a lone surrogate, or more than 1,000 levels. */
export const NotHashable = Schema.TaggedStruct("NotHashable", { path })

export const WorkflowReason = Schema.Union([
  Syntax,
  TooLarge,
  TooDeep,
  DuplicateKey,
  UiFormat,
  NotAWorkflow,
  Empty,
  InvalidNode,
  MissingClassType,
  ForbiddenName,
  DanglingLink,
  Cycle,
  NodeNotFound,
  InputNotFound,
  NodeExists,
  StillLinked,
  AliasNotFound,
  UnknownClass,
  NotBypassed,
  NotHashable
])
export type WorkflowReason = typeof WorkflowReason.Type

const describe = (reason: WorkflowReason): string => {
  switch (reason._tag) {
    case "Syntax":
      return `not JSON at offset ${reason.offset}: ${reason.excerpt}`
    case "TooLarge":
      return `${reason.length} characters, at most ${reason.limit} are allowed`
    case "TooDeep":
      return `nested deeper than ${reason.limit} levels`
    case "DuplicateKey":
      return `duplicate key ${reason.path.join(" / ")}`
    case "UiFormat":
      return "this is the editor's format: export the workflow as API format"
    case "NotAWorkflow":
      return `a workflow is an object of nodes, not ${reason.found}`
    case "Empty":
      return "the workflow has no nodes"
    case "InvalidNode":
      return `node ${reason.nodeId}: ${reason.problem}`
    case "MissingClassType":
      return `node ${reason.nodeId} has no class_type`
    case "ForbiddenName":
      return reason.inputName === null
        ? `${reason.nodeId} cannot be the id of a node`
        : `node ${reason.nodeId}: ${reason.inputName} cannot be the name of an input`
    case "DanglingLink":
      return `node ${reason.nodeId}, input ${reason.inputName}: there is no node ${reason.target}`
    case "Cycle":
      return `nodes feed themselves: ${reason.nodeIds.join(" → ")}`
    case "NodeNotFound":
      return `there is no node ${reason.nodeId}`
    case "InputNotFound":
      return `node ${reason.nodeId} has no input ${reason.inputName}`
    case "NodeExists":
      return `there is a node ${reason.nodeId} already`
    case "StillLinked":
      return `node ${reason.nodeId} still feeds ${
        reason.by.map((link) => `${link.nodeId}.${link.inputName}`).join(", ")
      }`
    case "AliasNotFound":
      return `no output is called ${reason.alias}`
    case "UnknownClass":
      return `node ${reason.nodeId}: the class ${reason.classType} is not known`
    case "NotBypassed":
      return `node ${reason.nodeId} is not bypassed`
    case "NotHashable":
      return `no canonical text for ${reason.path.join(" / ")}`
  }
}

/** A workflow that cannot be read, edited or hashed. Survives JSON. */
export class WorkflowError extends Schema.TaggedError<WorkflowError>()("WorkflowError", { reason: WorkflowReason }) {
  override get message(): string {
    return describe(this.reason)
  }
}

/** The error of a text. */
export const fromJsonProblem = (problem: JsonProblem): WorkflowError => new WorkflowError({ reason: problem })
