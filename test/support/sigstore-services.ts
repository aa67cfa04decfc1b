import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { fulcioHandler, initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock'
import { onTestFinished } from 'vitest'
import { trustedRootOf } from '../trust/trusted-root.ts'
import { noteSecret } from './secrets/known.ts'

export type ServiceName = 'fulcio' | 'rekor' | 'rekor-2' | 'tsa' | 'github'

/** An answer of a service. */
export interface Reply {
  status: number
  type?: string
  headers?: Record<string, string>
  body: string | Uint8Array
}

/** What a service does instead of its work; undefined lets it do that. */
export type Fault = (request: { body: Buffer; url: string }) => Reply | undefined | Promise<Reply | undefined>

/** What the clocks of services say. They stand still until a test sets them. */
export interface ServiceClocks {
  fulcio: Date
  rekor: Date
  tsa: Date
}

/** Fulcio, Rekor and a timestamp authority on loopback. */
export interface TestServices {
  origin: string
  clocks: ServiceClocks
  /** Which requests came, in their order. */
  asked: ServiceName[]
  faults: Partial<Record<ServiceName, Fault>>
  trustedRoot: Buffer
  signingConfig(change?: (config: SigningConfigJson) => void): Buffer
}

export interface ServiceJson {
  url: string
  majorApiVersion: number
  validFor: { start: string; end?: string }
  operator: string
}
export interface SigningConfigJson {
  mediaType: string
  caUrls: ServiceJson[]
  rekorTlogUrls: ServiceJson[]
  rekorTlogConfig: { selector: string; count?: number }
  tsaUrls: ServiceJson[]
  tsaConfig: { selector: string; count?: number }
}

export const IDENTITY = 'https://ci.example.internal/team/release'
export const ISSUER = 'https://accounts.example.internal'

/** An identity token, signed by nobody. Nothing that a test prints or writes may show it. */
export function identityToken(claims: Record<string, unknown> = {}): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const exp = Math.floor(Date.now() / 1000) + 600
  const payload = { iss: ISSUER, sub: IDENTITY, aud: 'sigstore', exp, ...claims }
  const token = `${part({ alg: 'RS256' })}.${part(payload)}.${createHash('sha256').update(JSON.stringify(payload)).digest('base64url')}`
  noteSecret(token, 'an identity token')
  return token
}

export interface ServiceOptions {
  /** Over HTTPS, with this key and certificate. */
  tls?: { key: string; cert: string }
  /** The clocks of other services, where these are to tell the same time. */
  clocks?: ServiceClocks
}

