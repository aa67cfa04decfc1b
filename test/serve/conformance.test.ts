import { beforeAll, afterAll, describe, expect, test } from 'vitest'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AMD64,
  buildkitIndex,
  dockerList,
  image,
  referrerTo,
  type BuiltImage,
  type BuiltIndex,
} from '../../fixtures/images/index.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { serveBundles, type ServedBundles } from '../../src/serve/serve.ts'
import { bundleOf, draftOf } from '../support/build-bundle.ts'
import { TRUST } from '../verify/check-bundle.ts'
import { bytesOf, codeOf } from '../support/registry/client.ts'

/**
 * What OCI distribution-spec v1.1 requires of a registry that can be pulled from, section by section, and what its
 * conformance suite asks with OCI_TEST_PULL=1 and content that is there already.
 */
let served: ServedBundles
let folder: string
let index: BuiltIndex
let single: BuiltImage
let sbom: BuiltImage
let signature: BuiltImage
const missing = digestOf('missing')

beforeAll(async () => {
  index = await buildkitIndex()
  single = await image('single', AMD64)
  sbom = referrerTo(single.descriptor, 'application/sbom', 'sbom')
  signature = referrerTo(single.descriptor, 'application/signature', 'signature')
  const source = 'registry.example/myorg/myrepo'
  const draft = await draftOf([
    { source: `${source}:tagtest0`, built: single },
    ...['a', 'b', 'c', 'd'].map((tag) => ({ source: `${source}:${tag}`, built: index })),
    { source: `${source}:docker`, built: await dockerList() },
    { source: `${source}:sbom`, built: sbom },
    { source: `${source}@${signature.descriptor.digest}`, built: signature },
  ])
  folder = await mkdtemp(join(tmpdir(), 'airgap-conformance-'))
  const path = join(folder, 'bundle.tar')
  await writeFile(path, bundleOf(draft))
  served = await serveBundles([path], { trust: TRUST, listen: { host: '127.0.0.1', port: 0 } })
})
afterAll(async () => {
  await served?.stop(0)
  await rm(folder, { recursive: true, force: true })
})

const ask = (path: string, init?: RequestInit): Promise<Response> =>
  fetch(`${served.url}/v2/myorg/myrepo/${path}`, init)
const methods = ['GET', 'HEAD'] as const

describe('Determining Support', () => {
  test('GET /v2/ is 200', async () => {
    expect((await fetch(`${served.url}/v2/`)).status).toBe(200)
  })
})

describe('Pulling manifests', () => {
  test('by digest and by tag: 200, the bytes, their type without parameters, digest and length', async () => {
    for (const [reference, built] of [
      ['tagtest0', single],
      [single.descriptor.digest, single],
      ['a', index],
      [index.descriptor.digest, index],
    ] as const) {
      for (const method of methods) {
        const response = await ask(`manifests/${reference}`, { method, headers: { accept: OCI_MANIFEST } })
        expect(response.status).toBe(200)
        expect(response.headers.get('content-type')).toBe(built.descriptor.mediaType)
        expect(response.headers.get('docker-content-digest')).toBe(built.descriptor.digest)
        expect(response.headers.get('content-length')).toBe(String(built.bytes.length))
        expect(await bytesOf(response)).toEqual(method === 'GET' ? built.bytes : Buffer.alloc(0))
      }
    }
  })

  test('whatever the Accept header says, it comes as it is', async () => {
    for (const accept of ['text/plain', 'application/vnd.docker.distribution.manifest.v1+json', '*/*', '']) {
      const response = await ask('manifests/a', { headers: { accept } })
      expect([response.status, response.headers.get('content-type')]).toEqual([200, OCI_INDEX])
    }
  })

  test('each child of an index is there by its digest', async () => {
    for (const { descriptor, bytes } of index.children) {
      const response = await ask(`manifests/${descriptor.digest}`)
      expect([response.status, await bytesOf(response)]).toEqual([200, bytes])
    }
  })

  test('one that is not there is 404, also under a name that cannot be a tag', async () => {
    for (const reference of ['nothing', missing, '.INVALID_MANIFEST_NAME', 't'.repeat(129)]) {
      for (const method of methods) {
        expect((await ask(`manifests/${reference}`, { method })).status).toBe(404)
      }
      expect(await codeOf(await ask(`manifests/${reference}`))).toBe('MANIFEST_UNKNOWN')
    }
  })
})

