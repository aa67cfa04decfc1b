import { describe, expect, test } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Quirk } from '../../support/registry/quirks.ts'
import { failureOf } from '../../support/client.ts'
import { KIB, MIB, sample, target, type Target } from './uploading.ts'

/** Sends a blob in chunks from the start, and expects that it arrives. */
async function chunked(
  quirks: Quirk[],
  { size = 300 * KIB, chunk = 100 * KIB, auth = false } = {},
): Promise<Target & { progress: number[] }> {
  const to = await target(
    { quirks, ...(auth ? { auth: { bearer: {} } } : {}) },
    { chunkSize: chunk, prefersChunks: true },
  )
  const progress: number[] = []
  const { bytes, descriptor, open } = sample(size)
  await to.repository.uploadBlob(descriptor, open, undefined, (sent) => progress.push(sent))
  expect(await to.stored(descriptor.digest)).toEqual(bytes)
  expect(progress.at(-1)).toBe(size)
  return { ...to, progress }
}

const CHUNK = `PATCH 202 ${100 * KIB}`
const PLAIN = ['POST 202', CHUNK, CHUNK, CHUNK, 'PUT 201']

describe('in chunks', () => {
  test.each<[string, Quirk[], string[]]>([
    ['a registry by the book', [], PLAIN],
    ['Locations that are paths', ['relative-location'], PLAIN],
    ['Locations with a query that must be kept', ['location-with-query'], PLAIN],
    ['Locations that change with every answer', ['location-changes'], PLAIN],
    ['Locations on another origin', ['upload-other-origin'], PLAIN],
    ['no Range in any answer', ['range-missing'], PLAIN],
    ['Range as bytes=0-N', ['range-bytes'], PLAIN],
    ['a Range that stays at the first chunk', ['range-stale'], PLAIN],
    ['Content-Range ignored', ['ignore-content-range'], PLAIN],
    ['chunks answered 201', ['patch-201'], PLAIN.map((line) => line.replace('PATCH 202', 'PATCH 201'))],
    ['chunks answered 204', ['patch-204'], PLAIN.map((line) => line.replace('PATCH 202', 'PATCH 204'))],
    ['the end answered 201 without anything', ['put-bare-201'], PLAIN],
    ['the end answered 200', ['put-200'], [...PLAIN.slice(0, -1), 'PUT 200', 'HEAD 200']],
    ['the end answered 204', ['put-204'], [...PLAIN.slice(0, -1), 'PUT 204', 'HEAD 200']],
  ])('%s', async (_, quirks, requests) => {
    const { log, notices } = await chunked(quirks)
    expect(log()).toEqual(requests)
    expect(notices).toEqual([])
  })

  test('the registry’s least length of a chunk is kept to, the last one excepted', async () => {
    const { log } = await chunked(['chunk-min-length'], { size: 150 * KIB, chunk: 32 * KIB })
    expect(log()).toEqual([
      'POST 202',
      `PATCH 202 ${64 * KIB}`,
      `PATCH 202 ${64 * KIB}`,
      `PATCH 202 ${22 * KIB}`,
      'PUT 201',
    ])
  })

  test('a chunk that is out of place is asked about, and goes on from where the registry is', async () => {
    const { log, notices } = await chunked(['upload-416-once'])
    expect(log()).toEqual(['POST 202', CHUNK, 'PATCH 416', 'HEAD 404', 'GET 204', CHUNK, CHUNK, 'PUT 201'])
    expect(notices).toMatchObject([{ type: 'retry', attempt: 1 }])
  })

  test('a token that expires on the way is renewed, and the same chunk sent again', async () => {
    const { log, notices, registry } = await chunked(['token-expires-mid-upload'], { auth: true })
    const statuses = log().map((line) => line.split(' ').slice(0, 2).join(' '))
    expect(statuses).toEqual([
      'POST 401',
      'POST 202',
      'PATCH 202',
      'PATCH 401',
      'PATCH 202',
      'PATCH 202',
      'PUT 201',
    ])
    expect(registry.requests.filter(({ path }) => path === '/token')).toHaveLength(2)
    expect(notices).toEqual([])
  })
})

