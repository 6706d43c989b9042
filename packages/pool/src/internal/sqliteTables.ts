// The tables of the queue and every statement on them. A transition of a job is one statement; triggers count, and drop
// what nobody needs any more, inside it. `version` grows with every change of what waits: readers go by it, and a claim's
// token is the version that it made.
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import { SqlClient } from "effect/sql/SqlClient"
import type { JobState } from "../JobQueue.ts"

/** Epoch milliseconds by the database's clock; the same one throughout a statement. */
const now = "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)"

const finished = "('succeeded', 'failed', 'cancelled')"

const count = (column: string, states: string): string =>
  `${column} = ${column} + (NEW.state IN ${states}) - (OLD.state IN ${states})`

const first: ReadonlyArray<string> = [
  `CREATE TABLE comfy_queue (
    one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, waiting INTEGER NOT NULL,
    claimed INTEGER NOT NULL, dead INTEGER NOT NULL, ended INTEGER NOT NULL
  ) STRICT`,
  "INSERT INTO comfy_queue VALUES (1, 0, 0, 0, 0, 0)",
  `CREATE TABLE comfy_job (
    sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, state TEXT NOT NULL,
    priority REAL NOT NULL, tenant TEXT NOT NULL, affinity TEXT NOT NULL, placement TEXT NOT NULL, cost REAL NOT NULL,
    not_before REAL NOT NULL, queued_at INTEGER NOT NULL, fingerprint TEXT NOT NULL, files INTEGER NOT NULL,
    options TEXT NOT NULL, run_id TEXT, run TEXT,
    attempt INTEGER NOT NULL DEFAULT 0, token INTEGER NOT NULL DEFAULT 0, expires_at REAL,
    cancel_requested INTEGER NOT NULL DEFAULT 0, ledger TEXT, ending TEXT, ended_at INTEGER
  ) STRICT`,
  `CREATE TABLE comfy_payload (
    sequence INTEGER PRIMARY KEY, workflow TEXT NOT NULL, beside TEXT
  ) STRICT`,
  `CREATE TABLE comfy_attachment (
    sequence INTEGER NOT NULL, number INTEGER NOT NULL, described TEXT NOT NULL, body BLOB,
    PRIMARY KEY (sequence, number)
  ) STRICT`,
  "CREATE INDEX comfy_job_changes ON comfy_job (version)",
  "CREATE INDEX comfy_job_waiting ON comfy_job (sequence) WHERE state = 'waiting'",
  "CREATE INDEX comfy_job_delayed ON comfy_job (not_before) WHERE state = 'waiting' AND not_before > 0",
  "CREATE INDEX comfy_job_leases ON comfy_job (expires_at) WHERE state = 'claimed'",
  "CREATE INDEX comfy_job_dead ON comfy_job (sequence) WHERE state = 'dead'",
  "CREATE INDEX comfy_job_history ON comfy_job (ended_at) WHERE ended_at IS NOT NULL",
  `CREATE TRIGGER comfy_job_added AFTER INSERT ON comfy_job BEGIN
    UPDATE comfy_queue SET version = NEW.version, waiting = waiting + 1;
  END`,
  `CREATE TRIGGER comfy_job_moved AFTER UPDATE OF state ON comfy_job BEGIN
    UPDATE comfy_queue SET version = max(version, NEW.version), ${count("waiting", "('waiting')")},
      ${count("claimed", "('claimed')")}, ${count("dead", "('dead')")}, ${count("ended", finished)};
  END`,
  `CREATE TRIGGER comfy_job_ended AFTER UPDATE OF state ON comfy_job WHEN NEW.state IN ${finished} BEGIN
    DELETE FROM comfy_payload WHERE sequence = NEW.sequence;
    DELETE FROM comfy_attachment WHERE sequence = NEW.sequence;
  END`,
  `CREATE TRIGGER comfy_job_removed AFTER DELETE ON comfy_job BEGIN
    UPDATE comfy_queue SET dead = dead - (OLD.state = 'dead'), ended = ended - (OLD.state IN ${finished});
    DELETE FROM comfy_payload WHERE sequence = OLD.sequence;
    DELETE FROM comfy_attachment WHERE sequence = OLD.sequence;
  END`
]

const run = (statements: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient
    for (const statement of statements) yield* sql.unsafe(statement).unprepared
  })

