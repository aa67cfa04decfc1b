import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts'
import { startRegistry, type EmbeddedRegistry } from './registry.ts'
import {
  AMD64,
  buildkitIndex,
  dockerList,
  image,
  referrerTo,
  seedRegistry,
  type BuiltIndex,
} from '../../../fixtures/images/index.ts'
import { ACCEPT, bytesOf, codeOf } from './client.ts'

let registry: EmbeddedRegistry
let index: BuiltIndex
let base: string
const blob = Buffer.from('0123456789')

beforeAll(async () => {
  registry = await startRegistry()
  index = await buildkitIndex()
  base = `${registry.url}/v2/team/app`
  for (const tag of ['1.0', '1.1', '1.2', 'latest']) seedRegistry(registry.store, `team/app:${tag}`, index)
  seedRegistry(registry.store, 'docker/list:1', await dockerList())
  registry.store.putBlob('team/app', blob)
})
afterAll(async () => registry.close())

test('the base answers, and what is not there is told apart', async () => {
  const response = await fetch(`${registry.url}/v2/`)
  expect(response.status).toBe(200)
  expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
  expect((await fetch(`${registry.url}/other`)).status).toBe(404)

  const missing = digestOf('missing')
  const cases: [string, string][] = [
    [`${base}/manifests/none`, 'MANIFEST_UNKNOWN'],
    [`${base}/manifests/${missing}`, 'MANIFEST_UNKNOWN'],
    [`${base}/blobs/${missing}`, 'BLOB_UNKNOWN'],
    [`${registry.url}/v2/nobody/tags/list`, 'NAME_UNKNOWN'],
  ]
  for (const [url, code] of cases) {
    const answer = await fetch(url)
    expect([answer.status, await codeOf(answer)]).toEqual([404, code])
  }
})

test('a manifest comes by tag and by digest, byte for byte, and HEAD says the same without the body', async () => {
  for (const reference of ['latest', index.descriptor.digest]) {
    const response = await fetch(`${base}/manifests/${reference}`, { headers: ACCEPT })
    expect(response.status).toBe(200)
    expect(await bytesOf(response)).toEqual(index.bytes)
    const head = await fetch(`${base}/manifests/${reference}`, { method: 'HEAD', headers: ACCEPT })
    expect(await head.text()).toBe('')
    for (const answer of [response, head]) {
      expect(answer.headers.get('content-type')).toBe(OCI_INDEX)
      expect(answer.headers.get('docker-content-digest')).toBe(index.descriptor.digest)
      expect(answer.headers.get('content-length')).toBe(String(index.bytes.length))
    }
  }
})

test('the Accept header is honoured', async () => {
  const get = async (accept: string): Promise<number> =>
    (await fetch(`${registry.url}/v2/docker/list/manifests/1`, { headers: { accept } })).status
  expect(await get(DOCKER_LIST)).toBe(200)
  expect(await get(`${OCI_MANIFEST}, ${DOCKER_LIST};q=0.5`)).toBe(200)
  expect(await get('*/*')).toBe(200)
  expect(await get(OCI_INDEX)).toBe(404)
  expect(await get(`${DOCKER_LIST};q=0`)).toBe(404)
})

test('a blob comes whole and in ranges', async () => {
  const url = `${base}/blobs/${digestOf(blob)}`
  const whole = await fetch(url)
  expect([whole.status, await whole.text()]).toEqual([200, '0123456789'])
  expect(whole.headers.get('accept-ranges')).toBe('bytes')
  expect(whole.headers.get('docker-content-digest')).toBe(digestOf(blob))

  const part = await fetch(url, { headers: { range: 'bytes=3-5' } })
  expect([part.status, await part.text()]).toEqual([206, '345'])
  expect(part.headers.get('content-range')).toBe('bytes 3-5/10')
  expect(part.headers.get('content-length')).toBe('3')

  const rest = await fetch(url, { headers: { range: 'bytes=7-' } })
  expect([rest.status, await rest.text()]).toEqual([206, '789'])

  const beyond = await fetch(url, { headers: { range: 'bytes=10-' } })
  expect(beyond.status).toBe(416)
  expect(beyond.headers.get('content-range')).toBe('bytes */10')

  const head = await fetch(url, { method: 'HEAD' })
  expect([head.status, head.headers.get('content-length')]).toEqual([200, '10'])
})

