import * as Json from "@effect-comfyui/workflow/Json"
import * as Frame from "../Frame.ts"
import type { Preview, PreviewMetadata, ProgressText } from "../ServerMessage.ts"

/** A length word and the text. */
const counted = (text: string): ReadonlyArray<number | Uint8Array> => {
  const bytes = Frame.utf8(text)
  return [bytes.length, bytes]
}

const metadataText = (metadata: PreviewMetadata, imageType: Frame.ImageType): string =>
  Json.stringify({
    ...metadata.raw,
    node_id: metadata.nodeId,
    prompt_id: metadata.promptId,
    display_node_id: metadata.displayNodeId,
    parent_node_id: metadata.parentNodeId,
    real_node_id: metadata.realNodeId,
    image_type: imageType
  })

export const writeBinary = (message: Preview | ProgressText): Uint8Array => {
  if (message.frame !== null) return message.frame
  if (message._tag === "ProgressText") {
    const promptId = message.promptId === null ? [] : counted(message.promptId)
    return Frame.concat(Frame.Kind.text, ...promptId, ...counted(message.node), Frame.utf8(message.text))
  }
  return message.metadata === null
    ? Frame.concat(Frame.Kind.preview, message.imageType === "image/png" ? 2 : 1, message.image)
    : Frame.concat(
      Frame.Kind.previewWithMetadata,
      ...counted(metadataText(message.metadata, message.imageType)),
      message.image
    )
}
