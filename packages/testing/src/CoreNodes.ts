/** The classes that every fake server has, unless it is told to be bare. */
import type { FakeNode } from "./FakeNode.ts"
import * as ImageNodes from "./ImageNodes.ts"
import * as ModelNodes from "./ModelNodes.ts"
import * as TextNodes from "./TextNodes.ts"

export const nodes: ReadonlyArray<FakeNode> = [...ImageNodes.nodes, ...TextNodes.nodes, ...ModelNodes.nodes]
