import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { MemoryStore } from './memory-store.ts'
import { serve } from '../../../src/serve/registry/registry.ts'
import { startRegistry, type EmbeddedRegistry } from './registry.ts'
import type { ContentStore } from '../../../src/serve/registry/store.ts'
import {
  AMD64,
  buildIndex,
  foreignLayerImage,
  image,
  nestedIndex,
  referrerTo,
  seedRegistry,
  umociIndex,
} from '../../../fixtures/images/index.ts'
import { ACCEPT, bytesOf, codeOf, pushBlob, pushImage, putManifest } from './client.ts'

let registry: EmbeddedRegistry
let base: string
beforeAll(async () => {
  registry = await startRegistry({ maxBlobSize: 1000 })
  base = `${registry.url}/v2/pushed`
})
afterAll(async () => registry.close())

const content = Buffer.from('the content of a blob')
const digest = digestOf(content)

async function start(repository = base): Promise<string> {
  const response = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' })
  expect([response.status, response.headers.get('range')]).toEqual([202, '0-0'])
  return response.headers.get('location') ?? ''
}

async function patch(location: string, body: Uint8Array, range?: string): Promise<Response> {
  return await fetch(location, {
    method: 'PATCH',
    body,
    headers: { 'content-type': 'application/octet-stream', ...(range ? { 'content-range': range } : {}) },
  })
}

const present = async (repository: string, of: Digest): Promise<boolean> =>
  (await fetch(`${registry.url}/v2/${repository}/blobs/${of}`, { method: 'HEAD' })).status === 200

test('a blob goes up in one PUT, in one POST, and a second time', async () => {
  const location = await start()
  const put = await fetch(`${location}?digest=${digest}`, { method: 'PUT', body: content })
  expect([put.status, put.headers.get('docker-content-digest')]).toEqual([201, digest])
  const back = await fetch(put.headers.get('location') ?? '')
  expect(await bytesOf(back)).toEqual(content)
  await pushBlob(base, content)
  expect((await fetch(location, { method: 'GET' })).status).toBe(404)
})

test('a blob goes up in chunks, and the status says how far it is', async () => {
  const repository = `${registry.url}/v2/chunked`
  const location = await start(repository)
  const first = await patch(location, content.subarray(0, 8), '0-7')
  expect([first.status, first.headers.get('range')]).toEqual([202, '0-7'])

  const gap = await patch(location, content.subarray(10), `10-${content.length - 1}`)
  expect([gap.status, gap.headers.get('range')]).toEqual([416, '0-7'])
  const short = await patch(location, content.subarray(8, 10), '8-12')
  expect([short.status, await codeOf(short)]).toEqual([400, 'SIZE_INVALID'])
  const unreadable = await patch(location, content.subarray(8), 'bytes 8-20/21')
  expect(unreadable.status).toBe(400)

  const status = await fetch(location)
  expect([status.status, status.headers.get('range')]).toEqual([204, '0-7'])
  expect((await patch(location, content.subarray(8, 12))).headers.get('range')).toBe('0-11')
  const end = await fetch(`${location}?digest=${digest}`, {
    method: 'PUT',
    body: content.subarray(12),
    headers: { 'content-range': `12-${content.length - 1}` },
  })
  expect(end.status).toBe(201)
  expect(await present('chunked', digest)).toBe(true)
})

test('a chunk that breaks off adds nothing, and the upload goes on from before it', async () => {
  const repository = `${registry.url}/v2/broken`
  const location = await start(repository)
  await patch(location, content.subarray(0, 5), '0-4')
  const cut = httpRequest(location, { method: 'PATCH', headers: { 'content-length': '16' } })
  const broken = once(cut, 'error')
  const before = registry.requests.length
  cut.write(content.subarray(5, 9))
  await vi.waitUntil(() => (registry.requests[before]?.bytesReceived ?? 0) > 0)
  cut.destroy(new Error('cut'))
  await broken

  const rest = await patch(location, content.subarray(5), `5-${content.length - 1}`)
  expect(rest.status).toBe(202)
  expect((await fetch(`${location}?digest=${digest}`, { method: 'PUT' })).status).toBe(201)
})

