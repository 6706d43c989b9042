import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as Credentials from "@effect-comfyui/client/Credentials"
import { Cassette, FakeServers, Tape, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { connected, events, recorded, url } from "./support/cassette.ts"

const secrets = {
  bearer: "s3cr3t-bearer-token",
  cookie: "c00kie-of-the-gate",
  query: "query-t0ken-value",
  header: "gate-key-0123456789",
  org: "comfyui-0rg-api-key",
  extra: "extra \"quoted\" p4ssword é",
  value: "named-only-by-value"
}

describe("Cassette.record strikes out secrets", () => {
  it.effect("in headers, cookies, queries, extra_data, and wherever they come again", () =>
    Effect.gen(function*() {
      const program = Effect.andThen(
        connected,
        events(Workflows.textToImage({ prompt: `echo ${secrets.extra} and ${secrets.value}`, steps: 1 }), {
          extraData: { my_password: secrets.extra, note: `${secrets.header} in plain sight` }
        })
      )
      const client: Partial<ComfyClient.Options> = {
        comfyOrgApiKey: Redacted.make(secrets.org),
        credentials: Credentials.all(
          Credentials.bearer(Redacted.make(secrets.bearer)),
          Credentials.header("x-gate", Redacted.make(secrets.header)),
          Credentials.query("token", Redacted.make(secrets.query)),
          Credentials.cookie("gate", Redacted.make(secrets.cookie))
        )
      }
      const record = { redact: { values: [Redacted.make(secrets.value)] } }
      const { text } = yield* recorded(program, { client, record })
      for (const secret of Object.values(secrets)) {
        assert.notInclude(text, secret)
        assert.notInclude(text, encodeURIComponent(secret))
        assert.notInclude(text, JSON.stringify(secret).slice(1, -1))
      }
      assert.include(text, "token=__redacted__")
      assert.include(text, "\\\"api_key_comfy_org\\\":\\\"__redacted__\\\"")
      // Another key replays it: what was struck out matches anything.
      const replay = Effect.provide(
        program,
        ComfyClient.layer({
          ...client,
          url,
          comfyOrgApiKey: Redacted.make("another key"),
          credentials: Credentials.query("token", Redacted.make("other"))
        })
      )
      const again = yield* Effect.provide(replay, Cassette.replay(text))
      assert.strictEqual(again.at(-1)?._tag, "Completed")
    }))

  it.effect("also of basic authentication, and what answers set", () =>
    Effect.gen(function*() {
      const { text } = yield* recorded(
        Effect.flatMap(ComfyClient.ComfyClient, (client) => client.probe),
        { client: { credentials: Credentials.basic("me", Redacted.make("pa55w0rd-basic")), socket: "none" } }
      )
      assert.notInclude(text, "pa55w0rd-basic")
      assert.notInclude(text, btoa("me:pa55w0rd-basic"))
    }))

  it.effect("under names that were configured, in any writing", () =>
    Effect.gen(function*() {
      const server = FakeServers.layer({ [url]: {} })
      const text = yield* Effect.gen(function*() {
        const recorder = yield* Cassette.Recorder
        yield* HttpClient.execute(
          HttpClientRequest.post(`${url}/userdata/x?shopId=1234&keep=5678`).pipe(
            HttpClientRequest.bodyJsonUnsafe({ "shop-id": "12", nested: [{ shop_id: "34" }], keep: "56" })
          )
        )
        return yield* recorder.text
      }).pipe(Effect.provide(Cassette.record({ redact: { names: ["Shop-Id"] } }).pipe(Layer.provide(server))))
      assert.include(text, "?shopId=__redacted__&keep=5678")
      assert.include(
        text,
        String.raw`{\"shop-id\":\"__redacted__\",\"nested\":[{\"shop_id\":\"__redacted__\"}],\"keep\":\"56\"}`
      )
    }))
})

/** Texts that a gate may choose for a password. */
const password = fc.string({ minLength: 6, maxLength: 40, unit: "grapheme" }).filter((text) =>
  text === text.trim() && !/[\u0000-\u001f]/.test(text) && !"__redacted__".includes(text)
)

/** How a secret may stand in a file of JSON lines that hold JSON. */
const forms = (secret: string): ReadonlyArray<string> => {
  const json = JSON.stringify(secret).slice(1, -1)
  return [secret, json, JSON.stringify(json).slice(1, -1), encodeURIComponent(secret)]
}

describe("no secret is ever in a file", () => {
  it.effect("whatever it is, in bodies, queries and answers that repeat it", () =>
    Effect.gen(function*() {
      for (const secret of fc.sample(password, { numRuns: 100, seed: 7 })) {
        const text = yield* Effect.gen(function*() {
          const recorder = yield* Cassette.Recorder
          // The server gives back what it was given: under no name at all.
          const file = HttpClientRequest.post(`${url}/userdata/x.txt?overwrite=true`)
          yield* HttpClient.execute(HttpClientRequest.bodyText(file, `my note: ${secret}`))
          yield* Effect.flatMap(HttpClient.get(`${url}/userdata/x.txt`), (answer) => answer.text)
          const settings = HttpClientRequest.post(`${url}/settings`)
          yield* HttpClient.execute(
            HttpClientRequest.bodyJsonUnsafe(settings, { "gate.apiKey": secret, list: [secret], note: `<${secret}>` })
          )
          yield* Effect.flatMap(HttpClient.get(`${url}/settings`), (answer) => answer.text)
          yield* HttpClient.get(`${url}/queue?access_token=${encodeURIComponent(secret)}`)
          return yield* recorder.text
        }).pipe(Effect.provide(Cassette.record().pipe(Layer.provide(FakeServers.layer({ [url]: {} })))))
        for (const form of forms(secret)) assert.notInclude(text, form, JSON.stringify(secret))
        assert.isTrue(Result.isSuccess(Tape.parse(text)))
      }
    }))
})
