import { play } from "./play.ts"
import { frames } from "./rows/frames.ts"

play("frames", frames)
