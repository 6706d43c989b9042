/** The fault table as data: every row that needs no socket and no process. */
import { frames } from "./rows/frames.ts"
import { network } from "./rows/network.ts"
import type { Row } from "./rows/Row.ts"
import { server } from "./rows/server.ts"

export const rows: ReadonlyArray<Row> = [...network, ...frames, ...server]
