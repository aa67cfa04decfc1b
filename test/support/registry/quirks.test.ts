import { expect, test } from 'vitest'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { parseManifest } from '../../../src/oci/manifest.ts'
import { QUIRKS, type Quirk } from './quirks.ts'
import { startRegistry } from './registry.ts'
import { UPLOAD_QUIRKS } from './quirks.ts'
import { bytesOf, codeOf } from './client.ts'
import { blob, built, digest, drain, from, withQuirk } from './quirk-place.ts'
import { FURTHER_CASES } from './further-quirks.ts'

const CASES: Record<Exclude<Quirk, keyof typeof UPLOAD_QUIRKS>, () => Promise<void>> = {
  ...FURTHER_CASES,
  'no-digest-header': async () => {
    await using q = await withQuirk('no-digest-header')
    for (const url of [q.blobUrl, q.manifestUrl]) {
      const response = await fetch(url)
      expect([response.status, response.headers.get('docker-content-digest')]).toEqual([200, null])
    }
  },
  'wrong-digest-header': async () => {
    await using q = await withQuirk('wrong-digest-header')
    const response = await fetch(q.manifestUrl)
    expect(response.headers.get('docker-content-digest')).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(response.headers.get('docker-content-digest')).not.toBe(built.descriptor.digest)
    expect(await bytesOf(response)).toEqual(built.bytes)
  },
  'mount-401': async () => {
    await using q = await withQuirk('mount-401')
    const response = await fetch(`${q.uploads}?mount=${digest}&from=a/b`, { method: 'POST' })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, null])
    expect((await fetch(q.uploads, { method: 'POST' })).status).toBe(202)
  },
  'mount-202': async () => {
    await using q = await withQuirk('mount-202')
    const url = `${q.registry.url}/v2/c/blobs/uploads/?mount=${digest}&from=a/b`
    const response = await fetch(url, { method: 'POST' })
    expect([response.status, response.headers.get('location')]).toEqual([
      202,
      expect.stringContaining('/uploads/'),
    ])
    const put = await fetch(`${response.headers.get('location')}?digest=${digest}`, {
      method: 'PUT',
      body: blob,
    })
    expect(put.status).toBe(201)
  },
  'relative-location': async () => {
    await using q = await withQuirk('relative-location')
    const response = await fetch(q.uploads, { method: 'POST' })
    const location = response.headers.get('location') ?? ''
    expect(location).toMatch(/^\/v2\/a\/b\/blobs\/uploads\/[0-9a-f-]{36}$/)
    const url = `${q.registry.url}${location}?digest=${digest}`
    expect((await fetch(url, { method: 'PUT', body: blob })).headers.get('location')).toMatch(/^\/v2\//)
  },
  'location-with-query': async () => {
    await using q = await withQuirk('location-with-query')
    const response = await fetch(q.uploads, { method: 'POST' })
    const location = response.headers.get('location') ?? ''
    const url = new URL(location)
    expect(url.search).toMatch(/%/)
    const bare = `${url.origin}${url.pathname}?digest=${digest}`
    const refused = await fetch(bare, { method: 'PUT', body: blob })
    expect([refused.status, await codeOf(refused)]).toEqual([400, 'BLOB_UPLOAD_INVALID'])
    const next = (await fetch(location, { method: 'PATCH', body: blob })).headers.get('location') ?? ''
    expect(new URL(next).search).toBe(url.search)
    expect((await fetch(`${next}&digest=${digest}`, { method: 'PUT' })).status).toBe(201)
  },
  'head-405': async () => {
    await using q = await withQuirk('head-405')
    expect((await fetch(q.manifestUrl, { method: 'HEAD' })).status).toBe(405)
    expect((await fetch(q.blobUrl, { method: 'HEAD' })).status).toBe(405)
    expect((await fetch(q.manifestUrl)).status).toBe(200)
  },
  'wrong-content-length': async () => {
    await using q = await withQuirk('wrong-content-length')
    for (let i = 0; i < 2; i++) {
      const response = await fetch(q.blobUrl)
      expect(response.headers.get('content-length')).toBe(String(blob.length))
      expect(await drain(response)).toEqual({ bytes: blob.subarray(0, -1), broke: true })
    }
    expect((await drain(await fetch(q.blobUrl, from(blob.length - 2)))).bytes).toHaveLength(1)
  },
  'truncate-once': async () => {
    await using q = await withQuirk('truncate-once')
    const first = await drain(await fetch(q.blobUrl))
    expect(first).toEqual({ bytes: blob.subarray(0, blob.length / 2), broke: true })
    const rest = await drain(await fetch(q.blobUrl, from(first.bytes.length)))
    expect(rest.broke).toBe(false)
    expect(Buffer.concat([first.bytes, rest.bytes])).toEqual(blob)
    expect(q.registry.requests.map((entry) => entry.bytesSent)).toEqual([blob.length / 2, blob.length / 2])
  },
  'corrupt-blob': async () => {
    await using q = await withQuirk('corrupt-blob')
    const bytes = await bytesOf(await fetch(q.blobUrl))
    const changed = [...bytes.keys()].filter((i) => bytes[i] !== blob[i])
    expect([bytes.length, changed]).toEqual([blob.length, [blob.length / 2]])
    const part = await bytesOf(await fetch(q.blobUrl, from(blob.length / 2 - 10)))
    expect(part).toEqual(bytes.subarray(blob.length / 2 - 10))
    const after = await bytesOf(await fetch(q.blobUrl, from(blob.length / 2 + 1)))
    expect(after).toEqual(blob.subarray(blob.length / 2 + 1))
  },
  'corrupt-manifest': async () => {
    await using q = await withQuirk('corrupt-manifest')
    const response = await fetch(q.manifestUrl)
    expect(response.headers.get('docker-content-digest')).toBe(built.descriptor.digest)
    const bytes = await bytesOf(response)
    const spoilt = parseManifest(bytes, 'the manifest')
    expect(spoilt.digest).not.toBe(built.descriptor.digest)
    expect(bytes).toHaveLength(built.bytes.length)
    expect(q.registry.store.manifest('a/b', '1')?.bytes).toEqual(built.bytes)
  },
  'html-200': async () => {
    await using q = await withQuirk('html-200', { auth: { basic: {} } })
    for (const url of [q.manifestUrl, q.blobUrl, `${q.registry.url}/v2/`]) {
      const response = await fetch(url)
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html'])
      expect(await response.text()).toContain('<html>')
    }
  },
  'endless-body': async () => {
    await using q = await withQuirk('endless-body')
    const response = await fetch(q.manifestUrl)
    let size = 0
    for await (const chunk of response.body ?? []) {
      size += (chunk as Uint8Array).length
      if (size > 9_000_000) break
    }
    expect(size).toBeGreaterThan(9_000_000)
  },
  'busy-once': async () => {
    await using q = await withQuirk('busy-once')
    for (const url of [q.manifestUrl, q.blobUrl]) {
      const first = await fetch(url)
      expect([first.status, first.headers.get('retry-after')]).toEqual([503, '0'])
      expect((await fetch(url)).status).toBe(200)
    }
    const put = { method: 'PUT', body: built.bytes }
    expect((await fetch(q.manifestUrl.replace(/1$/, '2'), put)).status).toBe(503)
    expect((await fetch(q.manifestUrl.replace(/1$/, '2'), put)).status).toBe(201)
  },
  'rate-limit-once': async () => {
    await using q = await withQuirk('rate-limit-once')
    const first = await fetch(q.blobUrl)
    expect([first.status, first.headers.get('retry-after'), await codeOf(first)]).toEqual([
      429,
      '0',
      'TOOMANYREQUESTS',
    ])
    expect((await fetch(q.blobUrl)).status).toBe(200)
  },
  'ignore-range': async () => {
    await using q = await withQuirk('ignore-range')
    const response = await fetch(q.blobUrl, from(100))
    expect([response.status, response.headers.get('content-range')]).toEqual([200, null])
    expect(await bytesOf(response)).toEqual(blob)
  },
  'redirect-blobs': async () => {
    await using other = await startRegistry()
    other.store.putBlob('a/b', blob)
    await using q = await withQuirk('redirect-blobs', { redirectTo: other.url })
    const response = await fetch(q.blobUrl, { redirect: 'manual' })
    const location = response.headers.get('location') ?? ''
    expect([response.status, new URL(location).origin]).toEqual([307, other.url])
    expect(new URL(location).searchParams.get('X-Signature')).not.toBe('')
    expect(await bytesOf(await fetch(location))).toEqual(blob)
    expect((await fetch(q.manifestUrl, { redirect: 'manual' })).status).toBe(200)
  },
  'stored-blob-empty': async () => {
    await using q = await withQuirk('stored-blob-empty')
    const head = await fetch(q.blobUrl, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '0'])
    expect(head.headers.get('docker-content-digest')).toBe(digest)
    expect(await bytesOf(await fetch(q.blobUrl))).toHaveLength(0)
    const missing: Digest = digestOf('missing')
    expect((await fetch(q.blobUrl.replace(digest, missing), { method: 'HEAD' })).status).toBe(404)
  },
}

test.each(Object.entries(CASES))('%s', async (_, check) => check())

test('every quirk has a test', () => {
  expect([...Object.keys(CASES), ...Object.keys(UPLOAD_QUIRKS)].toSorted()).toEqual(
    Object.keys(QUIRKS).toSorted(),
  )
})

test('a redirect needs a place to go to', async () => {
  await expect(startRegistry({ quirks: ['redirect-blobs'] })).rejects.toMatchObject({ code: 'USAGE' })
})
