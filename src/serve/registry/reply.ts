import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Digest } from '../../oci/digest.ts'
import type { RequestLogEntry } from './request.ts'

/** A whole answer as a value, so that it can be inspected and changed before it is sent. */
export interface Reply {
  status: number
  headers: Record<string, string>
  body?: Uint8Array | (() => AsyncIterable<Uint8Array>)
  /** For the content of a manifest or blob: which one, and the offset in it at which the body begins. */
  content?: { kind: 'manifest' | 'blob'; digest: Digest; offset: number; size: number }
  /** Sends the body instead of {@link send}, after the head. It has to end or destroy the response. */
  sendBody?: (response: ServerResponse, count: (bytes: number) => void) => Promise<void>
}

/** The error codes of distribution-spec § Error Codes, and those that Docker's registry adds. */
export type FaultCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'PAGINATION_NUMBER_INVALID'
  | 'SIZE_INVALID'
  | 'TAG_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNAVAILABLE'
  | 'UNKNOWN'
  | 'UNSUPPORTED'

export function json(value: unknown, headers: Record<string, string> = {}, status = 200): Reply {
  const body = Buffer.from(JSON.stringify(value))
  return {
    status,
    headers: { 'Content-Type': 'application/json', 'Content-Length': String(body.length), ...headers },
    body,
  }
}

export interface Fault {
  code: FaultCode
  message: string
  detail?: unknown
}

export function faults(status: number, errors: Fault[], headers: Record<string, string> = {}): Reply {
  return json({ errors }, headers, status)
}

export function fault(
  status: number,
  code: FaultCode,
  message: string,
  headers: Record<string, string> = {},
): Reply {
  return faults(status, [{ code, message }], headers)
}

export function empty(status: number, headers: Record<string, string> = {}): Reply {
  return { status, headers: status === 204 ? headers : { 'Content-Length': '0', ...headers } }
}

export function notAllowed(allow: string): Reply {
  return fault(405, 'UNSUPPORTED', `this takes ${allow}`, { Allow: allow })
}

/**
 * Sends a reply. Sets the status in the log entry before the client can see it, and counts body bytes as they are sent.
 * Rejects if the client goes away before the end.
 */
export async function send(
  method: string,
  response: ServerResponse,
  reply: Reply,
  entry: RequestLogEntry,
): Promise<void> {
  entry.status = reply.status
  response.writeHead(reply.status, { 'Docker-Distribution-API-Version': 'registry/2.0', ...reply.headers })
  const { body, sendBody } = reply
  if (method === 'HEAD' || body === undefined) {
    response.end()
    return
  }
  if (sendBody) {
    await sendBody(response, (bytes) => (entry.bytesSent += bytes))
    return
  }
  await pipeline(
    typeof body === 'function' ? body() : [body],
    async function* (source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
      for await (const chunk of source) {
        entry.bytesSent += chunk.length
        yield chunk
      }
    },
    response,
  )
}
