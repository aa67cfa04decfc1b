import { expect, onTestFinished, test, vi } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import type { AuthOptions } from '../../support/registry/auth.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  registryError,
  sampleManifest,
  serve,
} from '../../support/client.ts'

const manifest = sampleManifest()
type Bearer = Extract<AuthOptions, { bearer: unknown }>['bearer']

/** A registry that wants tokens, with repositories `app/0` and so on that all hold the tag `1`. */
async function guarded(count: number, bearer: Bearer = {}) {
  const registry = await startRegistry({ auth: { bearer } })
  onTestFinished(() => registry.close())
  const names = Array.from({ length: count }, (_, i) => `app/${i}`)
  for (const name of names) {
    registry.store.putBlob(name, Buffer.from('{}'))
    registry.store.putManifest(name, manifest.bytes, manifest.mediaType, '1')
  }
  return { registry, names }
}

const tokens = ({ requests }: EmbeddedRegistry) => requests.filter(({ path }) => path === '/token')
const refusals = ({ requests }: EmbeddedRegistry) =>
  requests.filter(({ path, status }) => path !== '/token' && (status === 401 || status === 403))

async function readAll(
  client: ReturnType<typeof makeClient>,
  { registry, names }: Awaited<ReturnType<typeof guarded>>,
  atATime = 6,
): Promise<void> {
  for (let i = 0; i < names.length; i += atATime) {
    await Promise.all(
      names
        .slice(i, i + atATime)
        .map(async (name) =>
          expect((await client.repository(registry.host, name).fetchManifest('1')).digest).toBe(
            manifest.digest,
          ),
        ),
    )
  }
}

test('a token for each forty repositories that are expected, each asked for once', async () => {
  const all = await guarded(100)
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull')
  await readAll(client, all)
  expect(tokens(all.registry)).toHaveLength(3)
  expect(all.registry.requests.length).toBeLessThanOrEqual(100 + 3 + 6)
  await readAll(client, all)
  expect(tokens(all.registry)).toHaveLength(3)
})

test('without being told, one for each repository', async () => {
  const all = await guarded(8)
  await readAll(makeClient(), all)
  expect(tokens(all.registry)).toHaveLength(8)
})

test('a token for reading and writing does for both, and for mounts between the repositories it holds', async () => {
  const all = await guarded(10)
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull,push')
  await readAll(client, all)
  for (const name of all.names.slice(1)) {
    const repository = client.repository(all.registry.host, name)
    await repository.putManifest('2', manifest)
    expect(await repository.mountBlob(digestOf('{}'), 'app/0')).toBe(true)
  }
  expect(tokens(all.registry)).toHaveLength(1)
})

test('mounts from one repository into many share tokens with it', async () => {
  const all = await guarded(100)
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull,push')
  await readAll(client, all)
  client.expectSources(all.registry.host, ['app/99', 'app/98'])
  for (const [i, name] of all.names.slice(0, 98).entries()) {
    const from = i % 2 === 0 ? 'app/99' : 'app/98'
    expect(await client.repository(all.registry.host, name).mountBlob(digestOf('{}'), from)).toBe(true)
  }
  // Three for reading, and three with the two sources in each.
  expect(tokens(all.registry).length).toBeLessThanOrEqual(6)
})

test.each(['first', 'last'] as const)(
  'a service that reads the %s scope only costs two repositories a request more, and then none',
  async (scopes) => {
    const all = await guarded(60, { scopes })
    const client = makeClient()
    client.expect(all.registry.host, all.names, 'pull')
    await readAll(client, all, 1)
    expect(client.notices).toEqual([])
    // The first request of all is refused because nobody knows yet that tokens are wanted.
    expect(refusals(all.registry)).toHaveLength(3)
    expect(tokens(all.registry).length).toBeLessThanOrEqual(62)
  },
)

test('that is found out by several at once too, none of which fails', async () => {
  const all = await guarded(60, { scopes: 'last' })
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull')
  await readAll(client, all, 10)
  expect(refusals(all.registry).length).toBeLessThanOrEqual(20)
  expect(tokens(all.registry).length).toBeLessThanOrEqual(80)
})

