/** The machines of the night: three sizes of cards, each a fake server with its own speed, disk, cache and release. */
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { FakeServers } from "@effect-comfyui/testing"
import { ComfyTest, TestNodes } from "@effect-comfyui/testing"
import { models, videoNode } from "./Work.ts"

/** One size of card. */
interface Card {
  readonly name: string
  readonly vramBytes: number
  /** A step takes so many times as long as on the middle card. */
  readonly pace: number
  readonly diskBytesPerSecond: number
  readonly cache: FakeServers.ServerOptions["cache"]
  /** Of every five servers so many have it. */
  readonly share: number
}

const small: Card = {
  name: "small",
  vramBytes: 12e9,
  pace: 2,
  diskBytesPerSecond: 5e8,
  cache: "classic",
  share: 2
}
export const middle: Card = {
  name: "middle",
  vramBytes: 24e9,
  pace: 1,
  diskBytesPerSecond: 1e9,
  cache: "ram",
  share: 2
}
const large: Card = { name: "large", vramBytes: 80e9, pace: 0.4, diskBytesPerSecond: 2e9, cache: { lru: 30 }, share: 1 }

/** From the smallest to the largest. */
export const cards: ReadonlyArray<Card> = [small, middle, large]

const inTurn = cards.flatMap((card) => Array.from({ length: card.share }, () => card))

/** The card of the n-th server, from 1. */
export const cardOf = (n: number): Card => inTurn[(n - 1) % inTurn.length] ?? middle

export const idOf = (n: number): BackendId => BackendId.make(ComfyTest.nameOf(n))

export const urlOf = (n: number): string => ComfyTest.urlOf(ComfyTest.nameOf(n))

/** Pictures of 64 × 64 stand for those of a million pixels: what is not drawn costs nothing. */
const magnified = 1e6 / (64 * 64)

/** A server with such a card. */
export const withCard = ({ cache, diskBytesPerSecond, pace, vramBytes }: Card): FakeServers.ServerOptions => ({
  nodes: [...TestNodes.nodes, videoNode],
  models,
  cache,
  hardware: {
    vramBytes,
    diskBytesPerSecond,
    stepMsPerMegapixel: 625 * pace * magnified,
    workBytesPerMegapixel: 1.5e9 * magnified
  }
})

/** The n-th server; one of five runs an older release. */
export const serverOptions = (n: number, seed: number): FakeServers.ServerOptions => ({
  ...withCard(cardOf(n)),
  seed: seed + n,
  version: n % 5 === 0 ? "0.27.0" : "0.33.0"
})
