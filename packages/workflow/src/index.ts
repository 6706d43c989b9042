export * as Json from "./Json.ts"
