import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import type { JobHead } from "@effect-comfyui/pool/JobHead"

export const headOf = (sequence: number, more: Partial<JobHead> = {}): JobHead => ({
  id: JobId.make(`job-${sequence}`),
  priority: 0,
  tenant: "tenant",
  affinity: "a1:a",
  placement: "",
  cost: 1_000,
  notBefore: 0,
  sequence,
  ...more
})

export const server = (name: string) => BackendId.make(name)

/** The same numbers at every run, from 0 to 1. */
export const seeded = (seed: number) => (): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
  return (seed >>> 0) / 0x1_0000_0000
}
