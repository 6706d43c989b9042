export interface Raw {
  /** One prompt to its last frame; `each` gets every frame as it came. */
  readonly run: (
    each?: (message: {
      readonly type: string
      readonly data: Record<string, unknown>
    }) => void
  ) => Promise<void>
  readonly close: () => void
}
/** A connected socket. Binary frames are counted as messages without a type. */
export declare const connect: (url: string, by?: "fetch" | "undici") => Promise<Raw>
// # sourceMappingURL=raw.d.ts.map
