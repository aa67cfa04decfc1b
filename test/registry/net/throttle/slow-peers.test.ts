import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { digestOf } from '../../../../src/oci/digest.ts'
import type { RegistryOptions } from '../../../../src/registry/client.ts'
import { downloadBlob } from '../../../../src/registry/blobs/download.ts'
import { RateLimit } from '../../../../src/registry/net/throttle/rate-limit.ts'
import { notTooSlow, SlowPeerFault } from '../../../../src/registry/net/throttle/slowness.ts'
import type { Repository } from '../../../../src/registry/repository.ts'
import { DocumentCache } from '../../../../src/pack/sources.ts'
import {
  failureOf,
  json,
  makeClient,
  memoryRegistry,
  sampleBytes,
  sampleManifest,
  serve,
  type Handler,
} from '../../../support/client.ts'
import { FakeClock } from './fake-clock.ts'

const WITHIN = 60_000

/** A body that comes in pieces, each after so many milliseconds of the clock. */
function coming(clock: FakeClock, pieces: Iterable<[afterMs: number, bytes: number]>): Readable {
  return Readable.from(
    (async function* () {
      for (const [afterMs, bytes] of pieces) {
        await clock.pass(afterMs)
        yield Buffer.alloc(bytes)
      }
    })(),
    { objectMode: false, highWaterMark: 1 },
  )
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0
  for await (const chunk of chunks) bytes += chunk.length
  return bytes
}

const times = (count: number, afterMs: number, bytes: number): [number, number][] =>
  Array.from({ length: count }, () => [afterMs, bytes])

test.each<[string, [number, number][]]>([
  ['a line of 1 KB/s that six transfers share', times(200, 3000, 512)],
  ['one that stops for most of a minute, and then goes on', times(20, 50_000, 8192)],
  ['a short answer that is long in coming', [[59_000, 10]]],
])('%s is waited for', async (_, pieces) => {
  const clock = new FakeClock()
  const body = coming(clock, pieces)
  const all = pieces.reduce((sum, [, bytes]) => sum + bytes, 0)
  expect(await bytesOf(notTooSlow(body, { clock, withinMs: WITHIN }))).toBe(all)
})

test.each<[string, [number, number][], number]>([
  ['a byte now and then', times(1000, 10_000, 1), 5],
  ['a good beginning, and then drops', [...times(10, 1000, 65_536), ...times(1000, 10_000, 100)], 655_360],
])('%s is not', async (_, pieces, most) => {
  const clock = new FakeClock()
  const began = clock.now()
  let bytes = 0
  const read = async (): Promise<void> => {
    for await (const chunk of notTooSlow(coming(clock, pieces), { clock, withinMs: WITHIN })) {
      bytes += chunk.length
    }
  }
  await expect(read()).rejects.toBeInstanceOf(SlowPeerFault)
  expect(bytes).toBeLessThan(most + 2000)
  expect(clock.now() - began).toBeLessThanOrEqual(2 * WITHIN + 10_000)
})

test('what we hold back ourselves is not the peer’s slowness', async () => {
  const clock = new FakeClock()
  const limit = new RateLimit(50, clock)
  const body = Readable.from(times(10, 0, 1000).map(([, bytes]) => Buffer.alloc(bytes)))
  const read = bytesOf(limit.pace(notTooSlow(body, { clock, withinMs: WITHIN })))
  await clock.pass(10 * 1000 * 1000)
  expect(await read).toBe(10_000)
})

const bytes = sampleBytes(200_000)
const blob = { mediaType: 'application/x', digest: digestOf(bytes), size: bytes.length }

/** Sends an answer byte for byte, and lets time pass until it is given up. */
function dripping(
  clock: FakeClock,
  status = 200,
  headers: Record<string, string> = {},
  body: Buffer = Buffer.alloc(100, '{'),
): Handler {
  return async (_seen, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    for (let at = 0; !response.closed; at++) {
      response.write(body.subarray(at, at + 1))
      await clock.pass(10_000)
    }
  }
}

function patientClient(clock: FakeClock, options: RegistryOptions = {}) {
  return makeClient({ clock, ...options, retry: { attempts: 1, ...options.retry } })
}

