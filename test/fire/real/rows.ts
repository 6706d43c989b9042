/** The rows of the fault table that need sockets or processes. */
import { many } from "./many.ts"
import { network } from "./network.ts"
import { processes } from "./processes.ts"
import type { RealRow } from "./RealRow.ts"

export const realRows: ReadonlyArray<RealRow> = [...network, ...processes, ...many]