test('a service that refuses all for the sake of one is asked for one at a time', async () => {
  const all = await guarded(60, { scopes: 'all-or-nothing', denied: ['app/30'] })
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull')
  const others = { ...all, names: all.names.filter((name) => name !== 'app/30') }
  await readAll(client, others, 1)
  // Two that were refused, and one for each.
  expect(tokens(all.registry)).toHaveLength(61)
  expect(tokens(all.registry).filter(({ status }) => status === 403)).toHaveLength(2)
  const error = await failureOf(client.repository(all.registry.host, 'app/30').fetchManifest('1'), 'DENIED')
  expect(error.message).toContain('app/30')
  expect(tokens(all.registry)).toHaveLength(62)
})

test('what one is not allowed to have is refused once, and costs the others nothing', async () => {
  const all = await guarded(30, { denied: ['app/3', 'app/4', 'app/5'] })
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull')
  for (const name of all.names) {
    const fetched = client.repository(all.registry.host, name).fetchManifest('1')
    if (['app/3', 'app/4', 'app/5'].includes(name)) await failureOf(fetched, 'UNAUTHORIZED')
    else await fetched
  }
  // One for all, and one more for each that was refused, in case that the other was at fault.
  expect(tokens(all.registry)).toHaveLength(4)
  expect(all.registry.requests).toHaveLength(1 + 30 + 3 + 4)
})

test('a token that no header can hold is not sent; fewer share the next ones', async () => {
  const registry = await startRegistry({ auth: { bearer: { longestHeader: 6400 } } })
  onTestFinished(() => registry.close())
  const names = Array.from({ length: 60 }, (_, i) => `${'long-name-of-a-team/'.repeat(8)}app-${i}`)
  for (const name of names) {
    registry.store.putBlob(name, Buffer.from('{}'))
    registry.store.putManifest(name, manifest.bytes, manifest.mediaType, '1')
  }
  const client = makeClient()
  client.expect(registry.host, names, 'pull')
  await readAll(client, { registry, names }, 1)
  expect(registry.requests.some(({ status }) => status === 400)).toBe(false)
  expect(tokens(registry).length).toBeLessThanOrEqual(8)
})

test('when all tokens are made void at once, they are renewed together', async () => {
  const all = await guarded(60)
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull')
  await readAll(client, all)
  expect(tokens(all.registry)).toHaveLength(2)
  all.registry.revokeTokens()
  await readAll(client, all)
  await readAll(client, all)
  expect(tokens(all.registry)).toHaveLength(4)
})

test('that holds for those too that had not been used yet', async () => {
  const all = await guarded(40)
  const client = makeClient()
  client.expect(all.registry.host, all.names, 'pull')
  await readAll(client, { ...all, names: all.names.slice(0, 20) })
  all.registry.revokeTokens()
  await readAll(client, { ...all, names: all.names.toReversed() }, 1)
  expect(tokens(all.registry)).toHaveLength(2)
})

test('those that run out are renewed once for all who wait', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    const all = await guarded(20, { expiresIn: 300 })
    const client = makeClient()
    client.expect(all.registry.host, all.names, 'pull')
    await readAll(client, all)
    vi.setSystemTime(Date.now() + 295_000)
    await readAll(client, all, 20)
    expect(tokens(all.registry)).toHaveLength(2)
  } finally {
    vi.useRealTimers()
  }
})

