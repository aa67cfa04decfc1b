import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseChallenges } from '../../../src/registry/auth/challenge.ts'

const plain = (header: string | string[] | undefined) =>
  parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])

test('Docker Hub’s challenge', () => {
  const header =
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"'
  expect(plain(header)).toEqual([
    [
      'bearer',
      {
        realm: 'https://auth.docker.io/token',
        service: 'registry.docker.io',
        scope: 'repository:library/nginx:pull',
      },
    ],
  ])
})

test('several challenges in one header, commas and escapes inside quotes, any case', () => {
  expect(
    plain('BASIC Realm="a, \\"b\\"", bearer realm=x , scope="repository:a:pull,push", Negotiate'),
  ).toEqual([
    ['basic', { realm: 'a, "b"' }],
    ['bearer', { realm: 'x', scope: 'repository:a:pull,push' }],
    ['negotiate', {}],
  ])
})

test('several headers, and a bare value that belongs to its scheme', () => {
  expect(plain(['Negotiate YWJj==, Basic realm="r"', 'Bearer realm="https://a/b?c=d&e=f"'])).toEqual([
    ['negotiate', {}],
    ['basic', { realm: 'r' }],
    ['bearer', { realm: 'https://a/b?c=d&e=f' }],
  ])
})

test('no header is no challenge', () => {
  expect(plain(undefined)).toEqual([])
  expect(plain('')).toEqual([])
})

test('whatever the grammar can write is read back', () => {
  const token = fc.stringMatching(/^[a-z][a-z0-9_-]{0,10}$/)
  const value = fc.string({ unit: fc.constantFrom(...'ab:/?&=, "\\-éz'.split('')), maxLength: 20 })
  const challenge = fc.record({
    scheme: token,
    params: fc.uniqueArray(fc.tuple(token, value), { selector: ([n]) => n }),
  })
  const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`
  fc.assert(
    fc.property(
      fc.array(challenge, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(',', ', ', ' , '),
      (list, comma) => {
        const header = list
          .map(({ scheme, params }) =>
            `${scheme} ${params.map(([n, v]) => `${n}=${quote(v)}`).join(comma)}`.trim(),
          )
          .join(comma)
        expect(plain(header)).toEqual(list.map(({ scheme, params }) => [scheme, Object.fromEntries(params)]))
      },
    ),
  )
})

test('nothing makes it throw, and it takes no more than it should', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'aB =",\\;\t/é'.split('')), maxLength: 200 }),
      (header) => {
        expect(parseChallenges(header).length).toBeLessThanOrEqual(32)
      },
    ),
  )
  expect(parseChallenges('a,'.repeat(100_000))).toHaveLength(32)
})
