import { holds } from "./support/law.ts"

holds(1)
