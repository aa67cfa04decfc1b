import { expect, test, vi } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import type { RegistryOptions } from '../../../src/registry/client.ts'
import { givenCredentials } from '../../../src/registry/auth/credentials.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  memoryRegistry,
  registryError,
  sampleManifest,
  serve,
  type Handler,
  type Seen,
  type TestServer,
} from '../../support/client.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

const manifest = sampleManifest()

interface Guard {
  registry: TestServer
  tokens: TestServer
  /** Tokens that the registry takes at the moment. */
  valid: Set<string>
}

/** A registry that wants a Bearer token, and the service that gives it: a new one each time. */
async function guardedRegistry(
  options: {
    token?: Handler
    challenge?: (tokens: TestServer, seen: Seen) => string
    expiresIn?: number | string
  } = {},
): Promise<Guard> {
  const valid = new Set<string>()
  let count = 0
  const tokens = await serve((seen, response, request) => {
    if (options.token) return options.token(seen, response, request)
    const token = `token-${++count}`
    valid.add(`Bearer ${token}`)
    json(response, 200, {
      token,
      ...(options.expiresIn === undefined ? {} : { expires_in: options.expiresIn }),
    })
  })
  const memory = memoryRegistry()
  memory.manifests.set('1', manifest).set('2', manifest)
  const registry = await serve((seen, response, request) => {
    if (valid.has(seen.headers.authorization ?? '')) return memory.handle(seen, response, request)
    const challenge = options.challenge ?? (({ origin }) => `Bearer realm="${origin}/token",service="svc"`)
    response.setHeader('www-authenticate', challenge(tokens, seen))
    registryError(response, 401, 'UNAUTHORIZED', 'authentication required')
  })
  return { registry, tokens, valid }
}

function clientWith(host: string, entry: unknown, options: RegistryOptions = {}) {
  return makeClient({ authFile: authFileWith({ auths: { [host]: entry } }), ...options })
}

