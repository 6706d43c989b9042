/** The proof that a file of a job's outputs was collected: where it lies now, and how large it is. */
import * as Schema from "effect/Schema"

/**
 * One file of one node, stored. `location` is the sink's word: a path, an address. `sizeBytes` is what was received and
 * what the server announced. `sha256`, 64 lowercase hexadecimal digits, where the sink says it. Survives JSON.
 */
export const Receipt = Schema.Struct({
  nodeId: Schema.String,
  file: Schema.Struct({ filename: Schema.String, subfolder: Schema.String, type: Schema.String }),
  location: Schema.String,
  sizeBytes: Schema.Int,
  sha256: Schema.optionalKey(Schema.String)
})
export type Receipt = typeof Receipt.Type
