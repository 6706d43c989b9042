import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as JobQueueContract from "@effect-comfyui/testing/JobQueueContract"

JobQueueContract.suite("the queue in memory", JobQueueMemory.layerMemory)
