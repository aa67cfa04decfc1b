import { expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MAX_MANIFEST_SIZE } from '../../src/oci/manifest.ts'
import { ACCEPTED_MANIFESTS, DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import {
  failureOf,
  makeClient,
  memoryRegistry,
  registryError,
  sampleManifest,
  serve,
  type Handler,
} from '../support/client.ts'

const manifest = sampleManifest()
const other = sampleManifest({ annotations: { a: 'b' } })

async function repositoryOn(handler: Handler) {
  const server = await serve(handler)
  const client = makeClient()
  return { server, client, repository: client.repository(server.host, 'team/app') }
}

const answer =
  (bytes: Uint8Array | string, headers: Record<string, string | number> = {}): Handler =>
  (seen, response) => {
    response.writeHead(200, { 'content-type': OCI_MANIFEST, ...headers })
    response.end(seen.method === 'HEAD' ? undefined : bytes)
  }

test('all four kinds are asked for, by tag and by digest', async () => {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', manifest).set(manifest.digest, manifest)
  const { server, repository } = await repositoryOn(memory.handle)
  expect(await repository.fetchManifest('1.0')).toMatchObject({ kind: 'manifest', digest: manifest.digest })
  expect(await repository.fetchManifest(manifest.digest)).toMatchObject({ digest: manifest.digest })
  expect(server.lines()).toEqual([
    'GET /v2/team/app/manifests/1.0',
    `GET /v2/team/app/manifests/${manifest.digest}`,
  ])
  expect(server.seen.map(({ headers }) => headers.accept)).toEqual([ACCEPTED_MANIFESTS, ACCEPTED_MANIFESTS])
})

test('HEAD is enough where it says everything', async () => {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', manifest)
  const { server, repository } = await repositoryOn(memory.handle)
  expect(await repository.resolveManifest('1.0')).toEqual({
    digest: manifest.digest,
    mediaType: OCI_MANIFEST,
    size: manifest.bytes.length,
  })
  expect(await repository.resolveManifest('2.0')).toBeUndefined()
  expect(server.lines()).toEqual(['HEAD /v2/team/app/manifests/1.0', 'HEAD /v2/team/app/manifests/2.0'])
})

test.each([
  ['no digest', {}],
  ['an unusable digest', { 'docker-content-digest': 'sha256:ABC' }],
  ['another algorithm', { 'docker-content-digest': `sha512:${'a'.repeat(128)}` }],
  ['no length', { 'docker-content-digest': manifest.digest }],
  [
    'an unknown type',
    { 'docker-content-digest': manifest.digest, 'content-type': 'text/plain', 'content-length': 5 },
  ],
])('HEAD with %s leads to GET and hashing', async (_, headers) => {
  const { server, repository } = await repositoryOn((seen, response, request) =>
    answer(manifest.bytes, seen.method === 'HEAD' ? headers : {})(seen, response, request),
  )
  expect(await repository.resolveManifest('1.0')).toMatchObject({
    digest: manifest.digest,
    mediaType: OCI_MANIFEST,
    size: manifest.bytes.length,
    // So that nobody asks for it once more.
    document: { digest: manifest.digest },
  })
  expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'GET'])
})

test('a registry without HEAD', async () => {
  const { repository } = await repositoryOn((seen, response, request) => {
    if (seen.method === 'HEAD') return void response.writeHead(405).end()
    return seen.path.endsWith('/1')
      ? answer(manifest.bytes)(seen, response, request)
      : registryError(response, 404, 'X')
  })
  expect(await repository.resolveManifest('1')).toMatchObject({ digest: manifest.digest })
  expect(await repository.resolveManifest('2')).toBeUndefined()
})

test('[duty: asked-digest] the digest asked for is the one compared, never a header’s', async () => {
  const { repository, server } = await repositoryOn(
    answer(other.bytes, { 'docker-content-digest': manifest.digest }),
  )
  const error = await failureOf(repository.fetchManifest(manifest.digest), 'CONTENT_MISMATCH')
  expect(error.message).toContain(other.digest)
  expect(error.message).toContain(manifest.digest)
  expect(server.seen).toHaveLength(2)
  // By tag the header is not believed either.
  expect(await repository.fetchManifest('1.0')).toMatchObject({ digest: other.digest })
})

test('a HEAD by digest that names another digest is refused', async () => {
  const headers = { 'docker-content-digest': other.digest, 'content-length': other.bytes.length }
  const { repository } = await repositoryOn(answer(other.bytes, headers))
  await failureOf(repository.resolveManifest(manifest.digest), 'CONTENT_MISMATCH')
})