/** By number; one that was released is never changed. */
const steps = { "0001_queue": run(first) }

/** The number of the last step: a file with a later one belongs to a newer library. */
export const latest = Object.keys(steps).length

const migrations = "comfy_queue_migrations"

/** Brings the tables to this library's form. */
export const migrate = Migrator.make({})({ loader: Migrator.fromRecord(steps), table: migrations })

export const formOf = `SELECT max(migration_id) AS latest FROM ${migrations}`

const head = "sequence, id, priority, tenant, affinity, placement, cost, not_before"
const record = `${head}, state, attempt, token, expires_at, cancel_requested, queued_at, ending, ended_at, options,
  fingerprint, ledger, run`
const inMs = `not_before - ${now} AS in_ms`
const next = "(SELECT version + 1 FROM comfy_queue)"
const held = `id = ? AND token = ? AND state = 'claimed' AND expires_at > ${now}`
const due = `state = 'claimed' AND expires_at <= ${now}`

/** What becomes of a job whose claim is over without an ending; one with a run, as `runs` has it, may not end yet. */
const givenBack = (runs: string): string =>
  `version = ${next}, expires_at = NULL,
  state = CASE WHEN cancel_requested = 1 AND ${runs} IS NULL THEN 'cancelled' ELSE 'waiting' END,
  ended_at = CASE WHEN cancel_requested = 1 AND ${runs} IS NULL THEN ${now} END`

/** id, priority, tenant, affinity, placement, cost, not before, fingerprint, options, files; most that may wait. */
export const offer =
  `INSERT INTO comfy_job (sequence, version, state, queued_at, id, priority, tenant, affinity, placement,
    cost, not_before, fingerprint, options, files)
  SELECT version + 1, version + 1, 'waiting', ${now}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM comfy_queue WHERE waiting < ?
  ON CONFLICT (id) DO NOTHING RETURNING sequence`
export const offered = "SELECT fingerprint FROM comfy_job WHERE id = ?"
export const addPayload = "INSERT INTO comfy_payload (sequence, workflow, beside) VALUES (?, ?, ?)"
export const addAttachment = "INSERT INTO comfy_attachment (sequence, number, described, body) VALUES (?, ?, ?, ?)"
export const attachments = "SELECT described, body FROM comfy_attachment WHERE sequence = ? ORDER BY number"

/** Of the job of this id that has not ended. */
export const payload =
  `SELECT sequence, workflow, beside, options, files FROM comfy_payload JOIN comfy_job USING (sequence)
  WHERE id = ? AND ended_at IS NULL`

const ofPayload = (column: string): string =>
  `(SELECT ${column} FROM comfy_payload WHERE comfy_payload.sequence = comfy_job.sequence) AS ${column}`

/** Lease in milliseconds, the run and its id or null, the job's id, the run's id again. */
export const claim = `UPDATE comfy_job SET state = 'claimed', version = ${next}, token = ${next}, attempt = attempt + 1,
    expires_at = ${now} + ?, run = ?, run_id = ?
  WHERE id = ? AND state = 'waiting' AND not_before <= ${now} AND (run_id IS NULL OR run_id = ?)
  RETURNING ${head}, attempt, token, ledger, files, options, cancel_requested, ${ofPayload("workflow")},
    ${ofPayload("beside")}`
/** Lease in milliseconds, id, token. */
export const extend = `UPDATE comfy_job SET expires_at = ${now} + ? WHERE ${held} RETURNING cancel_requested`
/** State, ending, id, token. */
export const settle =
  `UPDATE comfy_job SET state = ?, ending = ?, ended_at = ${now}, expires_at = NULL WHERE ${held} RETURNING sequence`
/** Ledger or null, delay in milliseconds twice, id, token. */
export const release = `UPDATE comfy_job SET ledger = coalesce(?, ledger), run = NULL, run_id = NULL,
    not_before = CASE WHEN ? > 0 THEN ${now} + ? ELSE 0 END, ${givenBack("NULL")} WHERE ${held} RETURNING sequence`
/** The same, with its run. */
export const leave = `UPDATE comfy_job SET ledger = coalesce(?, ledger),
    not_before = CASE WHEN ? > 0 THEN ${now} + ? ELSE 0 END, ${givenBack("run_id")} WHERE ${held} RETURNING sequence`