test('Basic: asked for once, then sent with each request', async () => {
  const memory = memoryRegistry()
  memory.manifests.set('1', manifest)
  const wanted = `Basic ${basicEntry('user', 'pä:ss').auth}`
  const registry = await serve((seen, response, request) => {
    if (seen.headers.authorization === wanted) return memory.handle(seen, response, request)
    response.setHeader('www-authenticate', 'Basic realm="r"')
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const repository = clientWith(registry.host, basicEntry('user', 'pä:ss')).repository(registry.host, 'app')
  await repository.fetchManifest('1')
  await repository.fetchManifest('1')
  expect(registry.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, wanted, wanted])
})

test('a credential helper that is missing keeps nobody from what is public, and is told where that is refused', async () => {
  const { registry } = await guardedRegistry({})
  const closed = await serve((_, response) => {
    response.setHeader('www-authenticate', 'Basic realm="r"')
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  for (const names of [
    { credsStore: 'nowhere' },
    { credHelpers: { [registry.host]: 'nowhere', [closed.host]: 'nowhere' } },
  ]) {
    const client = makeClient({ authFile: authFileWith(names) })
    expect(await client.repository(registry.host, 'app').fetchManifest('1')).toMatchObject({
      digest: manifest.digest,
    })
    const error = await failureOf(client.repository(closed.host, 'app').fetchManifest('1'), 'UNAUTHORIZED')
    expect(hintOf(error)).toContain(
      `Asked without credentials: cannot get credentials for ${closed.host}: there is no docker-credential-nowhere in the PATH. Install the helper, or take it out of the credentials file (credsStore, credHelpers).`,
    )
    expect(hintOf(error)).not.toContain(registry.host)
  }
})

test('Basic: no credentials, and wrong ones, are told apart; a secret is never quoted', async () => {
  const registry = await serve((_, response) => {
    response.setHeader('www-authenticate', 'Basic realm="r"')
    registryError(response, 401, 'UNAUTHORIZED', 'authentication required')
  })
  const none = await failureOf(
    makeClient().repository(registry.host, 'app').fetchManifest('1'),
    'UNAUTHORIZED',
  )
  expect(none.message).toBe(
    `cannot fetch the manifest ${registry.host}/app:1: credentials are needed: ${registry.host} answers 401 Unauthorized ("UNAUTHORIZED: authentication required")`,
  )
  expect(hintOf(none)).toContain(`airgap login ${registry.host}`)
  const client = clientWith(registry.host, basicEntry('user', 'hunter2'))
  const wrong = await failureOf(client.repository(registry.host, 'app').fetchManifest('1'), 'UNAUTHORIZED')
  expect(wrong.message).toMatch(/the credentials of "[^"]+" from .*auth\.json are not accepted/)
  expect(`${wrong.message}${hintOf(wrong)}${JSON.stringify(wrong)}`).not.toMatch(/hunter2|dXNlc/)
  // Once without, once with; then once without.
  expect(registry.seen).toHaveLength(3)
})

test('Bearer without credentials', async () => {
  const { registry, tokens } = await guardedRegistry()
  const fetched = await makeClient().repository(registry.host, 'team/app').fetchManifest('1')
  expect(fetched.digest).toBe(manifest.digest)
  expect(tokens.lines()).toEqual(['GET /token?service=svc&scope=repository%3Ateam%2Fapp%3Apull'])
  expect(tokens.seen[0]?.headers.authorization).toBeUndefined()
})

test('Bearer: many requests at once mean one token, later ones none', async () => {
  const { registry, tokens } = await guardedRegistry()
  const repository = clientWith(registry.host, basicEntry('user', 'pw')).repository(registry.host, 'app')
  await Promise.all(Array.from({ length: 20 }, () => repository.fetchManifest('1')))
  await Promise.all(Array.from({ length: 20 }, () => repository.resolveManifest('2')))
  expect(tokens.seen.map(({ headers }) => headers.authorization)).toEqual([
    `Basic ${basicEntry('user', 'pw').auth}`,
  ])
})

test('Bearer: another scope is another token', async () => {
  const { registry, tokens } = await guardedRegistry()
  const client = makeClient()
  await client.repository(registry.host, 'a').resolveManifest('1')
  await client.repository(registry.host, 'b').resolveManifest('1')
  await client.repository(registry.host, 'a').putManifest('1', manifest)
  expect(tokens.seen.map(({ query }) => query.getAll('scope'))).toEqual([
    ['repository:a:pull'],
    ['repository:b:pull'],
    ['repository:a:pull,push'],
  ])
})

test('Bearer: a realm may be relative and hold a query, which is kept', async () => {
  const memory = memoryRegistry()
  memory.manifests.set('1', manifest)
  const registry = await serve((seen, response, request) => {
    if (seen.path === '/auth') return json(response, 200, { access_token: 'tok' })
    if (seen.headers.authorization === 'Bearer tok') return memory.handle(seen, response, request)
    response.setHeader('www-authenticate', 'Bearer realm="/auth?a=b%20c&service=kept",service="other"')
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  await makeClient().repository(registry.host, 'app').fetchManifest('1')
  expect(registry.lines()[1]).toBe('GET /auth?a=b%20c&service=kept&scope=repository%3Aapp%3Apull')
})

test('Bearer: what the challenge asks beyond ours comes after ours', async () => {
  const { registry, tokens } = await guardedRegistry({
    challenge: ({ origin }) =>
      `Basic realm="x", Bearer realm="${origin}/t",scope="repository:app:pull repository:extra:pull registry:catalog:*"`,
  })
  await makeClient().repository(registry.host, 'app').fetchManifest('1')
  expect(tokens.seen[0]?.query.getAll('scope')).toEqual([
    'repository:app:pull',
    'repository:extra:pull',
    'registry:catalog:*',
  ])
})

test('Bearer: a refused mount source is left out of a second request', async () => {
  const { registry, tokens, valid } = await guardedRegistry({
    token: (seen, response) => {
      if (seen.query.getAll('scope').length > 1) return registryError(response, 403, 'DENIED')
      valid.add('Bearer ok')
      return json(response, 200, { token: 'ok' })
    },
  })
  const mounted = await makeClient().repository(registry.host, 'app').mountBlob(digestOf('x'), 'secret/other')
  expect(mounted).toBe(false)
  expect(tokens.seen.map(({ query }) => query.getAll('scope'))).toEqual([
    ['repository:app:pull,push', 'repository:secret/other:pull'],
    ['repository:app:pull,push'],
  ])
})

test('Bearer: a token that ends on the way is renewed once', async () => {
  const { registry, tokens, valid } = await guardedRegistry()
  const repository = makeClient().repository(registry.host, 'app')
  await repository.fetchManifest('1')
  valid.clear()
  await Promise.all([
    repository.fetchManifest('1'),
    repository.fetchManifest('1'),
    repository.fetchManifest('1'),
  ])
  expect(tokens.seen).toHaveLength(2)
})

test('Bearer: a 401 to a fresh token is a denial, not a loop', async () => {
  const { registry, tokens } = await guardedRegistry({
    token: (_, response) => json(response, 200, { token: 'useless' }),
  })
  const client = clientWith(registry.host, basicEntry('user', 'pw'))
  const repository = client.repository(registry.host, 'app')
  const error = await failureOf(repository.fetchManifest('1'), 'DENIED')
  expect(error.message).toContain('permission denied to the account "user" from')
  await failureOf(repository.fetchManifest('1'), 'DENIED')
  expect([tokens.seen.length, registry.seen.length]).toEqual([2, 3])
  expect(client.notices).toEqual([])
})

test('Bearer: expires_in counts from the answer, with 60 s as the least', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    for (const [expiresIn, after, requests] of [
      [1, 45, 1],
      [1, 61, 2],
      [undefined, 45, 1],
      [300, 285, 1],
      [300, 295, 2],
      ['300', 285, 1],
      ['300', 295, 2],
      ['999999999999999', 86_000, 1],
      ['999999999999999', 86_395, 2],
    ] as const) {
      const { registry, tokens } = await guardedRegistry(expiresIn === undefined ? {} : { expiresIn })
      const repository = makeClient().repository(registry.host, 'app')
      await repository.fetchManifest('1')
      vi.setSystemTime(Date.now() + after * 1000)
      await repository.fetchManifest('1')
      expect([expiresIn, after, tokens.seen.length]).toEqual([expiresIn, after, requests])
    }
  } finally {
    vi.useRealTimers()
  }
})

test('identity token: by POST', async () => {
  const { registry, tokens } = await guardedRegistry()
  const client = clientWith(registry.host, { ...basicEntry('<token>', ''), identitytoken: 'refresh-me' })
  await client.repository(registry.host, 'app').fetchManifest('1')
  expect(tokens.lines()).toEqual(['POST /token'])
  expect(tokens.seen[0]?.headers.authorization).toBeUndefined()
  expect(Object.fromEntries(new URLSearchParams(tokens.seen[0]?.body.toString()))).toEqual({
    grant_type: 'refresh_token',
    client_id: 'airgap',
    service: 'svc',
    scope: 'repository:app:pull',
    refresh_token: 'refresh-me',
  })
})

test.each([404, 405])('identity token: %i to the POST leads to GET', async (status) => {
  const { registry, tokens, valid } = await guardedRegistry({
    token: (seen, response) => {
      if (seen.method === 'POST') return void response.writeHead(status).end()
      valid.add('Bearer ok')
      return json(response, 200, { token: 'ok' })
    },
  })
  const client = clientWith(registry.host, basicEntry('<token>', 'refresh-me'))
  await client.repository(registry.host, 'app').fetchManifest('1')
  expect(tokens.seen.map(({ method, headers }) => [method, headers.authorization])).toEqual([
    ['POST', undefined],
    ['GET', `Basic ${basicEntry('<token>', 'refresh-me').auth}`],
  ])
})

test('a stored registry token is used as it is', async () => {
  const { registry, tokens, valid } = await guardedRegistry()
  valid.add('Bearer ready')
  await clientWith(registry.host, { registrytoken: 'ready' })
    .repository(registry.host, 'app')
    .fetchManifest('1')
  expect(tokens.seen).toEqual([])
})

test('credentials that the token service refuses', async () => {
  const { registry, tokens } = await guardedRegistry({
    token: (_, response) => json(response, 401, { details: 'incorrect username or password' }),
  })
  const client = clientWith(registry.host, basicEntry('user', 'hunter2'))
  const error = await failureOf(client.repository(registry.host, 'app').fetchManifest('1'), 'UNAUTHORIZED')
  expect(error.message).toContain(`${tokens.host} (the token service of ${registry.host}) answers 401`)
  expect(error.message).not.toContain('hunter2')
  expect(tokens.seen).toHaveLength(1)
})

test.each<[string, Handler, RegExp]>([
  ['more than it should', (_, r) => void r.end('x'.repeat(300_000)), /more than 262144 bytes/],
  ['a web page', (_, r) => void r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), /HTML page/],
  ['nothing', (_, r) => json(r, 200, {}), /without a token/],
  ['what no header can hold', (_, r) => json(r, 200, { token: 'a\r\nb: c' }), /no header can hold/],
  ['something else', (_, r) => json(r, 200, { token: 7, s: 's3cret' }), /does not answer with a token/],
  [
    'a time in words',
    (_, r) => json(r, 200, { token: 't', expires_in: '1h' }),
    /does not answer with a token/,
  ],
])('a token service that answers with %s', async (_, token, message) => {
  const { registry } = await guardedRegistry({ token })
  const error = await failureOf(makeClient().repository(registry.host, 'app').fetchManifest('1'), 'REGISTRY')
  expect(error.message).toMatch(message)
  expect(error.message).not.toContain('s3cret')
})

test('a token service that is down for a moment is asked again', async () => {
  let failures = 2
  const { registry, tokens, valid } = await guardedRegistry({
    token: (_, response) => {
      if (failures-- > 0) return registryError(response, 503, 'UNAVAILABLE')
      valid.add('Bearer ok')
      return json(response, 200, { token: 'ok' })
    },
  })
  await makeClient().repository(registry.host, 'app').fetchManifest('1')
  expect(tokens.seen).toHaveLength(3)
})

test.each([
  ['no challenge at all', undefined],
  ['a challenge of a kind we do not know', 'Negotiate abc=='],
  ['a Bearer challenge without realm', 'Bearer service="x"'],
])('%s', async (_, challenge) => {
  const registry = await serve((__, response) => {
    if (challenge !== undefined) response.setHeader('www-authenticate', challenge)
    registryError(response, 401, 'UNAUTHORIZED')
  })
  await failureOf(
    clientWith(registry.host, basicEntry('u', 'p')).repository(registry.host, 'app').fetchManifest('1'),
    'UNAUTHORIZED',
  )
  expect(registry.seen).toHaveLength(1)
})

test('a mirror gets its own credentials, not the source’s', async () => {
  const { registry: mirror, tokens } = await guardedRegistry()
  const client = makeClient({
    authFile: authFileWith({ auths: { '127.0.0.1:1': basicEntry('u', 'source-secret') } }),
  })
  await client.repository(mirror.host, 'hub/app').fetchManifest('1')
  expect(tokens.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
})

test('a login asks for no scope, whatever the challenge names, and its password goes to its registry alone', async () => {
  const { registry, tokens } = await guardedRegistry({
    challenge: ({ origin }) => `Bearer realm="${origin}/t",service="s",scope="repository:user/image:pull"`,
  })
  const other = await serve((_, response) => {
    response.setHeader('www-authenticate', 'Basic realm="r"')
    registryError(response, 401, 'UNAUTHORIZED')
  })
  const client = makeClient({ credentials: givenCredentials(registry.host, 'user', 'pw') })
  // The registry of this test knows nothing at /v2/, but it is only asked once the token is there.
  const { message } = await failureOf(client.ping(registry.host, 'log in'), 'REGISTRY')
  expect(message).toContain('is not a registry')
  expect(tokens.lines()).toEqual(['GET /t?service=s'])
  expect(tokens.seen[0]?.headers.authorization).toBe(`Basic ${basicEntry('user', 'pw').auth}`)
  await failureOf(client.ping(other.host, 'log in'), 'UNAUTHORIZED')
  expect(other.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
})
