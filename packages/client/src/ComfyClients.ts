/** Clients by the name of their server: each is made when it is first asked for and closed when nobody uses it. */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as LayerMap from "effect/LayerMap"
import * as Schema from "effect/Schema"
import type { WebSocketConstructor } from "effect/socket/Socket"
import type { BaseUrlError } from "./BaseUrl.ts"
import { type ComfyClient, layer as layerClient, type Options } from "./ComfyClient.ts"

/** No server has this name. */
export class UnknownServer extends Schema.TaggedError<UnknownServer>()("UnknownServer", { name: Schema.String }) {
  override get message(): string {
    return `no server is called ${this.name}`
  }
}

/**
 * Named servers. `ComfyClients.get(name)` is a layer: `Effect.provide(program, clients.get("gpu-1"))`; all users of one
 * name share one client.
 */
export class ComfyClients extends Context.Service<
  ComfyClients,
  LayerMap.LayerMap<string, ComfyClient, BaseUrlError | UnknownServer>
>()("@effect-comfyui/client/ComfyClients") {}

/** Clients of these servers. An unused one is closed after `idleTimeToLive`, by default a minute. */
export const layer = (
  servers: Readonly<Record<string, Options>>,
  options: { readonly idleTimeToLive?: Duration.Input } = {}
): Layer.Layer<ComfyClients, never, HttpClient | WebSocketConstructor> =>
  Layer.effect(
    ComfyClients,
    LayerMap.make(
      (name: string): Layer.Layer<ComfyClient, BaseUrlError | UnknownServer, HttpClient | WebSocketConstructor> => {
        const server = Object.hasOwn(servers, name) ? servers[name] : undefined
        return server === undefined
          ? Layer.unwrap(Effect.fail(new UnknownServer({ name })))
          : layerClient({ id: name, ...server })
      },
      { idleTimeToLive: options.idleTimeToLive ?? "1 minute" }
    )
  )
