import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { gunzipSync } from 'node:zlib'
import { expect } from 'vitest'
import {
  dockerList,
  helmChart,
  nestedIndex,
  referrerTo,
  seedRegistry,
  umociIndex,
} from '../../../fixtures/images/index.ts'
import { OCI_INDEX } from '../../../src/oci/media-types.ts'
import type { Quirk } from './quirks.ts'
import { bytesOf, codeOf, putManifest } from './client.ts'
import { blob, built, digest, from, withQuirk } from './quirk-place.ts'

const bearer = { auth: { bearer: {} } }

async function challengeWith(quirk: Quirk): Promise<{ challenge: string; realm: string; url: string }> {
  const q = await withQuirk(quirk, bearer)
  try {
    const challenge = (await fetch(q.manifestUrl)).headers.get('www-authenticate') ?? ''
    return {
      challenge,
      realm: /realm="([^"]*)"/.exec(challenge.replace(/^Basic [^,]*/, ''))?.[1] ?? '',
      url: q.registry.url,
    }
  } finally {
    await q.registry.close()
  }
}

async function fieldsWith(quirk: Quirk): Promise<string[]> {
  await using q = await withQuirk(quirk, bearer)
  return Object.keys((await (await fetch(`${q.registry.url}/token`)).json()) as object)
}

/** As it comes over the wire: fetch would decode it. */
async function raw(
  url: string,
  method = 'GET',
): Promise<{ headers: NodeJS.Dict<string | string[]>; bytes: Buffer; error?: string }> {
  const asked = request(url, { method }).end()
  // What breaks off is told by the answer.
  asked.on('error', () => {})
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer)
  } catch (error) {
    return {
      headers: response.headers,
      bytes: Buffer.concat(chunks),
      error: (error as NodeJS.ErrnoException).code ?? '',
    }
  }
  return { headers: response.headers, bytes: Buffer.concat(chunks) }
}

async function redirected(quirk: Quirk): Promise<[number, string | null]> {
  await using q = await withQuirk(quirk, { redirectTo: 'http://other.test' })
  const response = await fetch(q.blobUrl, { redirect: 'manual' })
  return [response.status, response.headers.get('location')]
}

async function refusedOnce(quirk: Quirk): Promise<[number, string | null, number]> {
  await using q = await withQuirk(quirk)
  const first = await fetch(q.blobUrl)
  return [first.status, first.headers.get('retry-after'), (await fetch(q.blobUrl)).status]
}

async function subjectHeader(quirk: Quirk): Promise<[string | null, number]> {
  await using q = await withQuirk(quirk)
  const referrer = referrerTo(built.descriptor, 'text/plain', 'x')
  seedRegistry(q.registry.store, 'a/b', referrer)
  const base = q.blobUrl.replace(/\/blobs\/.*/, '')
  const put = await putManifest(base, referrer.descriptor.digest, referrer)
  const list = await fetch(`${base}/referrers/${built.descriptor.digest}`)
  return [put.headers.get('oci-subject'), list.status]
}

const LOCATION = `http://other.test/v2/a/b/blobs/${digest}?X-Signature=`

