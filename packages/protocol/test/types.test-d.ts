import type * as Jobs from "@effect-comfyui/protocol/Jobs"
import * as Queue from "@effect-comfyui/protocol/Queue"
import type * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import type * as Wire from "@effect-comfyui/protocol/Wire"
import type { Json } from "@effect-comfyui/workflow/Json"
import { describe, expectTypeOf, it } from "vitest"

describe("types", () => {
  it("let enum values of newer servers through and still complete the known ones", () => {
    expectTypeOf<"completed">().toExtend<Jobs.Job["status"]>()
    expectTypeOf<"paused">().toExtend<Jobs.Job["status"]>()
    expectTypeOf<number>().not.toExtend<Jobs.Job["status"]>()
  })

  it("say what a number of the wire may be", () => {
    expectTypeOf<Queue.Item[0]>().toEqualTypeOf<number | bigint>()
    expectTypeOf(Queue.promptIdOf).returns.toEqualTypeOf<string>()
  })

  it("make every wire value JSON, so that it can be written and searched", () => {
    expectTypeOf<Jobs.Page>().toExtend<Json>()
    expectTypeOf<Wire.Type<typeof Queue.Queue>>().toExtend<Json>()
    expectTypeOf<ServerMessage.ProgressNode>().toExtend<Json>()
  })

  it("discriminate messages by their tag", () => {
    type Of<Tag> = Extract<ServerMessage.ServerMessage, { readonly _tag: Tag }>
    expectTypeOf<Of<"Progress">>().toEqualTypeOf<ServerMessage.Progress>()
    expectTypeOf<Of<"Preview">["image"]>().toEqualTypeOf<Uint8Array>()
    expectTypeOf<ServerMessage.TextMessage["raw"]>().toEqualTypeOf<{ readonly [key: string]: Json } | null>()
  })
})