export const expire = `UPDATE comfy_job SET ${givenBack("run_id")} WHERE ${due} RETURNING sequence`
/** Every claim there is: whoever made them is gone. */
export const orphan = `UPDATE comfy_job SET ${givenBack("run_id")} WHERE state = 'claimed' RETURNING sequence`
const ends = "state = 'waiting' AND run_id IS NULL"
/** The ending or null and the state that it means, id; the state that the job has then. */
export const cancel = `UPDATE comfy_job SET
    cancel_requested = NOT (${ends}), version = CASE WHEN ${ends} THEN ${next} ELSE version END,
    ended_at = CASE WHEN ${ends} THEN ${now} END, ending = CASE WHEN ${ends} THEN ? END,
    state = CASE WHEN ${ends} THEN ? ELSE state END
  WHERE id = ? AND state IN ('waiting', 'claimed') RETURNING state`
export const redrive =
  `UPDATE comfy_job SET state = 'waiting', version = ${next}, attempt = 0, ledger = NULL, ending = NULL,
    queued_at = ${now}, ended_at = NULL, cancel_requested = 0, not_before = 0, run = NULL, run_id = NULL
  WHERE id = ? AND state = 'dead' RETURNING sequence`
export const forget = `DELETE FROM comfy_job WHERE id = ? AND ended_at IS NOT NULL RETURNING sequence`

export const get = `SELECT ${record} FROM comfy_job WHERE id = ?`

/** The index that holds few rows but those of these states; left to itself, SQLite would go through all jobs in order. */
const indexOf = (states: ReadonlyArray<JobState>): string | undefined => {
  const only = states.length === 1 ? states[0] : undefined
  if (only === "waiting" || only === "dead") return `comfy_job_${only}`
  if (only === "claimed") return "comfy_job_leases"
  return states.every((state) => state !== "waiting" && state !== "claimed") ? "comfy_job_history" : undefined
}

/** Sequence that they come after, the tenant if there is one, how many. States are words of ours and written out. */
export const list = (states: ReadonlyArray<JobState> | undefined, ofTenant: boolean): string => {
  const index = states === undefined ? undefined : indexOf(states)
  const words = states?.map((state) => `'${state}'`)
  const conditions = [
    "sequence > ?",
    ...ofTenant ? ["tenant = ?"] : [],
    ...words === undefined ? [] : [words.length === 1 ? `state = ${words[0]}` : `state IN (${words.join(", ")})`],
    ...index === "comfy_job_history" ? ["ended_at IS NOT NULL"] : []
  ]
  return `SELECT ${record} FROM comfy_job ${index === undefined ? "" : `INDEXED BY ${index}`}
    WHERE ${conditions.join(" AND ")} ORDER BY sequence LIMIT ?`
}
export const stats = `SELECT waiting, claimed, dead, ended, (SELECT count(*) FROM comfy_job
    WHERE state = 'waiting' AND not_before > 0 AND not_before > ${now}) AS delayed FROM comfy_queue`

/** The version, how many have ended, and in how many milliseconds the next claim runs out. */
export const look = `SELECT version, dead + ended AS remembered,
  (SELECT min(expires_at) FROM comfy_job WHERE state = 'claimed') - ${now} AS due FROM comfy_queue`
/** After this sequence, at most so many. */
export const waiting = `SELECT ${head}, version, state, ${inMs}, run FROM comfy_job
  WHERE state = 'waiting' AND sequence > ? ORDER BY sequence LIMIT ?`
/** After this version and sequence, at most so many. */
export const changes = `SELECT ${head}, version, state, ${inMs}, run FROM comfy_job
  WHERE (version, sequence) > (?, ?) ORDER BY version, sequence LIMIT ?`

/** The oldest that ended: so many, but at most so many. */
export const trimCount = `DELETE FROM comfy_job WHERE sequence IN
  (SELECT sequence FROM comfy_job WHERE ended_at IS NOT NULL ORDER BY ended_at LIMIT min(?, ?)) RETURNING sequence`
/** Age in milliseconds, at most so many; those a person has to look at stay. */
export const trimAge = `DELETE FROM comfy_job WHERE sequence IN (SELECT sequence FROM comfy_job
  WHERE ended_at IS NOT NULL AND state <> 'dead' AND ended_at <= ${now} - ? ORDER BY ended_at LIMIT ?) RETURNING sequence`