test('content that is not what its digest says is refused and leaves nothing behind', async () => {
  const repository = `${registry.url}/v2/liar`
  const wrong = digestOf('something else')
  const atOnce = await fetch(`${repository}/blobs/uploads/?digest=${wrong}`, {
    method: 'POST',
    body: content,
  })
  expect([atOnce.status, await codeOf(atOnce)]).toEqual([400, 'DIGEST_INVALID'])
  const location = await start(repository)
  const put = await fetch(`${location}?digest=${wrong}`, { method: 'PUT', body: content })
  expect([put.status, await codeOf(put)]).toEqual([400, 'DIGEST_INVALID'])
  for (const bad of ['', '?digest=sha256:00', '?digest=sha512:00']) {
    const refused = await fetch(`${await start(repository)}${bad}`, { method: 'PUT', body: content })
    expect([refused.status, await codeOf(refused)]).toEqual([400, 'DIGEST_INVALID'])
  }
  expect(await present('liar', wrong)).toBe(false)
  expect(await present('liar', digest)).toBe(false)
})

test('a blob is mounted from a repository that has it, and an upload opens where none has', async () => {
  await pushBlob(`${registry.url}/v2/source`, content)
  const post = async (query: string): Promise<number> =>
    (await fetch(`${registry.url}/v2/target/blobs/uploads/?${query}`, { method: 'POST' })).status
  expect(await post(`mount=${digest}&from=elsewhere`)).toBe(202)
  expect(await post(`mount=${digest}`)).toBe(202)
  expect(await present('target', digest)).toBe(false)
  expect(await post(`mount=${digest}&from=source`)).toBe(201)
  expect(await present('target', digest)).toBe(true)
  expect(await post(`mount=${digest}&from=../source`)).toBe(400)
  expect(await post('mount=sha256:00&from=source')).toBe(400)
})

test('an upload can be given up, and belongs to its repository', async () => {
  const location = await start()
  expect((await fetch(location.replace('/v2/pushed/', '/v2/other/'))).status).toBe(404)
  expect((await fetch(location, { method: 'DELETE' })).status).toBe(204)
  expect((await patch(location, content)).status).toBe(404)
})

test('bodies beyond the limits are answered 413', async () => {
  const big = Buffer.alloc(1001)
  const post = await fetch(`${base}/blobs/uploads/?digest=${digestOf(big)}`, { method: 'POST', body: big })
  expect(post.status).toBe(413)
  const location = await start()
  expect((await patch(location, big.subarray(0, 600))).status).toBe(202)
  expect((await patch(location, big.subarray(0, 600))).status).toBe(413)

  const unannounced = new ReadableStream({
    start(controller) {
      for (let i = 0; i < 5; i++) controller.enqueue(Buffer.alloc(1024 * 1024, ' '))
      controller.close()
    },
  })
  const put = await fetch(`${base}/manifests/big`, { method: 'PUT', body: unannounced, duplex: 'half' })
  expect([put.status, await codeOf(put)]).toEqual([413, 'SIZE_INVALID'])
})

test('a connection is of further use after a body that was too large', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Set<unknown>()
  const put = async (size: number): Promise<number | undefined> => {
    const request = httpRequest(`${base}/manifests/big`, { method: 'PUT', agent })
    request.on('socket', (socket) => sockets.add(socket))
    for (let sent = 0; sent < size; sent += 1024) request.write(Buffer.alloc(1024, ' '))
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    await once(response.resume(), 'end')
    return response.statusCode
  }
  expect([await put(6 * 1024 * 1024), await put(1024)]).toEqual([413, 400])
  expect(sockets.size).toBe(1)
  agent.destroy()
})

test('images, indexes and nested ones go up children first, and come back the same', async () => {
  const roomy = await startRegistry()
  for (const built of [await image('x', AMD64), await nestedIndex(), await umociIndex()]) {
    const repository = `${roomy.url}/v2/images`
    const response = await pushImage(repository, 'tag', built)
    expect([response.status, response.headers.get('docker-content-digest')]).toEqual([
      201,
      built.descriptor.digest,
    ])
    const back = await fetch(`${repository}/manifests/tag`, { headers: ACCEPT })
    expect(await bytesOf(back)).toEqual(built.bytes)
    expect(back.headers.get('content-type')).toBe(built.descriptor.mediaType)
  }
  await roomy.close()
})

test('a manifest or an index with missing children is refused, each of them named', async () => {
  const built = await image('missing', AMD64)
  const alone = await putManifest(base, 'x', built)
  expect(alone.status).toBe(400)
  const { errors } = (await alone.json()) as { errors: { code: string; detail: { digest: string } }[] }
  expect(errors.map((error) => [error.code, error.detail.digest])).toEqual(
    [built.config, ...built.layers].map((blob) => ['MANIFEST_BLOB_UNKNOWN', blob.descriptor.digest]),
  )
  const index = await putManifest(base, 'x', buildIndex([built]))
  expect([index.status, await codeOf(index)]).toEqual([400, 'MANIFEST_BLOB_UNKNOWN'])
  expect((await fetch(`${base}/manifests/x`)).status).toBe(404)
})

