import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { digestOf, isDigest, parseDigest } from '../../src/oci/digest.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { parseLock } from '../../src/pack/lock.ts'
import { failureOf, json, makeClient, serve } from '../support/client.ts'

const HEX = 'a'.repeat(64)
const HOSTILE_DIGESTS = [
  'sha256:../../../../etc/passwd',
  `sha256:../${HEX.slice(3)}`,
  `sha256:${HEX}/../x`,
  `sha256:${HEX}\n`,
  `\nsha256:${HEX}`,
  `sha256:${HEX}\0`,
  `sha256:${HEX}?x=1`,
  `sha256:${HEX}%2e`,
  `sha256:${HEX.toUpperCase()}`,
  `SHA256:${HEX}`,
  `sha256:${HEX.slice(1)}`,
  `sha256:${HEX}a`,
  `sha256:${'１'.repeat(64)}`,
  `sha256:${'а'.repeat(64)}`,
  `sha512:${HEX}${HEX}`,
  `sha256-${HEX}`,
  HEX,
  'sha256:',
  '',
]

/** A lock of one image, with other digests than its own where they are given. */
function lockWith(digests: { digest?: string; sourceDigest?: string; platform?: string }): Buffer {
  const { digest = digestOf('x'), sourceDigest = digestOf('x'), platform = digestOf('x') } = digests
  const image = {
    source: 'r.example/a:1',
    resolvedFrom: 'source',
    sourceDigest,
    digest,
    mediaType: OCI_MANIFEST,
    kind: 'image',
    platforms: [{ platform: 'linux/amd64', digest: platform }],
    size: 1,
    from: 'argument',
  }
  const lock = { type: 'dev.airgap.lock', formatVersion: '1.0', platforms: 'all', images: [image] }
  return Buffer.from(JSON.stringify(lock))
}

describe('[duty: digest-grammar] a digest is read by one strict grammar', () => {
  test.each(HOSTILE_DIGESTS)('%j is none, wherever it stands', (text) => {
    expect(isDigest(text)).toBe(false)
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'INVALID_DIGEST' }))
    const descriptor = { mediaType: 'a/b', digest: text, size: 1 }
    const good = { mediaType: OCI_CONFIG, digest: digestOf('{}'), size: 2 }
    for (const document of [
      { schemaVersion: 2, config: descriptor, layers: [] },
      { schemaVersion: 2, config: good, layers: [descriptor] },
      { schemaVersion: 2, config: good, layers: [], subject: descriptor },
      { schemaVersion: 2, manifests: [descriptor] },
    ]) {
      const bytes = Buffer.from(JSON.stringify(document))
      expect(() => parseManifest(bytes, 'x')).toThrow(expect.objectContaining({ code: 'INVALID_CONTENT' }))
    }
    if (text !== '') expect(() => parseReference(`r.example/a@${text}`)).toThrow(/is not an image reference/)
    for (const field of ['digest', 'sourceDigest', 'platform'] as const) {
      expect(() => parseLock(lockWith({ [field]: text }), 'x')).toThrow(
        expect.objectContaining({ code: 'INVALID_LOCK' }),
      )
    }
  })

  test('a lock with good ones is read', () => {
    expect(parseLock(lockWith({}), 'x').images).toHaveLength(1)
  })

  test('what is one is safe as a part of a path and of a URL', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^sha256:[0-9a-f]{62,66}$/)), (text) => {
        if (isDigest(text)) expect(text).toMatch(/^[a-z0-9:]{71}$/)
      }),
    )
  })
})

describe('[duty: one-kind] a document that could be read as two kinds is refused', () => {
  const config = { mediaType: OCI_CONFIG, digest: digestOf('{}'), size: 2 }
  const BOTH: [string, object, string][] = [
    ['manifests and layers', { manifests: [], layers: [] }, OCI_INDEX],
    ['manifests and a config', { manifests: [], config }, OCI_MANIFEST],
    ['all three', { manifests: [], config, layers: [] }, OCI_MANIFEST],
    ['an index that says that it is a manifest', { mediaType: OCI_MANIFEST, manifests: [] }, OCI_MANIFEST],
    ['a manifest that says that it is an index', { mediaType: OCI_INDEX, config, layers: [] }, OCI_INDEX],
    ['a manifest that is announced as an index', { config, layers: [] }, OCI_INDEX],
    ['neither', {}, OCI_MANIFEST],
    ['layers in two spellings', { config, layers: [], Layers: [] }, OCI_MANIFEST],
  ]
  test.each(BOTH)('%s', async (_, body, type) => {
    const server = await serve((_seen, response) =>
      json(response, 200, { schemaVersion: 2, ...body }, { 'content-type': type }),
    )
    const repository = makeClient().repository(server.host, 'app')
    await failureOf(repository.fetchManifest('1'), 'INVALID_CONTENT')
    const digest = digestOf(JSON.stringify({ schemaVersion: 2, ...body }))
    await failureOf(repository.fetchManifest(digest), 'INVALID_CONTENT')
  })
})