export async function startServices({
  tls,
  clocks = { fulcio: new Date(), rekor: new Date(), tsa: new Date() },
}: ServiceOptions = {}): Promise<TestServices> {
  const [caKeys, ctKeys, logKeys, tsaKeys] = [pair('P-384'), pair(), pair(), pair('P-384')]
  const services: TestServices = {
    origin: '',
    clocks,
    asked: [],
    faults: {},
    trustedRoot: Buffer.alloc(0),
    signingConfig: (change) => signingConfigOf(services.origin, change),
  }
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    void answer(request, services, work).then((reply) => send(response, reply))
  }
  const server = tls ? createSecureServer(tls, listener) : createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  services.origin = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`

  const ctLog = await initializeCTLog(ctKeys, clocks.fulcio)
  const ca = await initializeCA(caKeys, ctLog, clocks.fulcio)
  const log = await initializeTLog(services.origin, logKeys, clocks.rekor)
  const tsa = await initializeTSA(tsaKeys, clocks.tsa)
  // The authorities' own certificates are valid from the second on in which they were made.
  setClocks(clocks, Date.now())
  const fulcio = fulcioHandler(ca)
  const entries = new Map<string, string>()

  const work: Record<ServiceName, (body: Buffer, url: string) => Promise<Reply>> = {
    fulcio: async (body) => {
      const { statusCode: status, response, contentType } = await fulcio.fn(body.toString())
      return { status, type: contentType ?? 'text/plain', body: response as string }
    },
    rekor: async (body, url) => {
      const known = entries.get(url)
      if (known !== undefined) return { status: 200, type: 'application/json', body: known }
      const text = JSON.stringify(await log.log(JSON.parse(body.toString()) as object))
      entries.set(`/api/v1/log/entries/${Object.keys(JSON.parse(text) as object)[0]}`, text)
      return { status: 201, type: 'application/json', body: text }
    },
    'rekor-2': async (body) => {
      const entry = await entryOfSecond(body, (value) => log.log(value))
      return { status: 201, type: 'application/json', body: JSON.stringify(entry) }
    },
    tsa: async (body) => {
      // The hash stands before the last field, which wants certificates.
      const timestamp = await tsa.timestamp({
        artifactHash: body.subarray(-35, -3),
        hashAlgorithmOID: '2.16.840.1.101.3.4.2.1',
        nonce: 1,
        policyOID: '1.3.6.1.4.1.57264.2',
        certReq: true,
      })
      return { status: 201, type: 'application/timestamp-reply', body: bytesOf(timestamp) }
    },
    github: async () => ({
      status: 200,
      type: 'application/json',
      body: JSON.stringify({ value: identityToken() }),
    }),
  }

  services.trustedRoot = Buffer.from(
    JSON.stringify(
      trustedRootOf({
        log: { baseUrl: services.origin, publicKey: log.publicKey },
        ctLog: { baseUrl: services.origin, publicKey: ctLog.publicKey },
        ca: { uri: services.origin, certificates: [bytesOf(ca.rootCertificate)] },
        tsa: {
          uri: services.origin,
          certificates: [bytesOf(tsa.intCertificate), bytesOf(tsa.rootCertificate)],
        },
      }),
    ),
  )
  return services
}

/** Sets all to the second of `time`. */
export function setClocks(clocks: ServiceClocks, time: number): void {
  // The mock writes milliseconds in a form that is wrong where they end in zero.
  for (const clock of Object.values(clocks) as Date[]) clock.setTime(time - (time % 1000) + 123)
}

async function answer(
  request: IncomingMessage,
  services: TestServices,
  work: Record<ServiceName, (body: Buffer, url: string) => Promise<Reply>>,
): Promise<Reply> {
  const url = request.url ?? ''
  const name = nameOf(url)
  const body = await buffer(request)
  if (!name) return { status: 404, type: 'text/plain', body: 'no such service' }
  services.asked.push(name)
  return (await services.faults[name]?.({ body, url })) ?? work[name](body, url)
}

function nameOf(url: string): ServiceName | undefined {
  if (url === '/api/v2/signingCert') return 'fulcio'
  if (url.startsWith('/api/v1/log/entries')) return 'rekor'
  if (url === '/api/v2/log/entries') return 'rekor-2'
  if (url === '/tsa/timestamp') return 'tsa'
  return url.startsWith('/github/') ? 'github' : undefined
}

function send(response: ServerResponse, { status, type, headers = {}, body }: Reply): void {
  response.writeHead(status, { ...(type === undefined ? {} : { 'content-type': type }), ...headers })
  response.end(body)
}

function signingConfigOf(origin: string, change?: (config: SigningConfigJson) => void): Buffer {
  const one = (url: string): ServiceJson[] => [
    { url, majorApiVersion: 1, validFor: { start: '2024-01-01T00:00:00Z' }, operator: 'example.internal' },
  ]
  const config: SigningConfigJson = {
    mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
    caUrls: one(origin),
    rekorTlogUrls: one(origin),
    rekorTlogConfig: { selector: 'ANY' },
    tsaUrls: one(`${origin}/tsa/timestamp`),
    tsaConfig: { selector: 'ANY' },
  }
  change?.(config)
  return Buffer.from(JSON.stringify(config))
}

/** The mock's own second version does not write entries as Rekor does. */
async function entryOfSecond(body: Buffer, log: (value: object) => Promise<object>): Promise<object> {
  const { hashedRekordRequestV002: asked } = JSON.parse(body.toString()) as {
    hashedRekordRequestV002: { digest: string; signature: object }
  }
  const value = {
    apiVersion: '0.0.2',
    kind: 'hashedrekord',
    spec: {
      hashedRekordV002: {
        data: { algorithm: 'SHA2_256', digest: asked.digest },
        signature: asked.signature,
      },
    },
  }
  const [first] = Object.values(await log(value)) as {
    body: string
    logID: string
    verification: { inclusionProof: { checkpoint: string; rootHash: string; treeSize: number } }
  }[]
  const { checkpoint, rootHash } = first!.verification.inclusionProof
  return {
    logIndex: '0',
    logId: { keyId: Buffer.from(first!.logID, 'hex').toString('base64') },
    kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
    integratedTime: '0',
    inclusionProof: {
      logIndex: '0',
      rootHash: Buffer.from(rootHash, 'hex').toString('base64'),
      treeSize: '1',
      hashes: [],
      checkpoint: { envelope: checkpoint },
    },
    canonicalizedBody: first!.body,
  }
}

function pair(namedCurve = 'P-256'): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve })
}

function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength)
}
