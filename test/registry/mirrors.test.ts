import { expect, test } from 'vitest'
import { parseReference } from '../../src/oci/reference.ts'
import { parseMirror, sourcesFor } from '../../src/registry/mirrors.ts'
import { failureOf, makeClient } from './helpers.ts'

function namesFor(image: string, ...mirrors: string[]): string[] {
  const found = sourcesFor(makeClient(), parseReference(image), mirrors.map(parseMirror))
  return [...found.mirrors, found.source].map(({ name }) => name)
}

test('matching mirrors in the order given, then the source', () => {
  expect(
    namesFor(
      'nginx',
      'docker.io=m1.example',
      'quay.io=other.example',
      'docker.io=m2.example:5000/hub',
      'docker.io/library=m3.example',
    ),
  ).toEqual([
    'm1.example/library/nginx',
    'm2.example:5000/hub/library/nginx',
    'm3.example/nginx',
    'docker.io/library/nginx',
  ])
})

test('a prefix counts in whole path parts', () => {
  expect(namesFor('r.example/team/app', 'r.example/te=m.example')).toEqual(['r.example/team/app'])
  expect(namesFor('r.example/team/app', 'r.example/team/app=m.example/x')).toEqual([
    'm.example/x',
    'r.example/team/app',
  ])
  // Nothing would be left for a name.
  expect(namesFor('r.example/team/app', 'r.example/team/app=m.example')).toEqual(['r.example/team/app'])
})

test('Docker Hub is one registry under both its names', () => {
  expect(namesFor('nginx', 'index.docker.io=m.example')).toEqual([
    'm.example/library/nginx',
    'docker.io/library/nginx',
  ])
})

test.each([
  '',
  'a',
  'a.example=',
  '=b.example',
  'a.example=b.example=c',
  'https://a=b',
  'a.example=b.example/UPPER',
  'a b=c',
])('%j is refused', async (text) => {
  const error = await failureOf(() => parseMirror(text), 'USAGE')
  expect(error.hint).toContain('FROM=TO')
})
