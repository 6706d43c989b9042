/** Node's side of both seams: HTTP on undici, sockets on `ws`. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Duration from "effect/Duration"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as Defaults from "./Defaults.ts"
import { type Tls, toNode } from "./TlsNode.ts"
import * as WebSocketNode from "./WebSocketNode.ts"

/** Options of both sides. */
export interface PlatformOptions extends WebSocketNode.WebSocketOptions {
  readonly tls?: Tls
  /** How long a connection may take to be made. Default 10 s. */
  readonly connectTimeout?: Duration.Input
  /**
   * How long an idle connection is kept, unless the server names a time. Default 20 s: longer than the time between two
   * probes of a pool, so that a fleet at rest does not dial for each, and shorter than servers and proxies wait.
   */
  readonly keepAlive?: Duration.Input
}

/**
 * HTTP over undici with our limits. Its own header and body timeouts are off: the client bounds each wait itself, so
 * that virtual time and real time behave alike.
 */
export const layerHttp = (options: PlatformOptions = {}): Layer.Layer<HttpClient> =>
  NodeHttpClient.layerUndiciNoDispatcher.pipe(
    Layer.provide(NodeHttpClient.layerDispatcherOptions({
      connect: {
        timeout: Duration.toMillis(options.connectTimeout ?? Defaults.socket.openTimeout),
        ...toNode(options.tls)
      },
      keepAliveTimeout: Duration.toMillis(options.keepAlive ?? Defaults.http.keepAlive),
      headersTimeout: 0,
      bodyTimeout: 0,
      pipelining: 1
    }))
  )

/** Both seams for Node. */
export const layer = (options: PlatformOptions = {}): Layer.Layer<HttpClient | WebSocketConstructor> =>
  Layer.merge(layerHttp(options), WebSocketNode.layer(options))
