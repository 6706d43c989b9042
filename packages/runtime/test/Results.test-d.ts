import type { Outputs } from "@effect-comfyui/execution/Outputs"
import type { Shape } from "@effect-comfyui/runtime/Comfy"
import * as Results from "@effect-comfyui/runtime/Results"
import type * as Effect from "effect/Effect"
import { expectTypeOf, test } from "vitest"

const declared = Results.declare({
  hero: Results.image("9"),
  all: Results.images("9"),
  caption: Results.text("12"),
  sound: Results.optional(Results.audio("15"))
})

declare const success: Results.Success<typeof declared extends Results.Declared<infer A> ? A : never>

test("a declaration gives its own names and types, and no others", () => {
  expectTypeOf(success.outputs.hero).toEqualTypeOf<Results.ImageFile>()
  expectTypeOf(success.outputs.all).toEqualTypeOf<ReadonlyArray<Results.ImageFile>>()
  expectTypeOf(success.outputs.caption).toEqualTypeOf<string>()
  expectTypeOf(success.outputs.sound).toEqualTypeOf<Results.AudioFile | null>()
  // @ts-expect-error: a misspelt name
  void success.outputs.heroe
  // @ts-expect-error: no picture
  const text: Results.ImageFile = success.outputs.caption
  void text
})

test("what is no field cannot be declared", () => {
  expectTypeOf<{ readonly hero: "9" }>().not.toExtend<Results.Fields>()
  expectTypeOf<{ readonly hero: Results.Field<string> }>().toExtend<Results.Fields>()
})

test("without a declaration the outputs are those of the nodes", () => {
  expectTypeOf<Effect.Success<ReturnType<Shape["success"]>>["outputs"]>().toEqualTypeOf<Outputs>()
})
