import { expect, test, vi } from 'vitest'
import { digestOf } from '../../../../src/oci/digest.ts'
import { downloadBlob } from '../../../../src/registry/blobs/download.ts'
import {
  failureOf,
  json,
  makeClient,
  memoryRegistry,
  registryError,
  sampleBytes,
  sampleManifest,
  serve,
} from '../../../support/client.ts'
import { FakeClock } from './fake-clock.ts'

const manifest = sampleManifest()

/** Nobody listens there. */
const DEAD_HOST = '127.0.0.1:1'

test('a dead mirror costs its attempts once, not for each blob', async () => {
  const blobs = Array.from({ length: 30 }, (_, i) => Buffer.from(`blob ${i}`))
  const source = await serve((seen, response) => {
    const bytes = blobs.find((blob) => seen.path.endsWith(digestOf(blob)))
    if (bytes) response.end(bytes)
    else registryError(response, 404, 'BLOB_UNKNOWN')
  })
  const client = makeClient()
  const mirror = client.repository(DEAD_HOST, 'app')
  const sources = [mirror, client.repository(source.host, 'app')]
  for (const bytes of blobs) {
    const descriptor = { mediaType: 'application/x', digest: digestOf(bytes), size: bytes.length }
    const sink = { restartable: true, write: async () => {} }
    expect(await downloadBlob(sources, descriptor, sink, { client })).toEqual({
      source: `${source.host}/app`,
    })
  }
  expect(source.seen).toHaveLength(30)
  // Three attempts, and what follows from them.
  expect(client.notices.filter(({ type }) => type === 'unavailable')).toEqual([
    {
      type: 'unavailable',
      registry: mirror.registry,
      reason: `${mirror.registry}: nothing listens there (connection refused, ECONNREFUSED)`,
    },
  ])
  expect(client.notices.length).toBeLessThanOrEqual(3)
})

test('the only source tells why it is not asked any more', async () => {
  const client = makeClient()
  const repository = client.repository(DEAD_HOST, 'app')
  await failureOf(repository.fetchManifest('1'), 'NETWORK')
  const abort = new AbortController()
  const first = failureOf(repository.fetchManifest('2', abort.signal), 'NETWORK')
  expect((await first).message).toMatch(/nothing listens there \(connection refused, ECONNREFUSED\)$/)
})

test('a token service that is busy is held by itself, for all who want a token', async () => {
  const clock = new FakeClock()
  let isBusy = true
  const service = await serve((_, response) => {
    if (!isBusy) return json(response, 200, { token: 't' })
    response.setHeader('retry-after', '30')
    return registryError(response, 429, 'TOOMANYREQUESTS')
  })
  const memory = memoryRegistry()
  memory.manifests.set('1', manifest)
  const registry = await serve((seen, response, request) => {
    if (seen.headers.authorization) return memory.handle(seen, response, request)
    response.setHeader('www-authenticate', `Bearer realm="${service.origin}/token"`)
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const client = makeClient({ clock })
  const all = Promise.all(
    ['a', 'b', 'c', 'd'].map((name) => client.repository(registry.host, name).fetchManifest('1')),
  )
  await vi.waitFor(() => expect([service.seen.length, clock.next]).toEqual([4, 30_000]), {
    interval: 1,
    timeout: 60_000,
  })
  isBusy = false
  await clock.pass(30_000)
  await all
  expect(service.seen).toHaveLength(8)
  expect(client.notices).toMatchObject([
    { type: 'held', registry: service.host, status: 429, delayMs: 30_000 },
  ])
})

test('both directions share one rate', async () => {
  const clock = new FakeClock()
  const began = clock.now()
  const memory = memoryRegistry()
  const bytes = sampleBytes(300_000)
  memory.blobs.set(digestOf(bytes), bytes)
  const server = await serve(memory.handle)
  const client = makeClient({ clock, maxRate: 100_000 })
  const descriptor = { mediaType: 'application/x', digest: digestOf(bytes), size: bytes.length }
  const parts: Uint8Array[] = []
  const sink = {
    restartable: true,
    write: async (part: Uint8Array) => void parts.push(Buffer.from(part)),
  }
  const other = Buffer.from(bytes.toReversed())
  const both = Promise.all([
    downloadBlob([client.repository(server.host, 'app')], descriptor, sink, { client }),
    client
      .repository(server.host, 'app')
      .uploadBlob({ digest: digestOf(other), size: other.length }, async function* () {
        yield other
      }),
  ])
  const state = { isOver: false }
  void both.then(() => (state.isOver = true))
  while (!state.isOver) await clock.pass(clock.next ?? 0)
  expect(Buffer.concat(parts).equals(bytes)).toBe(true)
  expect(memory.blobs.get(digestOf(other))?.equals(other)).toBe(true)
  // 600 kB at 100 kB/s, of which a quarter of a second's worth may go at once.
  const took = (clock.now() - began) / 1000
  expect(took).toBeGreaterThan(5.7)
  expect(took).toBeLessThan(6.2)
})

test('a rate that is slow does not look like a registry that stopped taking bytes', async () => {
  const fast = makeClient({ timeoutMs: 1000 })
  const slow = makeClient({ timeoutMs: 1000, maxRate: 10_000, concurrency: 4 })
  expect(fast.shared.transport.stallTimeoutMs).toBe(1000)
  expect(slow.shared.transport.stallTimeoutMs).toBeGreaterThan(200_000)
})

test('a silent peer is given up after the time that was given', async () => {
  const server = await serve(() => {})
  const client = makeClient({ timeoutMs: 60, retry: { attempts: 1 } })
  const error = await failureOf(client.repository(server.host, 'app').fetchManifest('1'), 'NETWORK')
  expect(error.message).toContain('it stopped answering')
  expect(server.seen).toHaveLength(1)
})