describe('refusals', () => {
  test('a proxy’s 413 as a web page leads to chunks that it takes, says so, and is not forgotten', async () => {
    const to = await target({ quirks: ['max-body-413-html'] })
    const first = sample(5 * MIB)
    await to.repository.uploadBlob(first.descriptor, first.open)
    expect(await to.stored(first.descriptor.digest)).toEqual(first.bytes)
    expect(to.habits.chunkSize).toBe(MIB)
    const told = `${to.repository.registry}, or a proxy in front of it, refuses large requests: uploads to it go in chunks of 1 MiB`
    expect(to.notices).toEqual([{ type: 'warning', message: told }])
    const before = to.log().length
    const second = sample(2 * MIB + 1)
    await to.repository.uploadBlob(second.descriptor, second.open)
    expect(to.log().slice(before)).toEqual([
      'POST 202',
      `PATCH 202 ${MIB}`,
      `PATCH 202 ${MIB}`,
      'PATCH 202 1',
      'PUT 201',
    ])
    const small = sample(MIB)
    await to.repository.uploadBlob(small.descriptor, small.open)
    expect(to.log().at(-1)).toBe(`PUT 201 ${MIB}`)
    expect(to.notices).toHaveLength(1)
  })

  test('GHCR’s 416 for a chunk that is too large leads to smaller ones', async () => {
    const { log } = await chunked(['max-body-416'], { size: 3 * MIB, chunk: 2 * MIB })
    expect(log().filter((line) => line.startsWith('PATCH 202'))).toEqual(Array(3).fill(`PATCH 202 ${MIB}`))
  })

  test('a limit below what the registry asks for is an error that names both', async () => {
    const to = await target({ quirks: ['max-body-413-html', 'chunk-min-length'] }, { floor: 16 * KIB })
    // The registry asks for 64 KiB: only a limit below that is in its way.
    to.habits.refuse(64 * KIB)
    expect(to.habits.chunkSize).toBe(32 * KIB)
    const { descriptor, open } = sample(2 * MIB)
    await to.repository.uploadBlob(descriptor, open)

    const strict = await target({ quirks: ['chunk-min-length'], maxBlobSize: 40 * KIB })
    const error = await failureOf(strict.repository.uploadBlob(descriptor, open), 'REGISTRY')
    expect(error.message).toContain('wants chunks of at least 64 KiB (OCI-Chunk-Min-Length)')
    expect(error.message).toContain('refused as too large (413)')
    expect(error.hint).toContain('client_max_body_size')
  })

  test('a limit below the smallest chunk is an error that says so', async () => {
    const to = await target({ quirks: ['max-body-413-html'] }, { floor: 2 * MIB })
    const { descriptor, open } = sample(5 * MIB)
    const error = await failureOf(to.repository.uploadBlob(descriptor, open), 'REGISTRY')
    expect(error.message).toContain('even a request of 2 MiB is too large')
    expect(error.hint).toContain('client_max_body_size')
    expect(to.notices).toEqual([])
  })

  test('a limit for whole blobs is an error after a bounded number of requests', async () => {
    const to = await target({ maxBlobSize: 100 * KIB }, { chunkSize: 64 * KIB })
    const { descriptor, open } = sample(300 * KIB)
    const error = await failureOf(to.repository.uploadBlob(descriptor, open), 'REGISTRY')
    expect(error.message).toContain('refuses the rest as too large (413) after 65536 bytes')
    expect(to.log().length).toBeLessThan(15)
  })

  test('a registry that wants PATCH gets it, for later blobs at once', async () => {
    const to = await target({ quirks: ['no-monolithic-put'] })
    const { descriptor, open, bytes } = sample(100 * KIB)
    await to.repository.uploadBlob(descriptor, open)
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
    expect(to.log().map((line) => line.split(' ', 2).join(' '))).toEqual([
      'POST 202',
      'PUT 404',
      'POST 202',
      'DELETE 204',
      'PATCH 202',
      'PUT 201',
    ])
    const next = sample(50 * KIB)
    await to.repository.uploadBlob(next.descriptor, next.open)
    expect(to.log().slice(-3)).toEqual(['POST 202', `PATCH 202 ${50 * KIB}`, 'PUT 201'])
    expect(to.notices).toEqual([])
  })

  test.each<[string, Quirk[], number]>([
    ['from the first on', ['no-patch'], 100 * KIB],
    ['from the second on', ['second-chunk-refused'], 100 * KIB],
    ['as out of place, always', ['upload-416-always'], 100 * KIB],
  ])('a registry that refuses chunks, %s, gets one stream', async (_, quirks, chunk) => {
    const { log } = await chunked(quirks, { chunk })
    expect(log().at(-1)).toBe(`PUT 201 ${300 * KIB}`)
    expect(log().length).toBeLessThan(20)
  })

  test.each<[string, Quirk[]]>([
    ['neither stream nor chunks', ['no-monolithic-put', 'no-patch']],
    ['no stream, and chunks always out of place', ['no-monolithic-put', 'upload-416-always']],
    ['no stream, and one chunk at most', ['no-monolithic-put', 'second-chunk-refused']],
  ])('%s is an error after a bounded number of requests', async (_, quirks) => {
    const to = await target({ quirks }, { chunkSize: 100 * KIB })
    const { descriptor, open } = sample(300 * KIB)
    const error = await failureOf(to.repository.uploadBlob(descriptor, open), 'REGISTRY')
    expect(error.message).toContain('cannot upload the blob')
    expect(to.log().length).toBeLessThan(40)
    expect(await to.stored(descriptor.digest)).toBeUndefined()
  })

  test('another digest than the blob’s in the last answer', async () => {
    const to = await target({ quirks: ['put-other-digest'] }, { chunkSize: 100 * KIB, prefersChunks: true })
    const { descriptor, open } = sample(300 * KIB)
    await failureOf(to.repository.uploadBlob(descriptor, open), 'CONTENT_MISMATCH')
  })
})

describe('wrong bytes', () => {
  test('are found before the last piece of the last chunk is sent, and nothing is committed', async () => {
    const to = await target({}, { chunkSize: 100 * KIB, prefersChunks: true })
    const { descriptor, open, bytes } = sample(300 * KIB)
    const wrong = { digest: digestOf('other'), size: descriptor.size }
    const error = await failureOf(to.repository.uploadBlob(wrong, open), 'INVALID_CONTENT')
    expect(error.message).toContain('its bytes have the digest')
    expect(to.log().slice(0, 3)).toEqual(['POST 202', CHUNK, CHUNK])
    expect(to.log().filter((line) => line.startsWith('PUT'))).toEqual([])
    const received = to.registry.requests.reduce((sum, entry) => sum + entry.bytesReceived, 0)
    expect(received).toBeLessThan(bytes.length)
  })

  test('fewer bytes than stated', async () => {
    const to = await target({}, { chunkSize: 100 * KIB, prefersChunks: true })
    const { descriptor, open } = sample(250 * KIB)
    const longer = { ...descriptor, size: 350 * KIB }
    const error = await failureOf(to.repository.uploadBlob(longer, open), 'INVALID_CONTENT')
    expect(error.message).toContain(`there are ${250 * KIB} bytes instead of ${350 * KIB}`)
    expect(to.log().filter((line) => line.startsWith('PUT'))).toEqual([])
  })
})
