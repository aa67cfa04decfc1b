import { expect, test, vi } from 'vitest'
import { type ErrorCode, transienceOf } from '../../src/errors.ts'
import { transportError } from '../../src/registry/faults/transport.ts'

import {
  failureOf,
  json,
  makeClient,
  memoryRegistry,
  registryError,
  sampleManifest,
  serve,
  type Handler,
} from '../support/client.ts'
import { FakeClock } from './net/throttle/fake-clock.ts'

async function failing(handler: Handler, code: ErrorCode) {
  const server = await serve(handler)
  const client = makeClient()
  const error = await failureOf(client.repository(server.host, 'app').fetchManifest('1.0'), code)
  return { server, error, client }
}

test.each<[number, ErrorCode, number]>([
  [400, 'REGISTRY', 1],
  [401, 'UNAUTHORIZED', 1],
  [402, 'REGISTRY', 1],
  [403, 'DENIED', 1],
  [404, 'NOT_FOUND', 1],
  [408, 'REGISTRY', 5],
  [409, 'REGISTRY', 1],
  [413, 'REGISTRY', 1],
  [418, 'REGISTRY', 1],
  [425, 'REGISTRY', 5],
  [429, 'RATE_LIMITED', 5],
  [500, 'REGISTRY', 5],
  [502, 'REGISTRY', 5],
  [503, 'REGISTRY', 5],
  [504, 'REGISTRY', 5],
])('%i is %s, asked %i times', async (status, code, times) => {
  const { server, error } = await failing(
    (_, response) => registryError(response, status, 'SOME_CODE', 'and why'),
    code,
  )
  expect(server.seen).toHaveLength(times)
  expect(error.message).toContain(`cannot fetch the manifest ${server.host}/app:1.0: `)
  expect(error.message).toMatch(
    new RegExp(`${server.host} answers ${status} [^(]+\\("SOME_CODE: and why"\\)$`),
  )
})

test('what passes by itself is waited for, as long as the registry asks', async () => {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', sampleManifest())
  // A date has no fractions of a second.
  const clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000)
  const troubles: [number, string][] = [
    [429, '1'],
    [503, new Date(clock.now() + 42_000).toUTCString()],
  ]
  const server = await serve((seen, response, request) => {
    const [status, retryAfter] = troubles.shift() ?? []
    if (status === undefined) return memory.handle(seen, response, request)
    // The registry's clock is the one that its Retry-After is meant by.
    response.setHeader('date', new Date(clock.now()).toUTCString())
    if (retryAfter) response.setHeader('retry-after', retryAfter)
    return registryError(response, status, 'BUSY')
  })
  const client = makeClient({ clock })
  const fetched = client.repository(server.host, 'app').fetchManifest('1.0')
  const waits: number[] = []
  for (let requests = 1; requests <= 2; requests++) {
    await vi.waitFor(() => expect([server.seen.length, clock.next]).toEqual([requests, expect.any(Number)]), {
      interval: 1,
      timeout: 60_000,
    })
    waits.push((clock.next ?? 0) / 1000)
    await clock.pass(clock.next ?? 0)
  }
  await fetched
  expect(waits).toEqual([1, 41])
  expect(client.notices).toMatchObject([
    { type: 'held', registry: server.host, status: 429 },
    { type: 'held', status: 503, reason: `${server.host} is busy (503 Service Unavailable)` },
  ])
})

test('a connection that breaks is tried again', async () => {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', sampleManifest())
  let breaks = 2
  const server = await serve((seen, response, request) => {
    if (breaks-- > 0) return void request.socket.destroy()
    return memory.handle(seen, response, request)
  })
  await makeClient().repository(server.host, 'app').fetchManifest('1.0')
  expect(server.seen).toHaveLength(3)
})

test('a manifest cut short is tried again', async () => {
  const { bytes, mediaType, digest } = sampleManifest()
  let cut = true
  const server = await serve((_, response, request) => {
    response.writeHead(200, { 'content-type': mediaType, 'content-length': bytes.length })
    if (!cut) return void response.end(bytes)
    cut = false
    return void response.write(bytes.subarray(0, 20), () => request.socket.destroySoon())
  })
  expect((await makeClient().repository(server.host, 'app').fetchManifest('1.0')).digest).toBe(digest)
})

