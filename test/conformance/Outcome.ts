/** What came of a case. */

/** Why a case cannot be run; whatever else goes wrong is a failure. */
export const SkipReason = {
  /** The body of the POST, or any answer or frame that tells how the prompt ended, is not in the recording. */
  bodyNotRecorded: "body-not-recorded",
  /** No prompt of this recording was accepted, or refused, that a client could send. */
  noAcceptedPrompt: "no-accepted-prompt"
} as const
export type SkipReason = (typeof SkipReason)[keyof typeof SkipReason]

/** `detail` is for people. */
export type Outcome =
  | { readonly _tag: "Passed"; readonly detail: string }
  | { readonly _tag: "Failed"; readonly detail: string }
  | { readonly _tag: "Skipped"; readonly reason: SkipReason }
  /** Left out by name, in `conformance.skip.json`. */
  | { readonly _tag: "Listed"; readonly reason: string }

/** One case of one file. */
export interface Case {
  readonly file: string
  readonly name: string
  readonly outcome: Outcome
}