describe('Pulling blobs', () => {
  test('200 with the bytes, digest and length; HEAD the same without the bytes', async () => {
    for (const { descriptor, bytes } of [single.config, ...single.layers]) {
      for (const method of methods) {
        const response = await ask(`blobs/${descriptor.digest}`, { method })
        expect(response.status).toBe(200)
        expect(response.headers.get('docker-content-digest')).toBe(descriptor.digest)
        expect(response.headers.get('content-length')).toBe(String(bytes.length))
        expect(await bytesOf(response)).toEqual(method === 'GET' ? Buffer.from(bytes) : Buffer.alloc(0))
      }
    }
  })

  test('one that is not in the repository is 404', async () => {
    for (const method of methods) {
      expect((await ask(`blobs/${missing}`, { method })).status).toBe(404)
      const elsewhere = `${served.url}/v2/myorg/other/blobs/${single.config.descriptor.digest}`
      expect((await fetch(elsewhere, { method })).status).toBe(404)
    }
    expect(await codeOf(await ask(`blobs/${missing}`))).toBe('BLOB_UNKNOWN')
  })

  test('Range by RFC 9110: from-to, from on, the last ones, none of it', async () => {
    const { descriptor, bytes } = single.layers[0] ?? single.config
    const size = bytes.length
    const range = async (
      value: string,
      more: Record<string, string> = {},
    ): Promise<[number, string | null, Buffer]> => {
      const response = await ask(`blobs/${descriptor.digest}`, { headers: { range: value, ...more } })
      return [response.status, response.headers.get('content-range'), await bytesOf(response)]
    }
    const part = (from: number, to: number): Buffer => Buffer.from(bytes.subarray(from, to))
    expect(await range('bytes=3-9')).toEqual([206, `bytes 3-9/${size}`, part(3, 10)])
    expect(await range('bytes=5-')).toEqual([206, `bytes 5-${size - 1}/${size}`, part(5, size)])
    expect(await range('bytes=-4')).toEqual([
      206,
      `bytes ${size - 4}-${size - 1}/${size}`,
      part(size - 4, size),
    ])
    expect(await range(`bytes=2-${size + 9}`)).toEqual([206, `bytes 2-${size - 1}/${size}`, part(2, size)])
    expect((await range(`bytes=${size}-`)).slice(0, 2)).toEqual([416, `bytes */${size}`])
    expect((await range('bytes=-0')).slice(0, 2)).toEqual([416, `bytes */${size}`])
    for (const ignored of ['bytes=9-3', 'lines=1-2', 'bytes=0-1,4-5', 'bytes=x']) {
      expect(await range(ignored)).toEqual([200, null, Buffer.from(bytes)])
    }
    expect((await range('bytes=3-9', { 'if-range': `"${descriptor.digest}"` }))[0]).toBe(206)
    expect((await range('bytes=3-9', { 'if-range': '"other"' }))[0]).toBe(200)
  })

  test('what the client has already is 304', async () => {
    for (const path of [`blobs/${single.config.descriptor.digest}`, 'manifests/tagtest0']) {
      const etag = (await ask(path)).headers.get('etag') ?? ''
      const again = await ask(path, { headers: { 'if-none-match': `"other", ${etag}` } })
      expect([again.status, await again.text()]).toEqual([304, ''])
      expect((await ask(path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
    }
  })
})

describe('Listing Tags', () => {
  const tags = ['a', 'airgap-', 'b', 'c', 'd', 'docker', 'sbom', 'tagtest0']
  const list = async (query: string): Promise<{ status: number; tags: string[]; link: string | null }> => {
    const response = await ask(`tags/list${query}`)
    const body = (await response.json()) as { name: string; tags: string[] }
    expect(body.name).toBe('myorg/myrepo')
    return {
      status: response.status,
      tags: body.tags.map((tag) => tag.replace(/^airgap-[0-9a-f]{12}$/, 'airgap-')),
      link: response.headers.get('link'),
    }
  }

  test('all in lexical order; n limits them, last begins after it, Link leads on', async () => {
    expect(await list('')).toEqual({ status: 200, tags, link: null })
    const first = await list('?n=3')
    expect(first.tags).toEqual(tags.slice(0, 3))
    expect(first.link).toMatch(/^<\/v2\/myorg\/myrepo\/tags\/list\?n=3&last=b>; rel="next"$/)
    expect((await list('?n=2&last=b')).tags).toEqual(['c', 'd'])
    expect((await list('?last=d')).tags).toEqual(tags.slice(5))
    expect((await list('?n=0')).tags).toEqual([])
    expect((await list('?last=tagtest0')).tags).toEqual([])
  })

  test('a repository that is not there is 404', async () => {
    const response = await fetch(`${served.url}/v2/nobody/tags/list`)
    expect([response.status, await codeOf(response)]).toEqual([404, 'NAME_UNKNOWN'])
  })
})

describe('Listing Referrers', () => {
  const referrers = async (digest: string, query = ''): Promise<[Response, { artifactType: string }[]]> => {
    const response = await ask(`referrers/${digest}${query}`)
    const body = (await response.json()) as { manifests: { artifactType: string }[] }
    return [response, body.manifests]
  }

  test('an index of what has this subject, filtered where that is asked; empty is 200, too', async () => {
    const [all, both] = await referrers(single.descriptor.digest)
    expect([all.status, all.headers.get('content-type')]).toEqual([200, OCI_INDEX])
    expect(both.map(({ artifactType }) => artifactType).toSorted()).toEqual([
      'application/sbom',
      'application/signature',
    ])
    const [some, one] = await referrers(single.descriptor.digest, '?artifactType=application/sbom')
    expect(some.headers.get('oci-filters-applied')).toBe('artifactType')
    expect(one).toMatchObject([{ digest: sbom.descriptor.digest, size: sbom.descriptor.size }])
    const [none, empty] = await referrers(missing)
    expect([none.status, none.headers.get('content-type'), empty]).toEqual([200, OCI_INDEX, []])
  })

  test('a digest in no valid form is 400', async () => {
    expect((await ask('referrers/sha256:short')).status).toBe(400)
  })
})

describe('Error Codes', () => {
  test('what is no digest is 400 with a code and a message in JSON', async () => {
    for (const [path, method] of [
      ['manifests/sha256:totallywrong', 'PUT'],
      ['manifests/sha256:baddigeststring', 'GET'],
      ['blobs/sha256:baddigeststring', 'GET'],
    ] as const) {
      const response = await ask(path, { method, ...(method === 'PUT' ? { body: 'blablabla' } : {}) })
      expect([response.status, response.headers.get('content-type')]).toEqual([400, 'application/json'])
      const { errors } = (await response.json()) as { errors: { code: string; message: string }[] }
      expect(errors).toEqual([{ code: 'DIGEST_INVALID', message: expect.stringMatching(/./) }])
    }
  })

  test('everything that would write is 405, and changes nothing', async () => {
    const { digest } = single.descriptor
    for (const [method, path] of [
      ['POST', 'blobs/uploads/'],
      ['POST', `blobs/uploads/?mount=${single.config.descriptor.digest}&from=myorg/myrepo`],
      ['PUT', 'blobs/uploads/00000000-0000-0000-0000-000000000000'],
      ['PATCH', 'blobs/uploads/00000000-0000-0000-0000-000000000000'],
      ['PUT', 'manifests/new'],
      ['PUT', `manifests/${digest}`],
      ['DELETE', 'manifests/tagtest0'],
      ['DELETE', `manifests/${digest}`],
      ['DELETE', `blobs/${single.config.descriptor.digest}`],
      ['POST', 'tags/list'],
      ['DELETE', `referrers/${digest}`],
    ] as const) {
      const response = await ask(path, { method, ...(method === 'DELETE' ? {} : { body: 'x' }) })
      expect([path, response.status]).toEqual([path, 405])
      const { errors } = (await response.json()) as { errors: unknown }
      expect(errors).toEqual([{ code: 'UNSUPPORTED', message: 'this registry is read-only' }])
    }
    expect((await ask('manifests/tagtest0')).status).toBe(200)
    expect((await ask('manifests/new')).status).toBe(404)
  })
})