test('a layer with URLs may be missing', async () => {
  const roomy = await startRegistry()
  const repository = `${roomy.url}/v2/foreign`
  const built = await foreignLayerImage(['http://127.0.0.1:1/layer'])
  await pushBlob(repository, built.config.bytes)
  expect((await putManifest(repository, 'x', built)).status).toBe(400)
  for (const layer of built.layers.slice(1)) await pushBlob(repository, layer.bytes)
  expect((await putManifest(repository, 'x', built)).status).toBe(201)
  await roomy.close()
})

test.each([
  ['no JSON', 'hello', undefined],
  ['a key twice', '{"schemaVersion":2,"schemaVersion":2,"manifests":[]}', undefined],
  ['two kinds at once', '{"schemaVersion":2,"manifests":[],"layers":[]}', undefined],
  ['schema 1', '{"schemaVersion":1}', undefined],
  ['another media type than announced', '{"schemaVersion":2,"manifests":[]}', 'application/json'],
])('a manifest with %s is refused', async (_, body, type) => {
  const response = await fetch(`${base}/manifests/bad`, {
    method: 'PUT',
    body: Buffer.from(body),
    headers: type === undefined ? {} : { 'content-type': type },
  })
  expect([response.status, await codeOf(response)]).toEqual([400, 'MANIFEST_INVALID'])
})

test('a manifest put under another digest is refused', async () => {
  const response = await putManifest(base, digestOf('other'), buildIndex([]))
  expect([response.status, await codeOf(response)]).toEqual([400, 'DIGEST_INVALID'])
})

test('a manifest with a subject is answered OCI-Subject and listed', async () => {
  const subject = buildIndex([]).descriptor
  const repository = `${registry.url}/v2/subjects`
  const artifact = referrerTo(subject, 'application/x.test', 'text')
  const response = await pushImage(repository, artifact.descriptor.digest, artifact)
  expect(response.headers.get('oci-subject')).toBe(subject.digest)
  const list = await fetch(`${repository}/referrers/${subject.digest}`)
  expect(((await list.json()) as { manifests: { digest: string }[] }).manifests[0]?.digest).toBe(
    artifact.descriptor.digest,
  )
})

test('deleting a tag leaves the manifest; deleting the manifest takes its tags', async () => {
  const built = buildIndex([])
  const repository = `${registry.url}/v2/gone`
  for (const tag of ['a', 'b', 'c']) await putManifest(repository, tag, built)
  const status = async (method: string, reference: string): Promise<number> =>
    (await fetch(`${repository}/manifests/${reference}`, { method })).status
  expect(await status('DELETE', 'a')).toBe(202)
  expect([await status('GET', 'a'), await status('GET', 'b')]).toEqual([404, 200])
  expect(await status('DELETE', built.descriptor.digest)).toBe(202)
  expect([await status('GET', 'b'), await status('DELETE', 'c')]).toEqual([404, 404])

  await pushBlob(repository, content)
  const blob = async (): Promise<number> =>
    (await fetch(`${repository}/blobs/${digest}`, { method: 'DELETE' })).status
  expect([await blob(), await blob()]).toEqual([202, 404])
})

test('a store that can only be read is served, and every change refused', async () => {
  const full = new MemoryStore()
  const built = await image('kept', AMD64)
  seedRegistry(full, 'kept:1', built)
  const readOnly: ContentStore = {
    repositories: async () => full.repositories(),
    tags: async (repository) => full.tags(repository),
    manifest: async (repository, reference) => full.manifest(repository, reference),
    blob: async (repository, of) => full.blob(repository, of),
    referrers: async (repository, of) => full.referrers(repository, of),
  }
  await using server = await serve(readOnly)
  const repository = `${server.url}/v2/kept`
  expect(await bytesOf(await fetch(`${repository}/manifests/1`, { headers: ACCEPT }))).toEqual(built.bytes)
  expect((await fetch(`${repository}/blobs/${built.config.descriptor.digest}`)).status).toBe(200)
  expect((await fetch(`${repository}/tags/list`)).status).toBe(200)
  const changes: [string, string][] = [
    ['PUT', 'manifests/2'],
    ['DELETE', 'manifests/1'],
    ['DELETE', `blobs/${built.config.descriptor.digest}`],
    ['POST', 'blobs/uploads/'],
  ]
  for (const [method, path] of changes) {
    const response = await fetch(`${repository}/${path}`, { method })
    expect([method, path, response.status, await codeOf(response)]).toEqual([
      method,
      path,
      405,
      'UNSUPPORTED',
    ])
  }
  expect(full.tags('kept')).toEqual(['1'])
})
