import { play } from "./play.ts"
import { network } from "./rows/network.ts"

play("network", network)
