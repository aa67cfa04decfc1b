import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { AirgapError, type ErrorCode } from '../../src/errors.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { RegistryClient, type RegistryOptions } from '../../src/registry/client.ts'
import type { RegistryNotice } from '../../src/registry/notices.ts'
import { expectNoSecrets } from './secrets/known.ts'

/** A request as the server saw it, body included once it has arrived. */
export interface Seen {
  method: string
  /** Path and query. */
  url: string
  path: string
  query: URLSearchParams
  headers: IncomingMessage['headers']
  /** Whole once `answer` is called, unless the server reads bodies itself. */
  body: Buffer
}

export type Handler = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void | Promise<void>

export interface TestServer {
  host: string
  origin: string
  port: number
  seen: Seen[]
  /** `GET /v2/…` lines, for comparing what was asked for. */
  lines(): string[]
}

/** A server on 127.0.0.1 that ends with the test. `rawBody` leaves the body to the handler. */
export async function serve(
  handler: Handler,
  options: { tls?: { cert: string; key: string }; rawBody?: boolean } = {},
): Promise<TestServer> {
  const seen: Seen[] = []
  const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = request.url ?? ''
    const { pathname, searchParams } = new URL(url, 'http://x')
    const entry: Seen = {
      method: request.method ?? '',
      url,
      path: pathname,
      query: searchParams,
      headers: request.headers,
      body: Buffer.alloc(0),
    }
    seen.push(entry)
    try {
      if (!options.rawBody) {
        const chunks: Buffer[] = []
        for await (const chunk of request) chunks.push(chunk as Buffer)
        entry.body = Buffer.concat(chunks)
      }
      await handler(entry, response, request)
    } catch {
      // The client went away, as some tests want it to.
      response.destroy()
    }
  }
  const server = options.tls
    ? createHttpsServer(options.tls, (q, s) => void listener(q, s))
    : createHttpServer((q, s) => void listener(q, s))
  // A test that is held up finds its connections as they were.
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    host: `127.0.0.1:${port}`,
    origin: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    seen,
    lines: () => seen.map(({ method, url }) => `${method} ${url}`),
  }
}

/** A client that waits hardly at all between attempts, has no credentials and speaks plain HTTP to 127.0.0.1. */
export function makeClient(
  options: RegistryOptions = {},
): RegistryClient & { notices: RegistryNotice[]; ways: RegistryNotice[] } {
  const notices: RegistryNotice[] = []
  const ways: RegistryNotice[] = []
  const client = new RegistryClient({
    plainHttp: ['127.0.0.1'],
    env: {},
    onNotice: (notice) => (notice.type === 'way' ? ways : notices).push(notice),
    ...options,
    retry: { baseDelayMs: 1, ...options.retry },
  })
  onTestFinished(async () => {
    await client.close()
    expectNoSecrets(JSON.stringify([notices, ways]), 'a notice')
  })
  return Object.assign(client, { notices, ways })
}

/** A folder that goes with the test. */
export function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'airgap-registry-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A credentials file in Docker's form. */
export function authFileWith(content: unknown): string {
  const path = join(scratch(), 'auth.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

export function basicEntry(user: string, password: string): { auth: string } {
  return { auth: Buffer.from(`${user}:${password}`).toString('base64') }
}

/** The AirgapError that `action` fails with, its code checked. */
export async function failureOf(
  action: Promise<unknown> | (() => unknown),
  code: ErrorCode,
): Promise<AirgapError> {
  try {
    await (typeof action === 'function' ? action() : action)
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    const found = error as AirgapError
    expect({ code: found.code, message: found.message }).toMatchObject({ code })
    return found
  }
  throw new Error(`expected a failure ${code}, and there was none`)
}

export function json(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(value))
}

export function registryError(response: ServerResponse, status: number, code: string, message = ''): void {
  json(response, status, { errors: [{ code, message }] })
}

export interface Sample {
  bytes: Buffer
  digest: Digest
  mediaType: string
}

/** A valid manifest. */
export function sampleManifest(extra: Record<string, unknown> = {}): Sample {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: digestOf('{}'),
        size: 2,
      },
      layers: [],
      ...extra,
    }),
  )
  return { bytes, digest: digestOf(bytes), mediaType: OCI_MANIFEST }
}

/** Bytes that differ everywhere, so that a wrong offset shows. */
export function sampleBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) & 255
  return bytes
}

/** A small writable registry: blobs, manifests, uploads in one PUT. */
export function memoryRegistry(): {
  blobs: Map<string, Buffer>
  manifests: Map<string, Sample>
  handle: Handler
} {
  const blobs = new Map<string, Buffer>()
  const manifests = new Map<string, Sample>()
  const handle: Handler = (seen, response) => {
    const blob = /^\/v2\/.+\/blobs\/(sha256:[0-9a-f]{64})$/.exec(seen.path)?.[1]
    const ref = /^\/v2\/.+\/manifests\/(.+)$/.exec(seen.path)?.[1]
    const reads = seen.method === 'GET' || seen.method === 'HEAD'
    if (blob !== undefined && reads) {
      const bytes = blobs.get(blob)
      if (!bytes) return registryError(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry')
      response.writeHead(200, { 'content-length': bytes.length })
      response.end(seen.method === 'GET' ? bytes : undefined)
    } else if (ref !== undefined && reads) {
      const found = manifests.get(ref)
      if (!found) return registryError(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown')
      const { bytes, mediaType, digest } = found
      response.writeHead(200, {
        'content-type': mediaType,
        'content-length': bytes.length,
        'docker-content-digest': digest,
      })
      response.end(seen.method === 'GET' ? bytes : undefined)
    } else if (ref !== undefined && seen.method === 'PUT') {
      const digest = digestOf(seen.body)
      const stored = { bytes: seen.body, digest, mediaType: seen.headers['content-type'] ?? '' }
      manifests.set(ref, stored).set(digest, stored)
      response.writeHead(201, { 'docker-content-digest': digest }).end()
    } else if (seen.method === 'POST' && seen.path.endsWith('/blobs/uploads/')) {
      response.writeHead(202, { location: '/v2/upload/session?state=a%2Fb%20c' }).end()
    } else if (seen.method === 'PUT' && seen.path === '/v2/upload/session') {
      const digest = seen.query.get('digest') ?? ''
      if (seen.query.get('state') !== 'a/b c') return registryError(response, 404, 'BLOB_UPLOAD_UNKNOWN')
      if (digestOf(seen.body) !== digest) return registryError(response, 400, 'DIGEST_INVALID')
      blobs.set(digest, seen.body)
      response.writeHead(201, { 'docker-content-digest': digest }).end()
    } else {
      registryError(response, 404, 'NAME_UNKNOWN')
    }
  }
  return { blobs, manifests, handle }
}