const sink = () => ({ write: async () => {}, restartable: true })

test.each<[string, (repository: Repository) => Promise<unknown>, RegExp]>([
  ['a manifest', (repository) => repository.fetchManifest('1'), /fetch the manifest/],
  ['a list of tags', (repository) => repository.someTags(), /tags/],
  ['a list of referrers', (repository) => repository.referrers(blob.digest), /refers to/],
  ['a small blob', (repository) => repository.fetchSmallBlob(blob, 1e6), /fetch the blob/],
])('%s that drips is given up', async (_, ask, operation) => {
  const clock = new FakeClock()
  const server = await serve(dripping(clock))
  const error = await failureOf(ask(patientClient(clock).repository(server.host, 'app')), 'NETWORK')
  expect(error.message).toMatch(operation)
  expect(error.message).toMatch(/: it sends too slowly: \d+ bytes? within 1 min 0 s$/)
})

test('so is a token', async () => {
  const clock = new FakeClock()
  const tokens = await serve(dripping(clock))
  const server = await serve((_, response) => {
    response.setHeader('www-authenticate', `Bearer realm="${tokens.origin}/token"`)
    json(response, 401, {})
  })
  const error = await failureOf(
    patientClient(clock).repository(server.host, 'app').fetchManifest('1'),
    'NETWORK',
  )
  expect(error.message).toContain(`${tokens.host} (for ${server.host}): it sends too slowly`)
})

test('of an explanation that drips, the status is told', async () => {
  const clock = new FakeClock()
  const server = await serve(dripping(clock, 403))
  const error = await failureOf(
    patientClient(clock).repository(server.host, 'app').fetchManifest('1'),
    'DENIED',
  )
  expect(error.message).toContain('403')
})

test('a peer that only says that it is at work is given up', async () => {
  const server = await serve((_, response) => {
    const again = (): void => {
      if (response.destroyed) return
      response.writeProcessing()
      setImmediate(again)
    }
    again()
  })
  const client = makeClient({ retry: { attempts: 1 } })
  const error = await failureOf(client.repository(server.host, 'app').fetchManifest('1'), 'NETWORK')
  expect(error.message).toContain('it keeps sending interim answers (1xx), and no final one')
})

test('a mirror that drips is left at once for the next source, and asked behind it from then on', async () => {
  const clock = new FakeClock()
  const drips = dripping(clock)
  const mirror = await serve(async (...args) => drips(...args))
  const registry = memoryRegistry()
  registry.blobs.set(blob.digest, bytes)
  const manifest = sampleManifest()
  registry.manifests.set(manifest.digest, manifest)
  const source = await serve(registry.handle)
  const client = patientClient(clock, { retry: { attempts: 5 } })
  const passedOver: string[] = []
  const slow = client.repository(mirror.host, 'app', {
    onPassedOver: ({ message }) => passedOver.push(message),
  })
  const sources = [slow, client.repository(source.host, 'app')]
  const taken = await downloadBlob(sources, blob, sink(), { client })
  expect(taken.source).toBe(`${source.host}/app`)
  expect(mirror.seen).toHaveLength(1)
  expect(passedOver).toMatchObject([expect.stringContaining('it sends too slowly')])
  await downloadBlob(sources, blob, sink(), { client })
  await new DocumentCache().fetch(manifest.digest, sources)
  expect(mirror.seen).toHaveLength(1)
})

test('a mirror that is slow is used where nothing else has it', async () => {
  const clock = new FakeClock()
  let answers = 0
  const mirror = await serve(async (seen, response, request) => {
    if (answers++ > 0) return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    await dripping(clock, 200, { 'content-length': String(bytes.length) }, bytes)(seen, response, request)
  })
  const source = await serve((_, response) => json(response, 404, {}))
  const client = patientClient(clock)
  const sources = [mirror, source].map(({ host }) => client.repository(host, 'app'))
  const taken = await downloadBlob(sources, blob, sink(), { client })
  expect(taken.source).toBe(`${mirror.host}/app`)
  expect([mirror.seen.length, source.seen.length]).toEqual([2, 1])
})