test('a host that is not there is given up soon', async () => {
  const client = makeClient()
  const error = await failureOf(client.repository('127.0.0.1:1', 'app').fetchManifest('1'), 'NETWORK')
  expect(error.message).toBe(
    'cannot fetch the manifest 127.0.0.1:1/app:1: 127.0.0.1:1: nothing listens there (connection refused, ECONNREFUSED)',
  )
  expect(error.hint).toContain('port')
  expect(client.notices).toMatchObject([{ type: 'held', status: undefined }])
})

test('an error’s body is quoted in one short line, whatever it holds', async () => {
  const long = 'x'.repeat(10_000)
  const cases: [Handler, (message: string) => void][] = [
    [
      (_, r) =>
        json(r, 404, {
          errors: [{ code: 'A', message: 'line\n\u001b[31mred\u202e\r' }, { code: 'B' }, 7, null],
        }),
      (message) => expect(message).toContain('("A: line [31mred ; B")'),
    ],
    [(_, r) => registryError(r, 404, 'A', long), (message) => expect(message.length).toBeLessThan(500)],
    [
      (_, r) => void r.writeHead(404, { 'content-type': 'text/html' }).end(`<html>${long}`),
      (message) => expect(message).toContain('an HTML page, which no registry sends'),
    ],
    [
      (_, r) => void r.writeHead(404).end('no such thing'),
      (message) => expect(message).toContain('("no such thing")'),
    ],
    [(_, r) => void r.writeHead(404).end(), (message) => expect(message).toMatch(/answers 404 Not Found$/)],
    [(_, r) => json(r, 404, { errors: 'x' }), (message) => expect(message).toContain(`("{'errors':'x'}")`)],
  ]
  for (const [handler, check] of cases) check((await failing(handler, 'NOT_FOUND')).error.message)
})

test('no more of an error is read than is needed', async () => {
  let sent = 0
  await failing(async (_, response) => {
    response.setMaxListeners(0)
    response.writeHead(404)
    while (!response.destroyed && sent < 100_000_000) {
      sent += 64 * 1024
      if (!response.write(Buffer.alloc(64 * 1024, 0x61))) {
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
      }
    }
  }, 'NOT_FOUND')
  expect(sent).toBeLessThan(20_000_000)
})

test('plain HTTP spoken to a TLS port is explained', async () => {
  const { error, server } = await failing(
    (_, response) => void response.writeHead(400).end('Client sent an HTTP request to an HTTPS server.\n'),
    'REGISTRY',
  )
  expect(error.message).toContain('it expects TLS')
  expect(error.hint).toContain(server.host)
})

test('faults below HTTP in plain words', () => {
  const context = { registry: 'docker.io', operation: 'look' }
  const of = (code: string) =>
    transportError(Object.assign(new Error('raw'), { code }), context, 'registry-1.docker.io')
  expect(of('ENOTFOUND').message).toBe(
    'cannot look: registry-1.docker.io (for docker.io): its host name is not known (DNS, ENOTFOUND)',
  )
  expect(transienceOf(of('ENOTFOUND'))).toEqual({ attempts: 3 })
  expect(transienceOf(of('ECONNRESET'))).toEqual({ attempts: undefined })
  expect(transienceOf(of('UND_ERR_BODY_TIMEOUT'))).toBeDefined()
  expect(transienceOf(of('ENETDOWN'))).toBeDefined()
  expect([of('HPE_INVALID_CONSTANT').code, transienceOf(of('HPE_INVALID_CONSTANT'))]).toEqual([
    'REGISTRY',
    undefined,
  ])
  expect([of('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION').code, of('CERT_REVOKED').code]).toEqual(['TLS', 'TLS'])
  expect(transienceOf(of('CERT_HAS_EXPIRED'))).toBeUndefined()
  expect(transienceOf(of('ERR_ASSERTION'))).toBeUndefined()
})
