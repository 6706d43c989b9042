export * as Estimates from "./Estimates.ts"
