/** The classes that every fake server has, unless it is told to be bare. */
import * as CommonNodes from "./CommonNodes.ts"
import * as ImageFileNodes from "./ImageFileNodes.ts"
import * as ImageNodes from "./ImageNodes.ts"
import * as LoaderNodes from "./LoaderNodes.ts"
import type { NodeClass } from "./NodeClass.ts"
import * as SamplingNodes from "./SamplingNodes.ts"
import * as TextNodes from "./TextNodes.ts"

const own: ReadonlyArray<NodeClass> = [
  ...ImageFileNodes.nodes,
  ...ImageNodes.nodes,
  ...TextNodes.nodes,
  ...LoaderNodes.nodes,
  ...SamplingNodes.nodes
]

/** All of them, in the order in which object_info lists them. */
export const nodes: ReadonlyArray<NodeClass> = [...own, ...CommonNodes.nodes]

/** Those that do not run by the rules of `ObjectInfoNodes`. */
export const computing: ReadonlyArray<NodeClass> = [
  ...own,
  ...CommonNodes.nodes.filter((node) => CommonNodes.computes(node.class))
]
