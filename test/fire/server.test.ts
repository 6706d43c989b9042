import { assert, it } from "@effect/vitest"
import { play } from "./play.ts"
import { rows } from "./rows.ts"
import { server } from "./rows/server.ts"

play("server", server)

it("the rows that need no socket and no process are at least 24", () => {
  assert.isAtLeast(new Set(rows.map(({ row }) => row)).size, 24)
})