/** What each of these quirks does, seen by who asks for it directly. */
export const FURTHER_CASES = {
  'basic-and-bearer': async () =>
    expect((await challengeWith('basic-and-bearer')).challenge).toMatch(
      /^Basic .*, Bearer realm=.*, Negotiate$/,
    ),
  'realm-relative': async () => {
    expect((await challengeWith('realm-relative')).realm).toBe('/token?account=a%26b')
    await using q = await withQuirk('realm-relative', bearer)
    expect((await fetch(`${q.registry.url}/token`)).status).toBe(400)
    expect((await fetch(`${q.registry.url}/token?account=a%26b`)).status).toBe(200)
  },
  'realm-with-service': async () => {
    const { realm, url } = await challengeWith('realm-with-service')
    expect(realm).toBe(`${url}/token?service=airgap-embedded-registry`)
    await using q = await withQuirk('realm-with-service', bearer)
    expect((await fetch(`${q.registry.url}/token?service=a&service=a`)).status).toBe(400)
  },
  'token-post-404': async () => {
    await using q = await withQuirk('token-post-404', bearer)
    expect((await fetch(`${q.registry.url}/token`, { method: 'POST' })).status).toBe(404)
  },
  'token-post-405': async () => {
    await using q = await withQuirk('token-post-405', bearer)
    expect((await fetch(`${q.registry.url}/token`, { method: 'POST' })).status).toBe(405)
  },
  'token-only': async () => expect(await fieldsWith('token-only')).not.toContain('access_token'),
  'access-token-only': async () => expect(await fieldsWith('access-token-only')).not.toContain('token'),
  'no-expires-in': async () => expect(await fieldsWith('no-expires-in')).toEqual(['token', 'access_token']),
  'fresh-token-refused': async () => {
    await using q = await withQuirk('fresh-token-refused', bearer)
    const answer = await fetch(`${q.registry.url}/token?scope=repository:a/b:pull`)
    const { token } = (await answer.json()) as { token: string }
    const response = await fetch(q.manifestUrl, { headers: { authorization: `Bearer ${token}` } })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, expect.any(String)])
  },
  'missing-403': async () => {
    await using q = await withQuirk('missing-403')
    const missing = await fetch(q.manifestUrl.replace(/1$/, '2'))
    expect([missing.status, await codeOf(missing)]).toEqual([403, 'DENIED'])
    expect((await fetch(q.manifestUrl)).status).toBe(200)
    expect((await fetch(q.blobUrl.replace(/.$/, '0'))).status).not.toBe(403)
  },
  'busy-date-once': async () => {
    const [status, retryAfter, then] = await refusedOnce('busy-date-once')
    expect([status, then]).toEqual([503, 200])
    expect(Math.abs(Date.parse(retryAfter ?? '') - Date.now())).toBeLessThan(60_000)
  },
  'timeout-408-once': async () => {
    // Node's fetch asks again by itself after a 408.
    await using q = await withQuirk('timeout-408-once')
    await fetch(q.blobUrl)
    expect(q.registry.requests[0]?.status).toBe(408)
  },
  'too-early-425-once': async () => expect(await refusedOnce('too-early-425-once')).toEqual([425, null, 200]),
  'head-no-length': async () => {
    await using q = await withQuirk('head-no-length')
    const { headers } = await raw(q.manifestUrl, 'HEAD')
    expect(headers['content-length']).toBeUndefined()
    expect(headers['docker-content-digest']).toBe(built.descriptor.digest)
  },
  'no-content-type': async () => {
    await using q = await withQuirk('no-content-type')
    expect((await fetch(q.manifestUrl)).headers.get('content-type')).toBeNull()
  },
  'wrong-content-type': async () => {
    await using q = await withQuirk('wrong-content-type')
    expect((await fetch(q.manifestUrl)).headers.get('content-type')).toBe(OCI_INDEX)
  },
  'schema-1': async () => {
    await using q = await withQuirk('schema-1')
    const response = await fetch(q.manifestUrl)
    expect(response.headers.get('content-type')).toContain('manifest.v1+prettyjws')
    expect(await response.json()).toMatchObject({ schemaVersion: 1 })
  },
  'ambiguous-manifest': async () => {
    await using q = await withQuirk('ambiguous-manifest')
    expect(await (await fetch(q.manifestUrl)).json()).toMatchObject({ layers: [], manifests: [], config: {} })
  },
  'media-type-required': async () => {
    await using q = await withQuirk('media-type-required')
    const base = q.manifestUrl.replace(/\/manifests\/1$/, '')
    const index = await umociIndex()
    seedRegistry(q.registry.store, 'a/b', index)
    const refused = await putManifest(base, '2', index)
    expect([refused.status, await codeOf(refused)]).toEqual([405, 'UNSUPPORTED'])
    expect((await putManifest(base, '2', built)).status).toBe(201)
    expect(q.registry.store.manifest('a/b', '2')?.bytes).toEqual(built.bytes)
  },
  'manifest-413': async () => {
    await using q = await withQuirk('manifest-413')
    const base = q.manifestUrl.replace(/\/manifests\/1$/, '')
    expect((await putManifest(base, '2', await helmChart('c'.repeat(1200)))).status).toBe(413)
    expect((await putManifest(base, '2', built)).status).toBe(201)
  },
  'no-tag-list': async () => {
    await using q = await withQuirk('no-tag-list')
    expect((await fetch(`${q.registry.url}/v2/a/b/tags/list`)).status).toBe(404)
  },
  'partial-tag-list': async () => {
    await using q = await withQuirk('partial-tag-list')
    const answer = await fetch(`${q.registry.url}/v2/a/b/tags/list`)
    expect(await answer.json()).toEqual({ name: 'a/b', tags: ['other'] })
  },
  'no-referrers': async () => expect(await subjectHeader('no-referrers')).toEqual([null, 404]),
  'referrers-401': async () => expect(await subjectHeader('referrers-401')).toEqual([null, 401]),
  'referrers-redirect': async () => {
    await using q = await withQuirk('referrers-redirect', { redirectTo: 'http://other.test' })
    const url = `${q.registry.url}/v2/a/b/referrers/${built.descriptor.digest}`
    const response = await fetch(url, { redirect: 'manual' })
    expect([response.status, response.headers.get('location')]).toEqual([
      303,
      'http://other.test/-/referrers',
    ])
  },
  'artifacts-refused': async () => {
    await using q = await withQuirk('artifacts-refused')
    const base = q.manifestUrl.replace(/\/manifests\/1$/, '')
    const refused = await putManifest(base, '2', await helmChart())
    expect([refused.status, await codeOf(refused)]).toEqual([400, 'MANIFEST_INVALID'])
    expect((await putManifest(base, '2', built)).status).toBe(201)
  },
  'docker-types-refused': async () => {
    await using q = await withQuirk('docker-types-refused')
    const base = q.manifestUrl.replace(/\/manifests\/1$/, '')
    const [child] = (await dockerList()).children
    const refused = await putManifest(base, '2', child!)
    expect([refused.status, await codeOf(refused)]).toEqual([415, 'MANIFEST_INVALID'])
    expect((await putManifest(base, '2', built)).status).toBe(201)
  },
  'nested-index-refused': async () => {
    await using q = await withQuirk('nested-index-refused')
    const refused = await putManifest(q.manifestUrl.replace(/\/manifests\/1$/, ''), '2', await nestedIndex())
    expect([refused.status, await codeOf(refused)]).toEqual([400, 'MANIFEST_INVALID'])
  },
  'fallback-tag-is-subject': async () => {
    expect(await subjectHeader('fallback-tag-is-subject')).toEqual([null, 404])
    await using q = await withQuirk('fallback-tag-is-subject')
    const tag = built.descriptor.digest.replace(':', '-')
    expect(await bytesOf(await fetch(q.manifestUrl.replace(/1$/, tag)))).toEqual(built.bytes)
  },
  'no-content-length': async () => {
    await using q = await withQuirk('no-content-length')
    const response = await fetch(q.blobUrl)
    expect(response.headers.get('content-length')).toBeNull()
    expect(await bytesOf(response)).toEqual(blob)
  },
  'reset-once': async () => {
    await using q = await withQuirk('reset-once')
    expect(await raw(q.blobUrl)).toMatchObject({ error: 'ECONNRESET' })
    expect((await raw(q.blobUrl)).bytes).toEqual(blob)
  },
  'range-416': async () => {
    await using q = await withQuirk('range-416')
    expect((await fetch(q.blobUrl, from(10))).status).toBe(416)
    expect((await fetch(q.blobUrl)).status).toBe(200)
  },
  'range-wrong-start': async () => {
    await using q = await withQuirk('range-wrong-start')
    const response = await fetch(q.blobUrl, from(10))
    expect([response.status, response.headers.get('content-range')]).toEqual([
      206,
      `bytes 0-${blob.length - 1}/${blob.length}`,
    ])
    expect(await bytesOf(response)).toEqual(blob)
    expect((await fetch(q.blobUrl)).status).toBe(200)
  },
  'range-wrong-bytes': async () => {
    await using q = await withQuirk('range-wrong-bytes')
    const response = await fetch(q.blobUrl, from(10))
    expect([response.status, response.headers.get('content-range')]).toEqual([
      206,
      `bytes 10-${blob.length - 1}/${blob.length}`,
    ])
    expect(await bytesOf(response)).not.toEqual(blob.subarray(10))
  },
  'redirect-302': async () =>
    expect(await redirected('redirect-302')).toEqual([302, expect.stringContaining(LOCATION)]),
  'redirect-303': async () =>
    expect(await redirected('redirect-303')).toEqual([303, expect.stringContaining(LOCATION)]),
  'redirect-308': async () =>
    expect(await redirected('redirect-308')).toEqual([308, expect.stringContaining(LOCATION)]),
  'redirect-relative': async () => {
    await using q = await withQuirk('redirect-relative')
    const response = await fetch(q.blobUrl, { redirect: 'manual' })
    expect([response.status, response.headers.get('location')]).toEqual([
      307,
      expect.stringMatching(/^\.\.\/blobs\/sha256:/),
    ])
    expect(await bytesOf(await fetch(q.blobUrl))).toEqual(blob)
  },
  'gzip-manifests': async () => {
    await using q = await withQuirk('gzip-manifests')
    const { headers, bytes } = await raw(q.manifestUrl)
    expect(headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(bytes)).toEqual(built.bytes)
    expect((await raw(q.blobUrl)).headers['content-encoding']).toBeUndefined()
  },
  'gzip-blobs': async () => {
    await using q = await withQuirk('gzip-blobs')
    const { headers, bytes } = await raw(q.blobUrl)
    expect([headers['content-encoding'], headers['content-length']]).toEqual(['gzip', undefined])
    expect(gunzipSync(bytes)).toEqual(blob)
    expect((await raw(q.manifestUrl)).headers['content-encoding']).toBeUndefined()
  },
  'gzip-label': async () => {
    await using q = await withQuirk('gzip-label')
    const { headers, bytes } = await raw(q.blobUrl)
    expect(headers['content-encoding']).toBe('gzip')
    expect(bytes).toEqual(blob)
  },
} satisfies Partial<Record<Quirk, () => Promise<void>>>
