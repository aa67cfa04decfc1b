import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parsePattern } from '../../src/oci/pattern.ts'
import { formatReference, parseReference } from '../../src/oci/reference.ts'

it.each([
  ['registry.k8s.io/pause', 'registry.k8s.io/pause:3.10', true],
  ['registry.k8s.io/pause:3.10', 'registry.k8s.io/pause:3.10', true],
  ['registry.k8s.io/pause:3.9', 'registry.k8s.io/pause:3.10', false],
  ['registry.k8s.io/*', 'registry.k8s.io/coredns/coredns:v1', true],
  ['*-alpine', 'docker.io/library/nginx:1.27-alpine', true],
  ['*/pause:*', 'registry.k8s.io/pause:3.10', true],
  ['pause', 'registry.k8s.io/pause:3.10', false],
  ['docker.io/library/nginx:1.2?', 'docker.io/library/nginx:1.27', true],
  ['docker.io/library/nginx.*', 'docker.io/library/nginx:1.27', false],
])('%s and %s: %s', (pattern, reference, expected) => {
  expect(parsePattern(pattern)(parseReference(reference))).toBe(expected)
})

it('refuses an empty pattern', () => {
  expect(() => parsePattern('')).toThrow('is not a pattern')
})

it('a reference with any run replaced by * matches itself', () => {
  const reference = parseReference('registry.example:5000/team/app-name:v1.2.3')
  const text = formatReference(reference)
  fc.assert(
    fc.property(fc.nat(text.length), fc.nat(text.length), (a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)]
      expect(parsePattern(`${text.slice(0, from)}*${text.slice(to)}`)(reference)).toBe(true)
    }),
  )
})

it('many stars are not slow to refuse', () => {
  expect(parsePattern(`${'*a'.repeat(60)}b`)(parseReference(`r.example/${'a'.repeat(200)}`))).toBe(false)
})
