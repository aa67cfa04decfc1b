import { lookup } from 'node:dns'
import type { ServerResponse } from 'node:http'
import { isIP, type LookupFunction } from 'node:net'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import type { RegistryClient, RegistryOptions } from '../../src/registry/client.ts'
import { downloadBlob, foreignOrigins } from '../../src/registry/blobs/download.ts'
import { LinkLocalFault, NameGuard } from '../../src/registry/net/name-guard.ts'
import { leadsInside } from '../../src/registry/net/reach.ts'
import type { Repository } from '../../src/registry/repository.ts'
import { fetchToken } from '../../src/registry/auth/token.ts'
import { Transport } from '../../src/registry/net/transport.ts'
import {
  failureOf,
  json,
  makeClient,
  registryError,
  sampleBytes,
  serve,
  type Handler,
  type Seen,
  type TestServer,
} from '../support/client.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

/** Nobody has these: documentation's own networks (RFC 5737, 3849), so a request that is sent after all goes nowhere. */
const PUBLIC = '203.0.113.5'
const METADATA = '169.254.169.254'

const bytes = sampleBytes(2000)
const blob = { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.length }

const ADDRESSES: Record<string, string[]> = {
  'public.example': [PUBLIC],
  'inside.example': ['10.1.1.1'],
  'other.inside.example': ['10.1.1.2'],
  'metadata.example': [METADATA],
  'both.example': [PUBLIC, '10.1.1.1'],
}
const reach = { addressesOf: async (host: string): Promise<string[]> => ADDRESSES[host] ?? [] }

/** Registries as a foreign layer's check knows them: by name. */
const from = (...registries: string[]): Repository[] =>
  registries.map((registry) => ({ registry, name: `${registry}/app` }) as unknown as Repository)

/** What becomes of a foreign layer's URL, without any network: the refusal, or that it would have been asked. */
async function tried(registries: readonly string[], url: string): Promise<string> {
  const asked: string[] = []
  const transport = {
    request: async (request: { url: URL }) => {
      asked.push(request.url.href)
      throw new Error('asked')
    },
  } as unknown as Transport
  const [origin] = foreignOrigins(from(...registries), { ...blob, urls: [url] }, { transport, reach })
  const outcome = await origin!.open(0, undefined).then(
    () => 'opened',
    (error: Error) => error.message,
  )
  // Nothing may have been sent where it was refused.
  if (outcome !== 'asked') expect(asked).toEqual([])
  return outcome
}

describe('a foreign layer', () => {
  test.each([
    ['docker.io', `http://${METADATA}/latest/meta-data/iam/security-credentials/`],
    ['public.example', 'https://metadata.example/x'],
    ['public.example', `http://[::ffff:${METADATA}]/x`],
    ['public.example', `http://[64:ff9b::a9fe:a9fe]/x`],
    ['public.example', 'http://[fd00:ec2::254]/x'],
    ['public.example', 'http://0xa9fea9fe/x'],
    ['public.example', 'http://2852039166/x'],
    ['public.example', 'http://127.0.0.1:8500/v1/kv/'],
    ['public.example', 'http://localhost:2375/images/json'],
    ['public.example', 'http://[::1]/x'],
    ['public.example', 'http://0/x'],
    ['public.example', 'https://inside.example/x'],
    ['public.example', 'https://both.example/x'],
    ['both.example', 'https://inside.example/x'],
    ['unknown.example', 'https://inside.example/x'],
  ])('[duty: private-addresses] of an image in %s does not lead to %s', async (registry, url) => {
    const outcome = await tried([registry], url)
    expect(outcome).toContain(`is inside a private network while ${registry} is not`)
  })

  test.each([
    [['public.example'], 'https://public.example/x'],
    [['public.example'], 'https://cdn.unknown.example/x'],
    [['inside.example'], 'https://other.inside.example/x'],
    [['10.0.0.1:5000'], 'http://127.0.0.1/x'],
    [['localhost:5000'], 'https://inside.example/x'],
  ])('of an image in %j may lead to %s', async (registries, url) => {
    expect(await tried(registries, url)).toBe('asked')
  })

  test('is held to the most public of the registries that the image may come from', async () => {
    const outcome = await tried(['inside.example', 'public.example'], 'https://other.inside.example/x')
    expect(outcome).toContain('while inside.example and public.example are not')
    expect(await tried([], 'https://inside.example/x')).toContain('while no registry is')
  })

  test('with a redirect that leads inside gets no answer from there', async () => {
    const inside = await serve((_, response) => void response.end(bytes))
    const outside = await serve(
      (_, response) => void response.writeHead(302, { location: `${inside.origin}/x` }).end(),
    )
    // Both servers are on 127.0.0.1, which is inside. So the one that redirects has a name, which leads outside when
    // it is checked and to it when it is contacted; what is on trial here is the second step.
    const transport = new Transport({
      insecureSkipTlsVerify: [],
      plainHttp: [],
      names: new NameGuard((_name, options, done) => lookup('127.0.0.1', options, done)),
    })
    const url = `http://public.example:${outside.port}/layer`
    const [origin] = foreignOrigins(from('docker.io'), { ...blob, urls: [url] }, { transport, reach })
    const error = await failureOf(origin!.open(0, undefined), 'UNSUPPORTED_CONTENT')
    await transport.close()
    expect(error.message).toContain(
      `which redirects to ${inside.origin}/x, which is inside a private network`,
    )
    expect([outside.seen.length, inside.seen.length]).toEqual([1, 0])
  })

  test('is refused by a whole download, which names it', async () => {
    const inside = await serve((_, response) => void response.end(bytes))
    const registry = await serve((_, response) => registryError(response, 404, 'BLOB_UNKNOWN'))
    const client = makeClient()
    const sink = { write: async () => {}, restartable: true }
    const repository = client.repository(registry.host, 'app')
    // The registry as one on the internet, for the check alone.
    const posing = {
      ...repository,
      registry: `${PUBLIC}:5000`,
      openBlob: repository.openBlob.bind(repository),
    }
    const descriptor = { ...blob, urls: [`${inside.origin}/layer`] }
    const error = await failureOf(downloadBlob([posing], descriptor, sink, { client }), 'UNSUPPORTED_CONTENT')
    expect(error.message).toContain(`from ${inside.origin}/layer, which is inside a private network`)
    expect(hintOf(error)).toContain('--mirror')
    expect([registry.seen.length, inside.seen.length]).toEqual([1, 0])
    // The same layer of a registry that is inside, too, is taken from there.
    await downloadBlob([repository], descriptor, sink, { client })
    expect(inside.seen).toHaveLength(1)
  })
})

