/** Finding servers by the DNS of the machine. */
import * as Effect from "effect/Effect"
import { Resolver } from "node:dns/promises"
import { type DiscoveryError, failure, type SrvRecord } from "./Discovery.ts"

/** Looks a service up, such as `_comfyui._tcp.example.org`; with `nameservers` (`host:port`) at these. */
export const resolveSrv =
  (nameservers: ReadonlyArray<string> = []) =>
  (service: string): Effect.Effect<ReadonlyArray<SrvRecord>, DiscoveryError> =>
    Effect.suspend(() => {
      const resolver = new Resolver({ timeout: 5_000, tries: 2 })
      if (nameservers.length > 0) resolver.setServers([...nameservers])
      return Effect.onInterrupt(
        Effect.tryPromise({
          try: () => resolver.resolveSrv(service),
          catch: failure(service)
        }),
        () => Effect.sync(() => resolver.cancel())
      )
    })
