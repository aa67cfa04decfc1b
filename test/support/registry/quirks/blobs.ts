import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { createGzip, gzipSync } from 'node:zlib'
import type { Reply } from '../../../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from '../registry.ts'
import type { Quirk } from '../quirks.ts'
import { firstTime, type QuirkPart } from './part.ts'

/** What comes of a blob that is read, and in which form content comes at all. */
export function blobQuirks(on: ReadonlySet<Quirk>): QuirkPart {
  const cut = new Set<string>()
  return {
    after(request, given) {
      let reply = given
      if (reply.content?.kind === 'blob') reply = spoilBlob(request, reply)
      if (reply.content && request.method === 'GET') reply = encoded(reply)
      return reply
    },
  }

  function spoilBlob(request: EmbeddedRequest, reply: Reply): Reply {
    const { headers, content, body } = reply
    if (!content || typeof body !== 'function') return reply
    if (on.has('stored-blob-empty')) {
      const { 'Content-Range': _, ...others } = headers
      return { status: 200, headers: { ...others, 'Content-Length': '0' } }
    }
    if (request.method !== 'GET') return reply
    const length = Number(headers['Content-Length'])
    if (on.has('corrupt-blob')) {
      const at = Math.floor(content.size / 2) - content.offset
      reply = { ...reply, body: () => withFlippedByte(body(), at) }
    }
    if (reply.status === 206 && on.has('range-wrong-bytes')) {
      reply = { ...reply, body: () => withFlippedByte(body(), 0) }
    }
    const isBroken = on.has('truncate-once') || on.has('reset-once')
    if (isBroken && firstTime(cut, request.path)) {
      const sent = reply.body as () => AsyncIterable<Uint8Array>
      return {
        ...reply,
        sendBody: async (response, count) => {
          await sendPart(response, sent(), Math.floor(length / 2), count)
          // By a reset the client gets an error in place of an end.
          if (on.has('reset-once')) response.socket?.resetAndDestroy()
          else response.destroy()
        },
      }
    }
    if (on.has('wrong-content-length')) {
      const source = reply.body as () => AsyncIterable<Uint8Array>
      return {
        ...reply,
        headers: { ...headers, Connection: 'close' },
        body: () => shortened(source(), Math.max(0, length - 1)),
      }
    }
    if (on.has('no-content-length')) delete headers['Content-Length']
    return reply
  }

  function encoded(reply: Reply): Reply {
    const { headers, body, content } = reply
    if (on.has('gzip-label')) headers['Content-Encoding'] = 'gzip'
    if (!on.has(content?.kind === 'manifest' ? 'gzip-manifests' : 'gzip-blobs') || body === undefined)
      return reply
    const { 'Content-Length': _, ...others } = headers
    return {
      ...reply,
      headers: { ...others, 'Content-Encoding': 'gzip' },
      body: typeof body === 'function' ? () => Readable.from(body()).pipe(createGzip()) : gzipSync(body),
    }
  }
}

async function* withFlippedByte(source: AsyncIterable<Uint8Array>, at: number): AsyncGenerator<Uint8Array> {
  let offset = 0
  for await (const chunk of source) {
    const inside = at - offset
    offset += chunk.length
    if (inside < 0 || inside >= chunk.length) {
      yield chunk
      continue
    }
    const copy = Buffer.from(chunk)
    copy[inside] = (copy[inside] ?? 0) ^ 0xff
    yield copy
  }
}

async function* shortened(source: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  let left = length
  for await (const chunk of source) {
    if (left === 0) return
    const part = chunk.subarray(0, left)
    left -= part.length
    yield part
  }
}

/** Waits for each piece to reach the operating system, because destroying a socket drops what has not. */
async function sendPart(
  response: ServerResponse,
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
  count: (bytes: number) => void,
): Promise<void> {
  response.flushHeaders()
  let left = limit
  for await (const chunk of chunks) {
    const part = chunk.subarray(0, left)
    if (part.length === 0) break
    left -= part.length
    count(part.length)
    await new Promise<void>((resolve, reject) => {
      response.write(part, (error) => (error ? reject(error) : resolve()))
    })
  }
}
