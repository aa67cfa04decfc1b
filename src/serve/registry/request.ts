import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Route } from './routes.ts'

export interface RegistryRequest {
  method: string
  /** The raw path, without the query. */
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  route: Route
  /** `http://host:port` as the client addressed this server, for absolute URLs in answers. */
  origin: string
  message: IncomingMessage
  entry: RequestLogEntry
}

/** One request, as a test or a user wants to see it. Holds no secret: neither query nor credentials. */
export interface RequestLogEntry {
  method: string
  path: string
  /** Names of the query's parameters and their values, without those that could hold a secret. */
  query: Record<string, string>
  /** 0 until answered, and where the client went away before. */
  status: number
  /** The scheme of the Authorization header, in lower case: `basic`, `bearer`; undefined without one. */
  authorization: string | undefined
  range: string | undefined
  /** The client's address, and what it calls itself: any text. */
  remote: string
  userAgent: string | undefined
  /** From the request's head to the end of the answer; 0 until then. */
  milliseconds: number
  /** Bytes of the bodies. */
  bytesSent: number
  bytesReceived: number
  /** A fault of the connection or of this server. */
  error?: string
}

const HARMLESS_PARAMETERS = new Set([
  'artifactType',
  'digest',
  'from',
  'last',
  'mount',
  'n',
  'ns',
  'scope',
  'service',
])

export function logEntry(message: IncomingMessage, path: string, query: URLSearchParams): RequestLogEntry {
  return {
    method: message.method ?? '',
    path,
    query: Object.fromEntries([...query].filter(([name]) => HARMLESS_PARAMETERS.has(name))),
    status: 0,
    authorization: /^[a-z]+/i.exec(message.headers.authorization ?? '')?.[0].toLowerCase(),
    range: message.headers.range,
    remote: message.socket.remoteAddress ?? '',
    userAgent: message.headers['user-agent'],
    milliseconds: 0,
    bytesSent: 0,
    bytesReceived: 0,
  }
}