describe('where clouds keep secrets', () => {
  const NAMES: Record<string, string[]> = {
    'metadata.example': [METADATA],
    'mapped.example': [`::ffff:${METADATA}`],
    'link.example': ['fe80::1'],
    'aws.example': ['fd00:ec2::254'],
    'r.example': ['127.0.0.1'],
    'zeroconf.example': ['169.254.7.7', 'fe80::7', '127.0.0.1'],
  }
  /** All of them on this machine, so that what is sent after all arrives at the server that stands for a cloud. */
  const resolve: LookupFunction = (name, options, done) => {
    const found = (NAMES[name] ?? []).map((address) => ({ address, family: isIP(address) }))
    if (options.all) done(null, found)
    else done(null, found[0]!.address, found[0]!.family)
  }
  const clientOf = (options: RegistryOptions = {}) =>
    makeClient({ names: new NameGuard(resolve), plainHttp: ['r.example'], ...options })

  const open = (repository: Repository) => repository.openBlob(blob.digest, 0)
  const redirects = (status: number) => (to: string) => (_: Seen, response: ServerResponse) =>
    void response.writeHead(status, { location: `${to}?x=1` }).end()
  const WAYS: [string, (to: string) => Handler, (repository: Repository) => Promise<unknown>][] = [
    ['a redirect', redirects(307), open],
    ['a redirect of a manifest', redirects(302), (repository) => repository.fetchManifest('1')],
    ['a redirect of a list of tags', redirects(302), (repository) => repository.someTags()],
    [
      'an upload session',
      redirects(202),
      (repository) =>
        repository.uploadBlob(blob, async function* () {
          yield bytes
        }),
    ],
    [
      'a token service',
      (to) => (_, response) => {
        response.setHeader('www-authenticate', `Bearer realm="${to}"`)
        registryError(response, 401, 'UNAUTHORIZED')
      },
      open,
    ],
  ]
  const LITERAL = [METADATA, '[fe80::1]', '[fd00:ec2::254]', '[64:ff9b::a9fe:a9fe]', '168.63.129.16']
  const BY_NAME = Object.keys(NAMES).filter((name) => !/^[rz]/.test(name))

  test.each(WAYS)('[duty: private-addresses] %s does not lead there', async (_, handler, action) => {
    for (const host of [...LITERAL, ...BY_NAME]) {
      const server = await serve(handler(`http://${host}/latest`))
      const registry = `r.example:${server.port}`
      const client = clientOf({ plainHttp: ['r.example', host] })
      const error = await failureOf(action(client.repository(registry, 'app')), 'REGISTRY')
      const address = NAMES[host]?.[0]
      expect(error.message).toContain(
        `${host} (for ${registry}): ${address === undefined ? 'it is' : `its name leads to ${address},`} a link-local address`,
      )
      expect(hintOf(error)).toContain('Nothing was sent there')
    }
  })

  test('[duty: private-addresses] a foreign layer of a registry inside does not lead there', async () => {
    for (const host of [...LITERAL, ...BY_NAME]) {
      const client = clientOf()
      const url = `http://${host}/latest`
      const [origin] = foreignOrigins(from('127.0.0.1:5000'), { ...blob, urls: [url] }, client.shared)
      const error = await failureOf(origin!.open(0, undefined), 'REGISTRY')
      expect(error.message).toContain('a link-local address, where clouds keep the secrets of this machine')
    }
  })

  test('a registry that the user has named may have such an address, as long as it has no other', async () => {
    const names = new NameGuard(flipping(METADATA, METADATA, PUBLIC, METADATA))
    const look = () =>
      new Promise((found) => names.lookup('local.example', {}, (error, address) => found(error ?? address)))
    expect(await look()).toBeInstanceOf(LinkLocalFault)
    names.named('local.example:5000')
    expect([await look(), await look()]).toEqual([METADATA, PUBLIC])
    expect(await look()).toBeInstanceOf(LinkLocalFault)
    names.named('169.254.7.7:5000')
    expect(() => names.checkHost('169.254.7.7')).not.toThrow()
    expect(() => names.checkHost(METADATA)).toThrow(LinkLocalFault)
  })

  test('of a name with other addresses besides, these are used', async () => {
    const server = await serve((_, response) => void response.end(bytes))
    const client = clientOf({ plainHttp: ['zeroconf.example'] })
    await client.repository(`zeroconf.example:${server.port}`, 'app').openBlob(blob.digest, 0)
    expect(server.seen).toHaveLength(1)
    expect(client.shared.transport.names.givenTo('zeroconf.example')).toEqual(['127.0.0.1'])
  })
})

