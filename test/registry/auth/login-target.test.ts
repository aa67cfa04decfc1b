import { expect, test } from 'vitest'
import { parseLoginTarget } from '../../../src/registry/auth/login-target.ts'
import { failureOf } from '../../support/client.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

const HUB = 'https://index.docker.io/v1/'

test.each([
  ['docker.io', 'docker.io', HUB],
  ['index.docker.io', 'docker.io', HUB],
  ['registry-1.docker.io', 'docker.io', HUB],
  ['https://index.docker.io/v1/', 'docker.io', HUB],
  ['index.docker.io/v1/', 'docker.io', HUB],
  ['harbor.internal', 'harbor.internal', 'harbor.internal'],
  ['Harbor.Internal', 'harbor.internal', 'harbor.internal'],
  ['https://harbor.internal/', 'harbor.internal', 'harbor.internal'],
  ['HTTPS://harbor.internal/v2/', 'harbor.internal', 'harbor.internal'],
  ['harbor.internal/', 'harbor.internal', 'harbor.internal'],
  ['127.0.0.1:5000', '127.0.0.1:5000', '127.0.0.1:5000'],
  ['[::1]:5000', '[::1]:5000', '[::1]:5000'],
  ['localhost', 'localhost', 'localhost'],
])('%s is the registry %s with the key %s', (text, registry, key) => {
  expect(parseLoginTarget(text)).toEqual({ registry, path: '', key, name: registry })
})

test.each([
  ['quay.io/team', 'quay.io', 'team'],
  ['docker.io/team/app', 'docker.io', 'team/app'],
  ['localhost/team', 'localhost', 'team'],
])('%s is a part of %s', (text, registry, path) => {
  expect(parseLoginTarget(text)).toEqual({ registry, path, key: text, name: text })
})

test.each([
  ['', 'not a registry host'],
  ['a b', 'not a registry host'],
  ['harbor.internal:99999', 'not a registry host'],
  ['harbor.internal:port', 'not a registry host'],
  ['-x', 'not a registry host'],
  ['harbor.internal?x=1', 'not a registry host'],
  ['\u001b[31m', 'not a registry host'],
  ['http://harbor.internal', '--plain-http harbor.internal'],
  ['ftp://harbor.internal', 'Name the host alone: harbor.internal'],
  ['https://harbor.internal/harbor/projects', 'Name the host alone: harbor.internal'],
  ['harbor.internal/Team', 'with or without a path'],
  ['harbor.internal/team:tag', 'with or without a path'],
  ['harbor.internal/../x', 'with or without a path'],
  ['team/app', 'with or without a path'],
])('%j is refused', async (text, words) => {
  const error = await failureOf(() => parseLoginTarget(text), 'INVALID_REFERENCE')
  expect(`${error.message} ${hintOf(error)}`).toContain(words)
})

test('a password in a URL is not repeated', async () => {
  const { message, hint } = await failureOf(
    () => parseLoginTarget('https://bob:s3cret@harbor.internal/'),
    'INVALID_REFERENCE',
  )
  expect(`${message} ${hint}`).not.toContain('s3cret')
})
