import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Reply } from './reply.ts'
import type { RequestLogEntry } from './request.ts'

/**
 * Sends a reply. The log entry has its status before the client can see it, and counts body bytes as they go.
 * Rejects where the client goes away before the end.
 */
export async function send(
  method: string,
  response: ServerResponse,
  reply: Reply,
  entry: RequestLogEntry,
): Promise<void> {
  entry.status = reply.status
  response.writeHead(reply.status, { 'Docker-Distribution-API-Version': 'registry/2.0', ...reply.headers })
  const { body, breakAfter } = reply
  if (method === 'HEAD' || body === undefined) {
    response.end()
    return
  }
  const chunks = typeof body === 'function' ? body() : [body]
  if (breakAfter !== undefined) {
    await sendPart(response, chunks, breakAfter, entry)
    if (reply.reset) response.socket?.resetAndDestroy()
    else response.destroy()
    return
  }
  await pipeline(
    chunks,
    async function* (source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
      for await (const chunk of source) {
        entry.bytesSent += chunk.length
        yield chunk
      }
    },
    response,
  )
}

/** Waits for each piece to reach the operating system, because destroying a socket drops what has not. */
async function sendPart(
  response: ServerResponse,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limit: number,
  entry: RequestLogEntry,
): Promise<void> {
  response.flushHeaders()
  let left = limit
  for await (const chunk of chunks) {
    const part = chunk.subarray(0, left)
    if (part.length === 0) break
    left -= part.length
    entry.bytesSent += part.length
    await new Promise<void>((resolve, reject) => {
      response.write(part, (error) => (error ? reject(error) : resolve()))
    })
  }
}
