// A form as bytes that we write: FormData would need Promises, which virtual time does not wait for.
import type { FileContent } from "@effect-comfyui/execution/Files"
import * as HttpBody from "effect/http/HttpBody"
import * as Stream from "effect/Stream"

/** The file part comes first; a server reads the fields after it as well. */
interface Form {
  readonly boundary: string
  readonly field: string
  readonly filename: string
  readonly content: FileContent
  readonly fields: Readonly<Record<string, string>>
}

const encoder = new TextEncoder()

/** As browsers do: quotes and line ends percent-encoded, everything else as UTF-8. */
const quoted = (name: string): string =>
  `"${name.replaceAll("\"", "%22").replaceAll("\r", "%0D").replaceAll("\n", "%0A")}"`

const head = ({ boundary, field, filename }: Form): Uint8Array =>
  encoder.encode(
    `--${boundary}\r\nContent-Disposition: form-data; name=${quoted(field)}; filename=${quoted(filename)}\r\n` +
      "Content-Type: application/octet-stream\r\n\r\n"
  )

const tail = ({ boundary, fields }: Form): Uint8Array =>
  encoder.encode(
    Object.entries(fields).map(([name, value]) =>
      `\r\n--${boundary}\r\nContent-Disposition: form-data; name=${quoted(name)}\r\n\r\n${value}`
    ).join("") + `\r\n--${boundary}--\r\n`
  )

export const body = (form: Form): HttpBody.HttpBody => {
  const contentType = `multipart/form-data; boundary=${form.boundary}`
  const [before, after] = [head(form), tail(form)]
  if (!(form.content instanceof Uint8Array)) {
    return HttpBody.stream(
      Stream.make(before).pipe(Stream.concat(form.content), Stream.concat(Stream.make(after))),
      contentType
    )
  }
  const bytes = new Uint8Array(before.byteLength + form.content.byteLength + after.byteLength)
  bytes.set(before, 0)
  bytes.set(form.content, before.byteLength)
  bytes.set(after, before.byteLength + form.content.byteLength)
  return HttpBody.uint8Array(bytes, contentType)
}
