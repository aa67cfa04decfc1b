import { expect, test } from 'vitest'
import { AMD64, image, referrerTo, seedRegistry } from '../../fixtures/images/index.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseManifest, type ManifestOrIndex } from '../../src/oci/manifest.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import type { Repository } from '../../src/registry/repository.ts'
import type { Quirk } from '../support/registry/quirks.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../support/registry/registry.ts'
import { failureOf, makeClient, registryError, sampleManifest, serve } from '../support/client.ts'

const subject = await image('subject', AMD64)
const [signature, sbom] = ['signature', 'sbom'].map((text) =>
  referrerTo(subject.descriptor, `application/vnd.example.${text}`, text),
) as [ReturnType<typeof referrerTo>, ReturnType<typeof referrerTo>]
const TAG = subject.descriptor.digest.replace(':', '-')

const documentOf = (built: { bytes: Uint8Array }): ManifestOrIndex => parseManifest(built.bytes, 'it')

interface Place {
  registry: EmbeddedRegistry
  repository: Repository
  puts: () => string[]
  list: () => { digest: Digest; artifactType?: string; annotations?: unknown }[]
}

async function place(
  quirks: Quirk[],
  options: EmbeddedRegistryOptions = {},
): Promise<Place & AsyncDisposable> {
  const registry = await startRegistry({ ...options, quirks })
  seedRegistry(registry.store, 'app:1', subject)
  for (const built of [signature, sbom]) seedRegistry(registry.store, 'app', built)
  const repository = makeClient().repository(registry.host, 'app')
  return {
    registry,
    repository,
    puts: () => registry.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path),
    list: () => {
      const { bytes } = registry.store.manifest('app', TAG) ?? { bytes: Buffer.from('{"manifests":[]}') }
      return (JSON.parse(Buffer.from(bytes).toString()) as { manifests: [] }).manifests
    },
    [Symbol.asyncDispose]: () => registry.close(),
  }
}

test('a registry that says OCI-Subject, or has a list, is left to itself', async () => {
  await using at = await place([])
  const document = documentOf(signature)
  // It was there before: its list is asked for.
  expect(await at.repository.ensureReferrer(document)).toBe('listed')
  await at.repository.putManifest(document.digest, document)
  const before = at.registry.requests.length
  expect(await at.repository.ensureReferrer(document)).toBe('listed')
  expect(at.registry.requests).toHaveLength(before)
  expect(await at.repository.ensureReferrer(documentOf(subject))).toBe('listed')
  expect(at.list()).toEqual([])
})

test.each<Quirk>(['no-referrers', 'referrers-401'])('%s: the tag lists it, once', async (quirk) => {
  await using at = await place([quirk])
  const [one, two] = [documentOf(signature), documentOf(sbom)]
  await at.repository.putManifest(one.digest, one)
  expect(await at.repository.ensureReferrer(one)).toBe('added')
  expect(await at.repository.ensureReferrer(two)).toBe('added')
  expect(await at.repository.ensureReferrer(one)).toBe('tagged')
  expect(at.list()).toEqual([
    expect.objectContaining({ digest: one.digest, artifactType: 'application/vnd.example.signature' }),
    expect.objectContaining({ digest: two.digest, artifactType: 'application/vnd.example.sbom' }),
  ])
  expect((await at.repository.referrers(subject.descriptor.digest)).map(({ digest }) => digest)).toEqual([
    one.digest,
    two.digest,
  ])
})

test('an entry carries what the specification wants: the config’s type for a missing artifactType, annotations', async () => {
  await using at = await place(['no-referrers'])
  const old = sampleManifest({
    config: { mediaType: 'application/vnd.example.config', digest: digestOf('{}'), size: 2 },
    artifactType: '',
    subject: subject.descriptor,
    annotations: { a: 'b' },
  })
  at.registry.store.putBlob('app', Buffer.from('{}'))
  const document = parseManifest(old.bytes, 'it')
  await at.repository.putManifest(document.digest, document)
  await at.repository.ensureReferrer(document)
  expect(at.list()).toEqual([
    {
      mediaType: old.mediaType,
      digest: old.digest,
      size: old.bytes.length,
      artifactType: 'application/vnd.example.config',
      annotations: { a: 'b' },
    },
  ])
})