test('a blob of one repository is not there in another', async () => {
  expect((await fetch(`${registry.url}/v2/docker/list/blobs/${digestOf(blob)}`)).status).toBe(404)
})

test('tags and repositories come sorted, in pages with a Link to the next', async () => {
  const all: unknown = await (await fetch(`${base}/tags/list`)).json()
  expect(all).toEqual({ name: 'team/app', tags: ['1.0', '1.1', '1.2', 'latest'] })

  const seen: string[] = []
  let url: string | undefined = `${base}/tags/list?n=3`
  while (url !== undefined) {
    const response: Response = await fetch(url)
    const { tags } = (await response.json()) as { tags: string[] }
    seen.push(tags.join(' '))
    const next: string | undefined = /^<(.*)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1]
    url = next && new URL(next, registry.url).href
  }
  expect(seen).toEqual(['1.0 1.1 1.2', 'latest'])

  const none = await fetch(`${base}/tags/list?n=0`)
  expect([await none.json(), none.headers.get('link')]).toEqual([{ name: 'team/app', tags: [] }, null])
  expect(await codeOf(await fetch(`${base}/tags/list?n=-1`))).toBe('PAGINATION_NUMBER_INVALID')

  const catalog = await fetch(`${registry.url}/v2/_catalog?last=docker/list`)
  expect(await catalog.json()).toEqual({ repositories: ['team/app'] })
})

test('referrers are listed as an index and filtered by artifact type', async () => {
  const subject = (await image('subject', AMD64)).descriptor
  const sbom = referrerTo(subject, 'application/sbom', 'sbom')
  const signature = referrerTo(subject, 'application/signature', 'signature')
  for (const artifact of [sbom, signature]) seedRegistry(registry.store, 'team/refs', artifact)
  const url = `${registry.url}/v2/team/refs/referrers/${subject.digest}`

  const all = await fetch(url)
  expect([all.headers.get('content-type'), all.headers.get('oci-filters-applied')]).toEqual([OCI_INDEX, null])
  const { manifests } = (await all.json()) as { manifests: object[] }
  expect(manifests).toEqual(
    [sbom, signature].map((artifact, i) => ({
      mediaType: OCI_MANIFEST,
      digest: artifact.descriptor.digest,
      size: artifact.descriptor.size,
      artifactType: ['application/sbom', 'application/signature'][i],
    })),
  )
  const some = await fetch(`${url}?artifactType=application/sbom`)
  expect(some.headers.get('oci-filters-applied')).toBe('artifactType')
  expect(((await some.json()) as { manifests: object[] }).manifests).toHaveLength(1)

  const nothing = await fetch(`${registry.url}/v2/team/refs/referrers/${digestOf('nothing')}`)
  expect([nothing.status, ((await nothing.json()) as { manifests: object[] }).manifests]).toEqual([200, []])
})

test('paths are taken as they stand: no dot parts, no percent escapes, no absolute form', async () => {
  const status = async (path: string): Promise<number | undefined> =>
    await new Promise((resolve, reject) => {
      const { hostname, port } = new URL(registry.url)
      httpRequest({ hostname, port, path }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
        .on('error', reject)
        .end()
    })
  expect(await status('/v2/team/app/tags/list')).toBe(200)
  expect(await status('/v2/x/../team/app/tags/list')).toBe(400)
  expect(await status('/v2/team%2Fapp/tags/list')).toBe(400)
  expect(await status('/v2//team/app/tags/list')).toBe(400)
  expect(await status(`${registry.url}/v2/team/app/tags/list`)).toBe(404)
})

test('requests are logged with status, range and bytes, without queries that could hold secrets', async () => {
  const from = registry.requests.length
  const url = `${base}/blobs/${digestOf(blob)}`
  await (
    await fetch(`${url}?X-Signature=secret`, {
      headers: { range: 'bytes=0-3', authorization: 'Basic c2VjcmV0' },
    })
  ).text()
  const entry = registry.requests[from]
  expect(entry).toMatchObject({
    method: 'GET',
    path: new URL(url).pathname,
    query: {},
    status: 206,
    authorization: 'basic',
    range: 'bytes=0-3',
    bytesSent: 4,
    bytesReceived: 0,
  })
})