test('a token that was issued some time ago has less time left', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    let count = 0
    const service = await serve((_, response) => {
      const ago = (seconds: number): string => new Date(Date.now() - seconds * 1000).toISOString()
      response.setHeader('date', new Date().toUTCString())
      json(response, 200, { token: `t${++count}`, expires_in: 300, issued_at: ago(200) })
    })
    const registry = await serve((seen, response) => {
      if (seen.headers.authorization) {
        response.writeHead(200, { 'content-type': manifest.mediaType })
        return void response.end(manifest.bytes)
      }
      response.setHeader('www-authenticate', `Bearer realm="${service.origin}/token"`)
      return registryError(response, 401, 'UNAUTHORIZED')
    })
    const repository = makeClient().repository(registry.host, 'app')
    await repository.fetchManifest('1')
    vi.setSystemTime(Date.now() + 80_000)
    await repository.fetchManifest('1')
    expect(count).toBe(1)
    vi.setSystemTime(Date.now() + 15_000)
    await repository.fetchManifest('1')
    expect(count).toBe(2)
  } finally {
    vi.useRealTimers()
  }
})

test('repositories with other credentials, or with none, never share a token', async () => {
  const service = await serve((_, response) => json(response, 200, { token: 't' }))
  const registry = await serve((seen, response) => {
    if (seen.headers.authorization) {
      response.writeHead(200, { 'content-type': manifest.mediaType })
      return void response.end(manifest.bytes)
    }
    response.setHeader('www-authenticate', `Bearer realm="${service.origin}/token"`)
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const { host } = registry
  const names = [0, 1, 2].flatMap((i) => ['open', 'one', 'two'].map((team) => `${team}/${i}`))
  const authFile = authFileWith({
    auths: { [`${host}/one`]: basicEntry('one', 'a'), [`${host}/two`]: basicEntry('two', 'b') },
  })
  const client = makeClient({ authFile })
  client.expect(host, names, 'pull')
  for (const name of names) await client.repository(host, name).fetchManifest('1')
  const asked = service.seen.map(({ headers, query }) => [headers.authorization, query.getAll('scope')])
  const scopes = (team: string): string[] => [0, 1, 2].map((i) => `repository:${team}/${i}:pull`)
  expect(asked).toEqual([
    [undefined, scopes('open')],
    [`Basic ${basicEntry('one', 'a').auth}`, scopes('one')],
    [`Basic ${basicEntry('two', 'b').auth}`, scopes('two')],
  ])
})

test('one whose credentials are refused is told in its own words', async () => {
  const service = await serve((_, response) => json(response, 403, { details: 'no' }))
  const registry = await serve((_, response) => {
    response.setHeader('www-authenticate', `Bearer realm="${service.origin}/token"`)
    registryError(response, 401, 'UNAUTHORIZED')
  })
  const client = makeClient()
  const names = ['a', 'b', 'c', 'd', 'e']
  client.expect(registry.host, names, 'pull')
  const errors = await Promise.all(
    names.map((name) => failureOf(client.repository(registry.host, name).fetchManifest('1'), 'DENIED')),
  )
  errors.forEach((error, i) =>
    expect(error.message).toContain(`cannot fetch the manifest ${registry.host}/${names[i]}:1: `),
  )
  // A bound, whatever the service says: shared twice at the most, and then each for itself.
  expect(service.seen.length).toBeLessThanOrEqual(2 * names.length)
})

test('a registry that answers 403 to a token that lacks a repository', async () => {
  const service = await serve((seen, response) => {
    json(response, 200, { token: seen.query.getAll('scope')[0]?.replaceAll(/[:/]/g, '-') })
  })
  const registry = await serve((seen, response) => {
    const name = /^\/v2\/(.+)\/manifests/.exec(seen.path)?.[1] ?? ''
    const { authorization } = seen.headers
    if (authorization === `Bearer repository-${name}-pull`) {
      response.writeHead(200, { 'content-type': manifest.mediaType })
      return void response.end(manifest.bytes)
    }
    if (authorization) return registryError(response, 403, 'DENIED', 'insufficient scope')
    response.setHeader('www-authenticate', `Bearer realm="${service.origin}/token"`)
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const client = makeClient()
  const names = ['a', 'b', 'c', 'd', 'e']
  client.expect(registry.host, names, 'pull')
  for (const name of names) await client.repository(registry.host, name).fetchManifest('1')
  expect(service.seen).toHaveLength(5)
  expect(registry.seen).toHaveLength(1 + 5 + 2)
})
