import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { RegistryOptions } from '../../../src/registry/client.ts'
import { findStorage, storeCredentials } from '../../../src/registry/auth/credential-storage.ts'
import { givenCredentials } from '../../../src/registry/auth/credentials.ts'
import { isProjectName, projectOf, type Harbor } from '../../../src/registry/vendors/harbor.ts'
import { parseLoginTarget } from '../../../src/registry/auth/login-target.ts'
import { startHarbor } from '../../support/harbor.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  scratch,
  serve,
  type Handler,
} from '../../support/client.ts'

const ROBOT = 'robot$team+ci'
const PASSWORD = 'pa$$:wörd'

async function asked(host: string, options: RegistryOptions = {}): Promise<Harbor> {
  const client = makeClient({ credentials: givenCredentials(host, ROBOT, PASSWORD), ...options })
  const harbor = await client.harbor(host, { isAsked: true })
  if (!harbor) throw new Error('no Harbor')
  return harbor
}

/** A server that shows Harbor's challenge, gives tokens, and leaves the API to the test. */
async function like(api: Handler): ReturnType<typeof serve> {
  const server = await serve((seen, response, request) => {
    if (seen.path === '/service/token') return json(response, 200, { token: 'a-token' })
    if (seen.path.startsWith('/api/')) return api(seen, response, request)
    if (seen.headers.authorization !== undefined)
      return json(response, seen.path === '/v2/' ? 200 : 404, { errors: [] })
    json(
      response,
      401,
      {},
      {
        'www-authenticate': `Bearer realm="${server.origin}/service/token",service="harbor-registry"`,
      },
    )
  })
  return server
}

describe('credentials of a robot account', () => {
  const users = { [ROBOT]: { password: PASSWORD, kind: 'system robot' as const, projects: 'all' as const } }

  /** Each way in which they can be given, as options of the client. */
  const WAYS: Record<string, (host: string) => Promise<RegistryOptions>> = {
    'the environment': async (host) => {
      const file = join(scratch(), 'password')
      writeFileSync(file, `${PASSWORD}\n`)
      return {
        env: { AIRGAP_REGISTRY: host, AIRGAP_REGISTRY_USERNAME: ROBOT, AIRGAP_REGISTRY_PASSWORD_FILE: file },
      }
    },
    'a credentials file': async (host) => ({
      authFile: authFileWith({ auths: { [host]: basicEntry(ROBOT, PASSWORD) } }),
    }),
    'a credentials file, for a project alone': async (host) => ({
      authFile: authFileWith({ auths: { [`${host}/mirror`]: basicEntry(ROBOT, PASSWORD) } }),
    }),
    'what login has stored': async (host) => {
      const home = scratch()
      mkdirSync(join(home, '.docker'))
      const options = { env: { HOME: home } }
      const target = parseLoginTarget(host)
      await storeCredentials(
        target,
        { username: ROBOT, password: PASSWORD },
        await findStorage(target, options),
        options,
      )
      return options
    },
  }

  it.each(Object.keys(WAYS))('get through from %s, to the token service and to the API', async (way) => {
    const target = await startHarbor({ users })
    onTestFinished(() => target.close())
    const client = makeClient(await WAYS[way]!(target.host))
    const repository = client.repository(target.host, 'mirror/app')
    const projectOnly = way.endsWith('alone')
    if (!projectOnly) await client.ping(target.host, 'try')
    else await repository.resolveManifest('1').catch(() => undefined)
    const harbor = await client.harbor(target.host, { isAsked: false })
    expect(await harbor?.create('mirror', 'private')).toBe(true)
    expect(await repository.resolveManifest('1')).toBeUndefined()
  })
})

it('refuses a wrong password at login', async () => {
  const target = await startHarbor({
    users: { admin: { password: 'new', kind: 'admin', projects: 'all' } },
  })
  onTestFinished(() => target.close())
  const client = makeClient({ credentials: givenCredentials(target.host, 'admin', 'old') })
  const { message } = await failureOf(client.ping(target.host, 'log in'), 'UNAUTHORIZED')
  expect(message).toContain('user name and password are not accepted')
})