/** A resolver that gives one answer after another; the last one stays. */
function flipping(...answers: string[]): LookupFunction & { asked: number } {
  const resolve = ((_name, options, done) => {
    const address = answers[Math.min(resolve.asked, answers.length - 1)]!
    resolve.asked += 1
    lookup(address, options, done)
  }) as LookupFunction & { asked: number }
  resolve.asked = 0
  return resolve
}

describe('a name that is given another address once it was checked (DNS rebinding)', () => {
  /** A token service that a registry outside names; `resolve` is what the connections get. */
  async function ask(resolve: LookupFunction, thief: TestServer, allowed: readonly string[] = []) {
    const names = new NameGuard(resolve)
    const transport = new Transport({
      insecureSkipTlsVerify: [],
      plainHttp: [],
      names,
      connectTimeoutMs: 2000,
    })
    try {
      return await fetchToken({
        transport,
        endpoint: { registry: 'public.example', url: new URL('https://public.example'), plainAllowed: true },
        rules: { allowed, plainHttp: [], names, addressesOf: async () => [PUBLIC] },
        stranger: { kind: 'anonymous' },
        realm: `http://auth.example:${thief.port}/token`,
        service: undefined,
        choices: [[]],
        credentials: { kind: 'basic', username: 'bob', password: 's3cret-word', source: 'x', id: 'x' },
        context: { registry: 'public.example', operation: 'look' },
      })
    } finally {
      await transport.close()
    }
  }

  test('[duty: private-addresses] gets neither request nor credentials', async () => {
    const thief = await serve((_, response) => json(response, 200, { token: 't' }))
    const error = await failureOf(ask(flipping('127.0.0.1'), thief), 'NETWORK')
    expect(error.message).toContain('its name now leads to 127.0.0.1, inside a private network')
    expect(thief.seen).toEqual([])
    // The same is asked where the user has allowed the name: it is the rule that refuses, not the test's network.
    expect(await ask(flipping('127.0.0.1'), thief, ['auth.example'])).toMatchObject({ token: { value: 't' } })
    expect(thief.seen).toHaveLength(1)
  })

  test('a registry does not become a private one by a new answer of its DNS', async () => {
    const names = new NameGuard(flipping(PUBLIC))
    await new Promise<void>((resolve) => names.lookup('evil.example', {}, () => resolve()))
    // Now its DNS says 10.0.0.1, so that its token service may be inside, too.
    const rules = { names, addressesOf: async () => ['10.0.0.1'] }
    expect(await leadsInside('10.0.0.5', ['evil.example'], rules)).toBe(true)
    expect(await leadsInside('10.0.0.5', ['honest.example'], rules)).toBe(false)
  })

  test('a name that was inside for another connection does not count as outside', async () => {
    const names = new NameGuard(flipping('10.0.0.1'))
    await new Promise<void>((resolve) => names.lookup('Evil.example', {}, () => resolve()))
    const rules = { names, addressesOf: async () => [PUBLIC] }
    expect(await leadsInside('evil.example', ['public.example'], rules)).toBe(true)
  })

  test('a client looks every name up by its guard', async () => {
    const client: RegistryClient = makeClient({ plainHttp: ['localhost'] } satisfies RegistryOptions)
    const server = await serve((_, response) => registryError(response, 404, 'MANIFEST_UNKNOWN'))
    const { names } = client.shared.transport
    await failureOf(client.repository(`localhost:${server.port}`, 'app').fetchManifest('1'), 'NOT_FOUND')
    expect(names.givenTo('localhost')).toContain('127.0.0.1')
    expect(client.shared.reach.names).toBe(names)
  })
})