test('the Content-Type must agree with the body, where it is one that we know', async () => {
  const kinds: Record<string, string> = {
    charset: `${OCI_MANIFEST}; charset=utf-8`,
    unknown: 'application/octet-stream',
    plain: 'text/plain',
    index: OCI_INDEX,
    list: DOCKER_LIST,
  }
  const { repository } = await repositoryOn((seen, response, request) =>
    answer(manifest.bytes, { 'content-type': kinds[seen.path.replace(/.*\//, '')] ?? '' })(
      seen,
      response,
      request,
    ),
  )
  for (const tag of ['charset', 'unknown', 'plain']) {
    expect(await repository.fetchManifest(tag)).toMatchObject({ digest: manifest.digest })
  }
  for (const tag of ['index', 'list']) await failureOf(repository.fetchManifest(tag), 'INVALID_CONTENT')
})

test('no more is read than a manifest may have, announced or not', async () => {
  let sent = 0
  const endless: Handler = async (_, response) => {
    response.writeHead(200, { 'content-type': OCI_MANIFEST })
    response.setMaxListeners(0)
    const chunk = Buffer.alloc(256 * 1024, 0x20)
    while (!response.destroyed && sent < 40 * MAX_MANIFEST_SIZE) {
      sent += chunk.length
      if (!response.write(chunk)) {
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
      }
    }
  }
  const announced: Handler = (_, response) => {
    response.writeHead(200, { 'content-type': OCI_MANIFEST, 'content-length': MAX_MANIFEST_SIZE + 1 })
    response.flushHeaders()
  }
  const { repository, server } = await repositoryOn((seen, response, request) =>
    (seen.path.endsWith('endless') ? endless : announced)(seen, response, request),
  )
  expect((await failureOf(repository.fetchManifest('endless'), 'INVALID_CONTENT')).message).toContain(
    'larger than',
  )
  expect(sent).toBeLessThan(3 * MAX_MANIFEST_SIZE)
  await failureOf(repository.fetchManifest('announced'), 'INVALID_CONTENT')
  expect(server.seen).toHaveLength(2)
})

test('a login page is named as one', async () => {
  const { repository } = await repositoryOn(
    answer('<!DOCTYPE html><p>Sign in', { 'content-type': 'text/html' }),
  )
  const error = await failureOf(repository.fetchManifest('1.0'), 'REGISTRY')
  expect(error.message).toContain('an HTML page')
})

test('[duty: digest-grammar] what is not a tag or digest never becomes a URL', async () => {
  const { repository, server } = await repositoryOn(answer(manifest.bytes))
  for (const ref of ['../../x', 'a/b', '', 'a?b', 'a%2fb', '.x']) {
    await failureOf(repository.fetchManifest(ref), 'INVALID_REFERENCE')
    await failureOf(repository.resolveManifest(ref), 'INVALID_REFERENCE')
    await failureOf(repository.putManifest(ref, manifest), 'INVALID_REFERENCE')
  }
  for (const ref of ['sha256:abc', `sha256:${'A'.repeat(64)}`, `sha256:../${'a'.repeat(61)}`]) {
    await failureOf(repository.fetchManifest(ref), 'INVALID_DIGEST')
    await failureOf(repository.statBlob(ref as never), 'INVALID_DIGEST')
  }
  expect(server.seen).toEqual([])
})

test('neither does what is not a registry or repository', async () => {
  const client = makeClient()
  for (const registry of ['', 'a b', 'https://a', 'a/b', 'u@a', 'a:99999', 'a?b']) {
    await failureOf(() => client.repository(registry, 'app'), 'INVALID_REFERENCE')
  }
  for (const repository of ['', 'App', '../app', 'a//b', 'a?b', 'x'.repeat(256)]) {
    await failureOf(() => client.repository('r.example', repository), 'INVALID_REFERENCE')
  }
})

test('a manifest is put with its type, and what the registry stored is compared', async () => {
  const memory = memoryRegistry()
  const { repository, server } = await repositoryOn((seen, response, request) =>
    seen.path.endsWith('/lies')
      ? void response.writeHead(201, { 'docker-content-digest': other.digest }).end()
      : memory.handle(seen, response, request),
  )
  await repository.putManifest('1.0', manifest)
  await repository.putManifest(manifest.digest, manifest)
  expect(memory.manifests.get('1.0')).toEqual(manifest)
  expect(server.seen[0]?.headers['content-type']).toBe(OCI_MANIFEST)
  await failureOf(repository.putManifest('lies', manifest), 'CONTENT_MISMATCH')
})

test('bytes under a digest that is not theirs are not sent', async () => {
  const { repository, server } = await repositoryOn(memoryRegistry().handle)
  await failureOf(repository.putManifest('1.0', { ...manifest, digest: other.digest }), 'INVALID_CONTENT')
  await failureOf(repository.putManifest(other.digest, manifest), 'INVALID_CONTENT')
  expect(server.seen).toEqual([])
})

test.each([400, 500])(
  '%i to a manifest with foreign layers names docker-registry’s setting',
  async (status) => {
    const foreign = sampleManifest({
      layers: [
        {
          mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
          digest: digestOf('layer'),
          size: 5,
          urls: ['https://example.com/layer'],
        },
      ],
    })
    const { repository, server } = await repositoryOn((_, response) =>
      registryError(response, status, 'MANIFEST_INVALID'),
    )
    const error = await failureOf(repository.putManifest('1.0', foreign), 'REGISTRY')
    expect(error.hint).toContain('validation.manifests.urls.allow')
    expect(server.seen).toHaveLength(status === 500 ? 2 : 1)
    expect((await failureOf(repository.putManifest('1.0', manifest), 'REGISTRY')).hint ?? '').not.toContain(
      'urls',
    )
  },
)

test('another reason that the registry names is not explained away', async () => {
  const bare = sampleManifest({ mediaType: undefined })
  for (const code of ['MANIFEST_BLOB_UNKNOWN', 'TAG_INVALID']) {
    const { repository } = await repositoryOn((_, response) => registryError(response, 400, code))
    expect((await failureOf(repository.putManifest('1.0', bare), 'REGISTRY')).message).not.toContain(
      'mediaType',
    )
  }
})

test('what a registry wants its users to read is passed on once, made harmless', async () => {
  const { repository, client } = await repositoryOn(
    answer(manifest.bytes, { warning: '299 - "This \\"tag\\" ends\tsoon"' }),
  )
  await repository.fetchManifest('1.0')
  await repository.fetchManifest('1.0')
  expect(client.notices).toEqual([
    { type: 'warning', message: `${repository.registry} says: This "tag" ends soon` },
  ])
})
