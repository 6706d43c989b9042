import * as BaseUrl from "@effect-comfyui/client/BaseUrl"
import { assert, describe, it } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

const urls = (text: string) => {
  const base = Result.getOrThrow(BaseUrl.parse(text))
  return [BaseUrl.httpUrl(base, "/queue"), BaseUrl.socketUrl(base, "a b&c").href]
}

const problem = (text: string) => {
  const parsed = BaseUrl.parse(text)
  return Result.isFailure(parsed) ? parsed.failure.problem : "none"
}

describe("BaseUrl", () => {
  it("takes schemes of both sides, prefixes, slashes and IPv6", () => {
    assert.deepStrictEqual(urls("http://gpu:8188"), ["http://gpu:8188/queue", "ws://gpu:8188/ws?clientId=a%20b%26c"])
    assert.deepStrictEqual(urls("wss://gpu/"), ["https://gpu/queue", "wss://gpu/ws?clientId=a%20b%26c"])
    assert.deepStrictEqual(urls("https://gpu/comfy//"), [
      "https://gpu/comfy/queue",
      "wss://gpu/comfy/ws?clientId=a%20b%26c"
    ])
    assert.deepStrictEqual(urls("ws://[::1]:8188/a/b/")[0], "http://[::1]:8188/a/b/queue")
  })

  it("makes userinfo a secret and shows it nowhere", () => {
    const base = Result.getOrThrow(BaseUrl.parse("http://me:p%40ss@gpu:8188/x"))
    assert.strictEqual(base.userinfo?.username, "me")
    assert.strictEqual(base.userinfo === undefined ? "" : Redacted.value(base.userinfo.password), "p@ss")
    assert.notInclude(BaseUrl.format(base) + BaseUrl.httpUrl(base, "/") + JSON.stringify(base), "p@ss")
  })

  it("says what is wrong with anything else", () => {
    assert.strictEqual(problem("localhost:8188"), "no-scheme")
    assert.strictEqual(problem("gpu"), "no-scheme")
    assert.strictEqual(problem(""), "no-scheme")
    assert.strictEqual(problem("ftp://gpu"), "unsupported-scheme")
    assert.strictEqual(problem("http://"), "malformed")
    assert.strictEqual(problem("http://a%zz:b@gpu"), "malformed")
    assert.strictEqual(problem("http://gpu?token=x"), "has-query")
    assert.strictEqual(problem("http://gpu/#a"), "has-fragment")
  })
})
