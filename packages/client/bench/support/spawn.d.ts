import { type ChildProcess } from "node:child_process"
export interface Child {
  readonly child: ChildProcess
  /** The first line that it printed. */
  readonly line: string
}
/** Starts a program beside this one and waits for its first line. */
export declare const start: (
  program: string,
  args: ReadonlyArray<string>,
  flags?: ReadonlyArray<string>
) => Promise<Child>
/** The bench server in one of its modes. */
export declare const serve: (mode: string) => Promise<{
  readonly url: string
  readonly close: () => void
}>
// # sourceMappingURL=spawn.d.ts.map
