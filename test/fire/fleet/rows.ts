/** The fault table as a pool meets it: every row that needs no socket and no process. */
import type { FleetRow } from "./Row.ts"
import { jobs } from "./rows/jobs.ts"
import { processes } from "./rows/processes.ts"
import { sockets } from "./rows/sockets.ts"
import { submission } from "./rows/submission.ts"

export const fleetRows: ReadonlyArray<FleetRow> = [...submission, ...processes, ...sockets, ...jobs]
