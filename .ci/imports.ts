// Who may import whom. `npm run check` holds every import in packages/*/src against these tables.

/** The packages that the `src` of a package may import; also of those that do not exist yet. */
export const directions: Readonly<Record<string, ReadonlyArray<string>>> = {
  workflow: [],
  protocol: ["workflow"],
  execution: ["workflow"],
  profiling: ["workflow", "execution"],
  client: ["workflow", "protocol", "execution"],
  pool: ["workflow", "execution", "profiling"],
  testing: ["workflow", "protocol", "execution", "client", "pool"],
  runtime: ["workflow", "protocol", "execution", "profiling", "client", "pool"],
  cli: ["runtime", "testing"]
}

/** Packages that only some modules of a package may import: its fakes, faults and cassettes know neither. */
export const reserved: Readonly<
  Record<string, { readonly packages: ReadonlyArray<string>; readonly modules: RegExp }>
> = {
  testing: { packages: ["client", "pool"], modules: /^([A-Z]\w*Contract|ComfyTest|Expect|internal\/queueTrial)\.ts$/ }
}

/** Modules that need Node: the only ones to import Node's own modules and these packages; deep imports, in no barrel. */
export const nodeModule = /Node\.ts$/
export const nodePackages: ReadonlyArray<string> = ["ws", "@effect/platform-node"]

/** Packages whose barrel costs at every cold start: only their modules are imported. */
export const deepOnly = /^(effect|@effect\/platform-node|@effect-comfyui\/[^/]+)$/