test('what stands in the list already is kept as it is', async () => {
  await using at = await place(['no-referrers'])
  const kept = { ...sbom.descriptor, artifactType: 'x', 'x-own': { deep: true } }
  const before = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [kept], annotations: { who: 'us' } }
  at.registry.store.putManifest('app', Buffer.from(JSON.stringify(before)), OCI_INDEX, TAG)
  await at.repository.ensureReferrer(documentOf(signature))
  const after = JSON.parse(Buffer.from(at.registry.store.manifest('app', TAG)?.bytes ?? '').toString())
  expect(after).toEqual({
    ...before,
    manifests: [kept, expect.objectContaining({ digest: signature.descriptor.digest })],
  })
})

test('a tag that is something else is left alone, and that is said', async () => {
  await using at = await place(['fallback-tag-is-subject'])
  const error = await failureOf(at.repository.ensureReferrer(documentOf(signature)), 'REGISTRY')
  expect(error.message).toContain(`${TAG} is not a list of referrers`)
  expect(at.puts()).toEqual([])
})

/** Somebody who writes the list between our reading it and our writing it, `times` over. */
function rival(times: number, at: () => Place): NonNullable<EmbeddedRegistryOptions['front']> {
  let left = times
  return async ({ method, path }) => {
    if (method !== 'PUT' || !path.endsWith(TAG) || left === 0) return undefined
    left -= 1
    // Ours is taken, and theirs put in its place.
    const theirs = {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [sbom.descriptor],
      annotations: { left: `${left}` },
    }
    at().registry.store.putManifest('app', Buffer.from(JSON.stringify(theirs)), OCI_INDEX, TAG)
    return { status: 201, headers: { 'Content-Length': '0' } }
  }
}

test('what somebody else has written over is written again, and nothing of theirs is lost', async () => {
  const places: Place[] = []
  await using at = await place(['no-referrers'], { front: rival(2, () => places[0] as Place) })
  places.push(at)
  expect(await at.repository.ensureReferrer(documentOf(signature))).toBe('added')
  expect(at.list().map(({ digest }) => digest)).toEqual([sbom.descriptor.digest, signature.descriptor.digest])
  expect(at.puts()).toHaveLength(3)
})

test('a rival without end is given up', async () => {
  const places: Place[] = []
  await using at = await place(['no-referrers'], { front: rival(1000, () => places[0] as Place) })
  places.push(at)
  const error = await failureOf(at.repository.ensureReferrer(documentOf(signature)), 'REGISTRY')
  expect(error.message).toContain('others keep writing this list')
  expect(at.puts()).toHaveLength(5)
})

/** A registry that honours If-Match, and whose list changes under our first reading of it. */
test('a condition that is refused leads to reading again; one refused for nothing is told as it is', async () => {
  const index = (...of: { bytes: Uint8Array; descriptor: object }[]): Buffer =>
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_INDEX,
        manifests: of.map(({ descriptor }) => descriptor),
      }),
    )
  let list = index()
  let changes = 1
  const conditions: (string | undefined)[] = []
  const server = await serve((seen, response) => {
    if (!seen.path.endsWith(TAG)) return registryError(response, 404, 'NOT_FOUND')
    const etag = `"${digestOf(list)}"`
    if (seen.method === 'GET') {
      response.writeHead(200, { 'content-type': OCI_INDEX, etag }).end(list)
      if (changes-- > 0) list = index(sbom)
      return undefined
    }
    conditions.push(seen.headers['if-match'])
    if (seen.headers['if-match'] !== etag || changes < -10) {
      return registryError(response, 412, 'DENIED', 'the tag is immutable')
    }
    list = seen.body
    return void response.writeHead(201).end()
  })
  const repository = makeClient().repository(server.host, 'app')
  expect(await repository.ensureReferrer(documentOf(signature))).toBe('added')
  expect(conditions).toEqual([`"${digestOf(index())}"`, `"${digestOf(index(sbom))}"`])
  expect(JSON.parse(list.toString())).toMatchObject({
    manifests: [{ digest: sbom.descriptor.digest }, { digest: signature.descriptor.digest }],
  })

  changes = -100
  list = index(sbom)
  const error = await failureOf(repository.ensureReferrer(documentOf(signature)), 'REGISTRY')
  expect(error.message).toContain('the tag is immutable')
  expect(conditions).toHaveLength(3)
})
