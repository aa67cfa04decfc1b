import fc from 'fast-check'
import { expect, test } from 'vitest'
import { digestOf, isDigest } from '../../../src/oci/digest.ts'
import { isRepository, isTag } from '../../../src/oci/reference.ts'
import { parseRange } from '../../../src/serve/registry/reads.ts'
import { parseChunkRange } from '../../support/registry/uploads.ts'
import { parseRoute, type Route } from '../../../src/serve/registry/request.ts'

const digest = digestOf('x')
const id = '01234567-89ab-cdef-0123-456789abcdef'
const part = fc.stringMatching(/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/, { maxLength: 12 })
const repositories = fc
  .array(
    fc.oneof(part, fc.constantFrom('manifests', 'blobs', 'uploads', 'tags', 'list', 'referrers', 'v2')),
    {
      minLength: 1,
      maxLength: 5,
    },
  )
  .map((parts) => parts.join('/'))
const tags = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, { maxLength: 20 })

/** The path that a route would be asked for by. */
function pathOf(route: Route): string {
  switch (route.kind) {
    case 'base':
      return '/v2/'
    case 'catalog':
      return '/v2/_catalog'
    case 'tags':
      return `/v2/${route.repository}/tags/list`
    case 'manifest':
      return `/v2/${route.repository}/manifests/${route.reference}`
    case 'uploads':
      return `/v2/${route.repository}/blobs/uploads/`
    case 'upload':
      return `/v2/${route.repository}/blobs/uploads/${route.id}`
    case 'blob':
      return `/v2/${route.repository}/blobs/${route.digest}`
    case 'referrers':
      return `/v2/${route.repository}/referrers/${route.digest}`
    default:
      throw new Error(`${route.kind} has no path`)
  }
}

test('every route is read back from its path, whatever the repository is called', () => {
  const routes = fc.oneof(
    repositories.map((repository): Route => ({ kind: 'tags', repository })),
    fc
      .tuple(repositories, fc.oneof(tags, fc.constant<string>(digest)))
      .map(([repository, reference]): Route => ({ kind: 'manifest', repository, reference })),
    repositories.map((repository): Route => ({ kind: 'blob', repository, digest })),
    repositories.map((repository): Route => ({ kind: 'uploads', repository })),
    repositories.map((repository): Route => ({ kind: 'upload', repository, id })),
    repositories.map((repository): Route => ({ kind: 'referrers', repository, digest })),
  )
  fc.assert(
    fc.property(routes, (route) => {
      expect(parseRoute(pathOf(route))).toEqual(route)
    }),
  )
})

test('nothing reaches a handler that is not exactly its own path with checked parts', () => {
  const words =
    '.. . %2e%2e %2F a A a_b _catalog v2 tags list manifests blobs uploads referrers a\\b sha512:00'
  const others = ['', ' ', 'x\u0000', 'sha256:zz', digest, digest.toUpperCase(), id]
  const pieces = fc.constantFrom(...words.split(' '), ...others)
  const paths = fc.oneof(
    fc.array(pieces, { maxLength: 7 }).map((parts) => `/v2/${parts.join('/')}`),
    fc.string(),
  )
  fc.assert(
    fc.property(paths, (path) => {
      const route = parseRoute(path)
      if (route.kind === 'unknown' || route.kind === 'invalid') return
      expect(pathOf(route)).toBe(path)
      if ('repository' in route) expect(isRepository(route.repository)).toBe(true)
      if ('digest' in route) expect(isDigest(route.digest)).toBe(true)
      if ('reference' in route) expect(isDigest(route.reference) || isTag(route.reference)).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ['/v2', 'unknown'],
  ['/', 'unknown'],
  ['/v2//tags/list', 'NAME_INVALID'],
  ['/v2/tags/list', 'NAME_INVALID'],
  ['/v2/A/tags/list', 'NAME_INVALID'],
  ['/v2/a/../b/tags/list', 'NAME_INVALID'],
  [`/v2/${'a'.repeat(256)}/tags/list`, 'NAME_INVALID'],
  ['/v2/a/manifests/', 'TAG_INVALID'],
  [`/v2/a/manifests/${'t'.repeat(129)}`, 'TAG_INVALID'],
  ['/v2/a/blobs/sha256:00', 'DIGEST_INVALID'],
  ['/v2/a/blobs/sha512:00', 'DIGEST_INVALID'],
  ['/v2/a/blobs/uploads', 'DIGEST_INVALID'],
  ['/v2/a/blobs/uploads/..', 'unknown'],
  ['/v2/a/nonsense/b', 'unknown'],
])('%s is %s', (path, expected) => {
  const route = parseRoute(path)
  expect(route.kind === 'invalid' ? route.code : route.kind).toBe(expected)
})

test('a range that is read lies inside the content and holds at least a byte', () => {
  const headers = fc.oneof(
    fc.string(),
    fc.tuple(fc.nat(50), fc.nat(50)).map(([a, b]) => `bytes=${a}-${b}`),
    fc.nat(50).map((a) => `bytes=${a}-`),
    fc.nat(50).map((a) => `bytes=-${a}`),
  )
  fc.assert(
    fc.property(headers, fc.nat(30), (header, size) => {
      const range = parseRange(header, size)
      if (range === undefined || range === 'unsatisfiable') return
      expect(range.start).toBeGreaterThanOrEqual(0)
      expect(range.end).toBeLessThanOrEqual(size)
      expect(range.end).toBeGreaterThan(range.start)
    }),
  )
})

test.each([
  ['bytes=0-3', { start: 0, end: 4 }],
  ['bytes=4-', { start: 4, end: 10 }],
  ['bytes=-3', { start: 7, end: 10 }],
  ['bytes=-99', { start: 0, end: 10 }],
  ['bytes=9-99', { start: 9, end: 10 }],
  ['bytes=10-', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=5-4', undefined],
  ['bytes=-', undefined],
  ['bytes=0-1,3-4', undefined],
  ['lines=0-1', undefined],
  [undefined, undefined],
])('the range %s of ten bytes is %o', (header, expected) => {
  expect(parseRange(header, 10)).toEqual(expected)
})

test('a chunk range is two numbers and a dash', () => {
  expect(parseChunkRange('0-9')).toEqual({ start: 0, end: 10 })
  for (const bad of ['bytes 0-9/10', '9-0', '-1', '1-', '', '0x1-2', '1-99999999999999999']) {
    expect(parseChunkRange(bad)).toBeUndefined()
  }
})
