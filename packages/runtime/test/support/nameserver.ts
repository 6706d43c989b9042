// A nameserver of one record.
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"

const name = (text: string): Buffer =>
  Buffer.concat([
    ...text.split(".").map((part) => Buffer.from(`${String.fromCharCode(part.length)}${part}`)),
    Buffer.alloc(1)
  ])

const uint16 = (...values: ReadonlyArray<number>): Buffer =>
  Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]))

/** Its port on loopback; whatever service it is asked for is at gpu-7.test:9000, weight 4. */
export const nameserver = Effect.map(
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const socket = createSocket("udp4")
      socket.on("message", (question, { address, port }) => {
        const data = Buffer.concat([uint16(1, 4, 9000), name("gpu-7.test")])
        const record = Buffer.concat([uint16(0xc00c, 33, 1, 0, 60, data.length), data])
        const header = Buffer.concat([question.subarray(0, 2), uint16(0x8180, 1, 1, 0, 0)])
        const asked = question.subarray(12, question.indexOf(0, 12) + 5)
        socket.send(Buffer.concat([header, asked, record]), port, address)
      })
      socket.bind(
        0,
        "127.0.0.1",
        () => resume(Effect.succeed({ port: socket.address().port, close: () => socket.close() }))
      )
    }),
    ({ close }) => Effect.sync(close)
  ),
  ({ port }) => port
)
