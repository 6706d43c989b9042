// JSON text as the server's json.dumps writes it: spaces after commas and colons, ASCII only, NaN bare.
import type { Json } from "@effect-comfyui/workflow/Json"

const string = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

export const dumps = (value: Json): string => {
  if (typeof value === "string") return string(value)
  if (typeof value !== "object" || value === null) return String(value)
  if (Array.isArray(value)) return `[${value.map(dumps).join(", ")}]`
  return `{${Object.entries(value).map(([key, member]) => `${string(key)}: ${dumps(member)}`).join(", ")}}`
}
