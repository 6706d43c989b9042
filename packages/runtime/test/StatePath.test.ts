import * as StatePath from "@effect-comfyui/runtime/StatePath"
import { assert, describe, it } from "@effect/vitest"

const linux = { platform: "linux", home: "/home/me", env: {} }

describe("the folder for state", () => {
  it("is where each system keeps it", () => {
    const cases = [
      [linux, "/home/me/.local/state/effect-comfyui/queue.db"],
      [{ ...linux, env: { XDG_STATE_HOME: "/state" } }, "/state/effect-comfyui/queue.db"],
      [{ ...linux, env: { XDG_STATE_HOME: "state" } }, "/home/me/.local/state/effect-comfyui/queue.db"],
      [{ ...linux, env: { XDG_STATE_HOME: "" } }, "/home/me/.local/state/effect-comfyui/queue.db"],
      [
        { platform: "darwin", home: "/Users/me", env: {} },
        "/Users/me/Library/Application Support/effect-comfyui/queue.db"
      ],
      [
        { platform: "win32", home: "C:\\Users\\me", env: { LOCALAPPDATA: "D:\\Local" } },
        "D:\\Local\\effect-comfyui\\queue.db"
      ],
      [{ platform: "win32", home: "C:\\Users\\me", env: {} }, "C:\\Users\\me\\AppData\\Local\\effect-comfyui\\queue.db"]
    ] as const
    for (const [surroundings, path] of cases) assert.strictEqual(StatePath.queue(surroundings), path)
  })
})
