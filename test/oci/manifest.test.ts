import { describe, expect, test } from 'vitest'
import type { AirgapError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import {
  parseManifest,
  parseReferrersList,
  platformOfConfig,
  type Index,
  type Manifest,
} from '../../src/oci/manifest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'

const config = { mediaType: OCI_CONFIG, digest: digestOf('{}'), size: 2 }
const child = { mediaType: OCI_MANIFEST, digest: digestOf('child'), size: 5 }
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const read = (value: unknown): unknown =>
  parseManifest(bytesOf({ schemaVersion: 2, ...(value as object) }), 'it')
const other = (digits: string): string => `sha512:${digits.repeat(128)}`

const NULLS = {
  mediaType: null,
  artifactType: null,
  subject: null,
  annotations: null,
}

describe('a member that is null is absent', () => {
  test('in a manifest, its config and its layers', () => {
    const layer = { ...child, urls: null, annotations: null, data: null, platform: null, artifactType: null }
    const found = read({ ...NULLS, manifests: null, config: { ...config, data: null }, layers: [layer] })
    expect(found).toMatchObject({ kind: 'manifest', mediaType: OCI_MANIFEST, config, layers: [child] })
    const { subject, annotations, artifactType, layers } = found as Manifest
    expect([subject, annotations, artifactType]).toEqual([undefined, undefined, undefined])
    expect(layers[0]).toEqual(child)
  })

  test('in an index, its children and their platforms', () => {
    const platform = {
      os: 'linux',
      architecture: 'amd64',
      variant: null,
      'os.version': null,
      'os.features': null,
    }
    const annotations = { a: null, b: 'b' }
    const found = read({
      ...NULLS,
      config: null,
      layers: null,
      manifests: [{ ...child, platform, annotations }],
    })
    expect((found as Index).manifests).toEqual([
      { ...child, platform: { os: 'linux', architecture: 'amd64' }, annotations: { b: 'b' } },
    ])
  })

  test.each([
    ['no layers', { config }, { kind: 'manifest', layers: [] }],
    ['layers: null', { config, layers: null }, { kind: 'manifest', layers: [] }],
    ['manifests: null', { manifests: null }, { kind: 'index', manifests: [] }],
    ['manifests: null, with a type', { mediaType: OCI_INDEX, manifests: null }, { kind: 'index' }],
  ])('%s is an empty list', (_, value, result) => {
    expect(read(value)).toMatchObject(result)
  })

  test('in the config of an image', () => {
    const value = { os: 'linux', architecture: 'arm', variant: null, 'os.version': null }
    expect(platformOfConfig(bytesOf(value), 'it')).toEqual({ os: 'linux', architecture: 'arm' })
    expect(platformOfConfig(bytesOf({ os: null, architecture: 'arm' }), 'it')).toBeUndefined()
  })
})

test.each([
  ['a required member', { config: { ...config, size: null } }, 'config.size'],
  ['a digest', { manifests: [{ ...child, digest: null }] }, 'manifests.0.digest'],
  ['an element', { config, layers: [null] }, 'layers.0'],
  [
    'a required member of a platform',
    { manifests: [{ ...child, platform: { os: null, architecture: 'x' } }] },
    'os',
  ],
  ['both lists', { manifests: null, layers: null }, 'both as an index and as a manifest'],
  ['a config', { config: null, layers: [] }, 'config'],
  ['a list beside one', { manifests: [], layers: [] }, 'both as an index and as a manifest'],
  ['another spelling', { config, layers: [], Layers: null }, 'differs only in case'],
  ['another spelling below', { config, layers: [{ ...child, Urls: null }] }, 'differs only in case'],
  [
    'another spelling in a platform',
    { manifests: [{ ...child, platform: { os: 'linux', architecture: 'x', Variant: null } }] },
    'differs only in case',
  ],
])('null stays refused where readers differ: %s', (_, value, message) => {
  expect(() => read(value)).toThrow(message)
})

test('content by sha512 is refused as what it is, with a way out that is true', () => {
  const error = (() => {
    try {
      return read({ config, layers: [{ ...child, digest: other('a') }] })
    } catch (thrown) {
      return thrown as AirgapError
    }
  })() as AirgapError
  expect(error.message).toContain('layers[0].digest: its algorithm is sha512; only sha256 is supported')
  expect(error.hint).toContain('newer than what airgap carries')
})

test('a list of referrers is read without what it lists by other algorithms, and these are told', () => {
  const told: string[] = []
  const bytes = bytesOf({
    schemaVersion: 2,
    manifests: [{ ...child, digest: other('a') }, child, { ...child, digest: other('b') }],
  })
  const found = parseReferrersList(bytes, 'it', undefined, (digest) => void told.push(digest))
  expect((found as Index).manifests).toEqual([child])
  expect(told).toEqual([other('a'), other('b')])
  const spoilt = bytesOf({ schemaVersion: 2, manifests: [{ ...child, digest: 'sha256:12' }] })
  expect(() => parseReferrersList(spoilt, 'it')).toThrow('exactly 64')
})