describe('the projects of a Harbor', () => {
  it('have names by its own grammar', () => {
    for (const name of ['a', 'docker.io', '127.0.0.1_5000', 'a-b_c.d', 'x'.repeat(255)])
      expect(isProjectName(name)).toBe(true)
    for (const name of ['', 'A', 'a__b', 'a--b', '-a', 'a.', 'a/b', 'x'.repeat(256), 'ä'])
      expect(isProjectName(name)).toBe(false)
    expect(projectOf('a/b/c')).toBe('a')
    expect(projectOf('a')).toBeUndefined()
  })

  it('are asked for by name, never by number, and believed under that name only', async () => {
    const server = await like((seen, response) => {
      expect(seen.headers['x-is-resource-name']).toBe('true')
      json(response, 200, { name: 'another', project_id: 7, registry_id: 0 })
    })
    expect(await (await asked(server.host)).project('7', '7/app')).toBe('unknown')
  })

  it.each<[string, Handler]>([
    [
      'a web page',
      (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>') && undefined,
    ],
    ['a list', (_, response) => json(response, 200, [{ name: 'mirror' }])],
    [
      'more than anybody needs',
      (_, response) => void response.writeHead(200).end(Buffer.alloc(2 ** 21, ' ')),
    ],
  ])('are unknown where the answer is %s', async (_, api) => {
    const server = await like(api)
    expect(await (await asked(server.host)).project('mirror', 'mirror/app')).toBe('unknown')
  })

  it('credentials do not follow a redirect to another origin', async () => {
    const other = await serve((_, response) => json(response, 200, { name: 'mirror' }))
    const server = await like(
      (seen, response) => void response.writeHead(302, { location: `${other.origin}${seen.url}` }).end(),
    )
    const harbor = await asked(server.host)
    expect(await harbor.project('mirror', 'mirror/app')).toBe('there')
    expect(other.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
    const refused = await failureOf(harbor.create('mirror', 'private'), 'REGISTRY')
    expect(refused.message).toContain('an unexpected redirect')
    expect(other.seen).toHaveLength(1)
  })

  it('no challenge of the API is answered', async () => {
    const other = await serve((_, response) => json(response, 200, { token: 'x' }))
    const challenge = { 'www-authenticate': `Bearer realm="${other.origin}/token",service="harbor-registry"` }
    const server = await like((_, response) => json(response, 401, {}, challenge))
    await failureOf((await asked(server.host)).create('mirror', 'private'), 'UNAUTHORIZED')
    expect(other.seen).toEqual([])
    expect(server.seen.filter(({ path }) => path.startsWith('/api/'))).toHaveLength(1)
  })

  it('a busy one is asked again, a broken one is an error', async () => {
    let count = 0
    const busy = await like((_, response) =>
      ++count === 1
        ? json(response, 503, {}, { 'retry-after': '0' })
        : json(response, 200, { name: 'mirror' }),
    )
    expect(await (await asked(busy.host)).project('mirror', 'mirror/app')).toBe('there')
    const broken = await like((_, response) =>
      json(response, 500, { errors: [{ code: 'UNKNOWN', message: 'internal server error' }] }),
    )
    const error = await failureOf(
      asked(broken.host).then((harbor) => harbor.project('mirror', 'mirror/app')),
      'REGISTRY',
    )
    expect(error.message).toContain('internal server error')
  })

  it('what it says of a refusal is one short line', async () => {
    const server = await like((_, response) =>
      json(response, 400, { errors: [{ code: 'BAD_REQUEST', message: `\u001b[2J\n${'x'.repeat(5000)}` }] }),
    )
    const error = await failureOf((await asked(server.host)).create('mirror', 'private'), 'REGISTRY')
    expect(error.message).not.toMatch(/\p{Cc}/u)
    expect(error.message.length).toBeLessThan(600)
  })
})

describe('a registry is taken for a Harbor', () => {
  it('by its own challenge, or by its API where somebody asks', async () => {
    const client = makeClient({ credentials: givenCredentials('x', 'y', 'z') })
    const plain = await serve((seen, response) =>
      seen.path === '/api/v2.0/systeminfo'
        ? json(response, 200, { auth_mode: 'db_auth' })
        : json(response, 200, {}),
    )
    expect(await client.harbor(plain.host, { isAsked: false })).toBeUndefined()
    expect(plain.seen).toEqual([])
    expect(await client.harbor(plain.host, { isAsked: true })).toBeDefined()
    for (const answer of ['<html>', '{"auth_mode":7}', '[]', '']) {
      const other = await serve((seen, response) =>
        seen.path === '/v2/' ? json(response, 200, {}) : void response.writeHead(200).end(answer),
      )
      expect(await client.harbor(other.host, { isAsked: true })).toBeUndefined()
    }
  })
})
