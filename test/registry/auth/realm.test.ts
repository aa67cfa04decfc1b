import { expect, test } from 'vitest'
import type { Endpoint } from '../../../src/registry/endpoint.ts'
import { checkRealm } from '../../../src/registry/auth/realm.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  registryError,
  serve,
} from '../../support/client.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

const context = { registry: 'r', operation: 'look' }
const ADDRESSES: Record<string, string[]> = {
  'public.example': ['203.0.114.5'],
  'auth.example': ['198.52.1.1', '2606:4700::1'],
  'inside.example': ['10.1.1.1'],
  'auth.inside.example': ['10.1.1.2'],
  'both.example': ['203.0.114.5', '10.1.1.1'],
}

function check(
  registry: string,
  realm: string,
  options: { allowed?: string[]; plainHttp?: string[]; plain?: boolean } = {},
) {
  const endpoint: Endpoint = {
    registry: new URL(registry).host,
    url: new URL(registry),
    plainAllowed: options.plain ?? false,
  }
  return checkRealm(
    new URL(realm),
    endpoint,
    {
      allowed: options.allowed ?? [],
      plainHttp: options.plainHttp ?? [],
      addressesOf: async (host) => ADDRESSES[host] ?? [],
    },
    context,
  )
}

test.each([
  ['https://public.example', 'https://auth.example/token'],
  ['https://public.example:5000', 'https://public.example/token'],
  ['https://inside.example', 'https://auth.inside.example/token'],
  ['https://inside.example', 'https://10.9.9.9/token'],
  ['https://10.0.0.1:5000', 'https://auth.inside.example/token'],
  ['https://10.0.0.1:5000', 'https://auth.example/token'],
  ['http://127.0.0.1:5000', 'http://127.0.0.1:5001/token'],
  ['https://localhost:5000', 'http://127.0.0.1:5001/token'],
])('%s may name %s', async (registry, realm) => {
  await expect(check(registry, realm)).resolves.toBeUndefined()
})

test.each([
  ['https://public.example', 'http://auth.example/token'],
  ['https://public.example', 'http://public.example/token'],
  ['https://inside.example', 'http://inside.example/token'],
  ['https://localhost:5000', 'http://auth.example/token'],
  ['http://127.0.0.1:5000', 'http://auth.example/token'],
])('[duty: token-realm] %s may not name %s: credentials would go unencrypted', async (registry, realm) => {
  const error = await failureOf(check(registry, realm), 'CREDENTIALS')
  expect(error.message).toContain('without encryption')
  expect(hintOf(error)).toContain('--plain-http')
})

test.each([
  ['https://public.example', 'https://10.0.0.1/token'],
  ['https://public.example', 'https://169.254.169.254/latest'],
  ['https://public.example', 'https://[::1]:8080/token'],
  ['https://public.example', 'https://[::ffff:10.0.0.1]/token'],
  ['https://public.example', 'https://0x7f.1/token'],
  ['https://public.example', 'https://localhost/token'],
  ['https://public.example', 'https://auth.inside.example/token'],
  ['https://public.example', 'https://both.example/token'],
  ['https://both.example', 'https://auth.inside.example/token'],
  ['https://unknown.example', 'https://auth.inside.example/token'],
])('[duty: token-realm] %s may not name %s, which is inside', async (registry, realm) => {
  const error = await failureOf(check(registry, realm), 'CREDENTIALS')
  expect(error.message).toContain('inside a private network')
  expect(hintOf(error)).toContain('--allow-token-realm')
})

test('[duty: token-realm] a name that would be a command is quoted in the hint', async () => {
  const error = await failureOf(check('https://public.example', 'http://a;touch$(x)/token'), 'CREDENTIALS')
  expect(hintOf(error)).toMatch(/--plain-http 'a;touch\$\(x\)'$/)
})

test('what the user allows is allowed', async () => {
  await check('https://public.example', 'https://auth.inside.example/t', { allowed: ['auth.inside.example'] })
  await check('https://public.example', 'https://10.0.0.1:8443/t', { allowed: ['10.0.0.1:8443'] })
  await failureOf(
    check('https://public.example', 'https://10.0.0.1:8444/t', { allowed: ['10.0.0.1:8443'] }),
    'CREDENTIALS',
  )
  await check('http://inside.example', 'http://auth.inside.example/t', { plain: true })
  await check('https://inside.example', 'http://auth.inside.example/t', {
    plainHttp: ['auth.inside.example'],
  })
  await failureOf(check('https://public.example', 'ftp://auth.example/t'), 'CREDENTIALS')
})

test('a refused realm gets no request, and the message shows neither its query nor its user part', async () => {
  const registry = await serve((_, response) => {
    response.setHeader('www-authenticate', 'Bearer realm="http://u:p4ss@10.255.255.1/token?key=k3y"')
    registryError(response, 401, 'UNAUTHORIZED')
  })
  const client = makeClient({
    plainHttp: [],
    authFile: authFileWith({ auths: { [registry.host]: basicEntry('u', 'p') } }),
  })
  const error = await failureOf(client.repository(registry.host, 'app').fetchManifest('1'), 'CREDENTIALS')
  expect(error.message).toContain('http://10.255.255.1/token, where')
  expect(error.message).not.toMatch(/p4ss|k3y/)
})

test('[duty: token-realm] a redirect of the realm is checked by the same rules, and does not take the credentials along', async () => {
  const elsewhere = await serve((_, response) => json(response, 200, { token: 't' }))
  const tokens = await serve((seen, response) => {
    const to = seen.path === '/bad' ? 'http://10.255.255.1/token' : `${elsewhere.origin}/token`
    response.writeHead(302, { location: to }).end()
  })
  const registry = await serve((seen, response) => {
    if (seen.headers.authorization === 'Bearer t') return registryError(response, 404, 'MANIFEST_UNKNOWN')
    const realm = seen.path.startsWith('/v2/bad/') ? 'bad' : 'good'
    response.setHeader('www-authenticate', `Bearer realm="${tokens.origin}/${realm}"`)
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const authFile = authFileWith({ auths: { [registry.host]: basicEntry('u', 'p') } })
  const fetchFrom = (repository: string): Promise<unknown> =>
    makeClient({ plainHttp: [], authFile }).repository(registry.host, repository).fetchManifest('1')
  await failureOf(fetchFrom('good'), 'NOT_FOUND')
  expect(tokens.seen[0]?.headers.authorization).toBeDefined()
  expect(elsewhere.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
  const error = await failureOf(fetchFrom('bad'), 'CREDENTIALS')
  expect(error.message).toContain('10.255.255.1')
})
