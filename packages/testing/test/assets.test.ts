import { assert, describe, it } from "@effect/vitest"
import { inflateSync } from "node:zlib"
import { Server, textOf, upload } from "./support/server.ts"

const post = (server: Server, name: string, content: string, fields: Readonly<Record<string, string>> = {}) => {
  const { body, headers } = upload(name, new TextEncoder().encode(content), fields)
  // The part of an asset is called `file`.
  const renamed = Buffer.from(body).toString("latin1").replace("name=\"image\"", "name=\"file\"")
  const answer = server.http("POST", "/api/assets", Buffer.from(renamed, "latin1"), headers)
  return { status: answer.status, asset: JSON.parse(textOf(answer.body)) }
}

const list = (server: Server, query: string) => JSON.parse(textOf(server.get(`/api/assets?${query}`).body))
const names = (server: Server, query: string): ReadonlyArray<string> =>
  list(server, query).assets.map((asset: { readonly name: string }) => asset.name)

describe("assets", () => {
  it("are off unless asked for, and unknown to old releases", () => {
    assert.strictEqual(new Server().get("/api/assets").status, 503)
    assert.strictEqual(new Server({ assets: true, version: "0.12.3" }).get("/api/assets").status, 404)
    const flags = (assets: boolean) => JSON.parse(textOf(new Server({ assets }).get("/features").body)).assets
    assert.deepStrictEqual([flags(false), flags(true)], [false, true])
  })

  it("are known by their content: the same bytes again make a reference, not a file", () => {
    const server = new Server({ assets: true })
    const first = post(server, "a.txt", "content", { tags: "input,unit", name: "one" })
    const second = post(server, "b.txt", "content", { tags: "input", name: "two" })
    const other = post(server, "c.txt", "other", { tags: "input", name: "three" })
    assert.deepStrictEqual([first.status, second.status, other.status], [201, 200, 201])
    assert.deepStrictEqual([first.asset.created_new, second.asset.created_new], [true, false])
    assert.strictEqual(first.asset.hash, second.asset.hash)
    assert.notStrictEqual(first.asset.hash, other.asset.hash)
    assert.match(first.asset.hash, /^blake3:[0-9a-f]{64}$/)
    assert.notProperty(second.asset, "loader_path")
    assert.strictEqual(textOf(server.get(`/view?filename=${first.asset.hash}`).body), "content")
    assert.strictEqual(textOf(server.get(`/api/assets/${second.asset.id}/content`).body), "content")
    assert.strictEqual(server.http("HEAD", `/api/assets/hash/${first.asset.hash}`).status, 200)
    assert.strictEqual(server.http("DELETE", `/api/assets/${first.asset.id}`).status, 204)
    assert.strictEqual(server.http("DELETE", `/api/assets/${first.asset.id}`).status, 404)
  })

  it("are found by tags and names, page by page, without gaps", () => {
    const server = new Server({ assets: true, models: {} })
    for (let i = 0; i < 7; i++) {
      post(server, `${i}.txt`, `content ${i}`, { tags: `input,${i % 2 === 0 ? "even" : "odd"}`, name: `n${i}` })
      server.pass(10)
    }
    assert.deepStrictEqual(names(server, "order=asc&tags_all=even"), ["n0", "n2", "n4", "n6"])
    assert.deepStrictEqual(names(server, "exclude_tags=even&sort=name"), ["n5", "n3", "n1"])
    assert.deepStrictEqual(names(server, "name_contains=N3"), ["n3"])
    const pages: Array<string> = []
    let cursor = ""
    for (let page = 0; page < 4; page++) {
      const { assets, has_more, next_cursor, total } = list(server, `limit=2${cursor}`)
      pages.push(...assets.map((asset: { readonly name: string }) => asset.name))
      assert.strictEqual(total, 7)
      assert.strictEqual(has_more, page < 3)
      cursor = `&after=${next_cursor}`
    }
    assert.deepStrictEqual(pages, ["n6", "n5", "n4", "n3", "n2", "n1", "n0"])
  })

  it("refuse what is not well said", () => {
    const server = new Server({ assets: true })
    const refusal = (path: string) => {
      const answer = server.get(path)
      return [answer.status, JSON.parse(textOf(answer.body)).error.code]
    }
    assert.deepStrictEqual(refusal("/api/assets?limit=501"), [400, "INVALID_QUERY"])
    assert.deepStrictEqual(refusal("/api/assets?limit=0"), [400, "INVALID_QUERY"])
    assert.deepStrictEqual(refusal("/api/assets?sort=x"), [400, "INVALID_QUERY"])
    assert.deepStrictEqual(refusal("/api/assets?after=bogus"), [400, "INVALID_CURSOR"])
    assert.deepStrictEqual(refusal("/api/assets/00000000-0000-4000-8000-000000000000"), [404, "ASSET_NOT_FOUND"])
    assert.strictEqual(server.get("/api/assets/notauuid").body.length, 0)
    assert.strictEqual(post(server, "a.txt", "").asset.error.code, "EMPTY_UPLOAD")
    const { status } = server.http("POST", "/api/assets/from-hash", { hash: "blake3:00", name: "x", tags: [] })
    assert.strictEqual(status, 404)
  })

  it("stand with their ids in what nodes show, and in history", () => {
    const server = new Server({ assets: true })
    const conn = server.open("c")
    const id = server.prompt({
      1: { class_type: "EmptyImage", inputs: { width: 16, height: 8, batch_size: 1, color: 0 } },
      2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "x" } }
    }, { client_id: "c" })
    server.settle()
    const [image] = JSON.parse(textOf(server.get(`/history/${id}`).body))[id].outputs["2"].images
    const asset = JSON.parse(textOf(server.get(`/api/assets/${image.id}`).body))
    assert.deepStrictEqual([asset.job_id, asset.name, asset.metadata.width, asset.metadata.height], [
      id,
      "x_00001_.png",
      16,
      8
    ])
    assert.includeMembers([...server.types(conn)], ["assets.seed.started", "assets.seed.completed"])
  })
})

describe("compressed answers", () => {
  it("go to clients that take deflate, of any size and whole", () => {
    const server = new Server({ compress: true })
    for (const path of ["/prompt", "/object_info"]) {
      const plain = server.get(path)
      const packed = server.get(path, { "accept-encoding": "gzip, deflate" })
      assert.strictEqual(packed.headers["content-encoding"], "deflate")
      assert.notProperty(plain.headers, "content-encoding")
      assert.strictEqual(inflateSync(packed.body).toString(), textOf(plain.body))
      assert.strictEqual(packed.headers["content-length"], String(packed.body.length))
    }
    assert.notProperty(server.get("/prompt", { "accept-encoding": "br" }).headers, "content-encoding")
    assert.notProperty(new Server().get("/prompt", { "accept-encoding": "deflate" }).headers, "content-encoding")
  })
})
