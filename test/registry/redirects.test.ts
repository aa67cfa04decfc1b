import { expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { Transport } from '../../src/registry/net/transport.ts'
import { makeCertificate } from '../support/certificates.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  memoryRegistry,
  registryError,
  sampleBytes,
  sampleManifest,
  serve,
  type Handler,
} from '../support/client.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const context = { registry: 'r.example', operation: 'look' }
const blob = sampleBytes(1000)
const digest = digestOf(blob)

/** Wants Basic authentication first. */
function guarded(inner: Handler): Handler {
  return (seen, response, request) => {
    if (seen.headers.authorization === undefined) {
      response.setHeader('www-authenticate', 'Basic realm="r"')
      return registryError(response, 401, 'UNAUTHORIZED')
    }
    return inner(seen, response, request)
  }
}

function clientFor(host: string) {
  return makeClient({ authFile: authFileWith({ auths: { [host]: basicEntry('user', 's3cret-word') } }) })
}

test('[duty: one-origin] credentials do not go along a redirect to another origin, nor come back with one', async () => {
  const cdn = await serve(
    (_, response) => void response.writeHead(307, { location: `${registry.origin}/v2/back` }).end(),
  )
  const registry = await serve(
    guarded((seen, response) => {
      if (seen.path === '/v2/back') response.end(blob)
      else response.writeHead(307, { location: `${cdn.origin}/signed?sig=s3cret` }).end()
    }),
  )
  const repository = clientFor(registry.host).repository(registry.host, 'app')
  // The registry refuses the anonymous request that comes back to it.
  await failureOf(repository.openBlob(digest, 0), 'UNAUTHORIZED')
  expect(cdn.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
  const back = registry.seen.filter(({ path }) => path === '/v2/back')
  expect(back.map(({ headers }) => headers.authorization)).toEqual([undefined])
})

test('credentials stay on along a redirect within the origin', async () => {
  const manifest = sampleManifest()
  const registry = await serve(
    guarded((seen, response) => {
      if (seen.path === '/v2/app/manifests/1')
        return void response.writeHead(302, { location: '/moved?x=1' }).end()
      response.writeHead(200, { 'content-type': manifest.mediaType }).end(manifest.bytes)
    }),
  )
  const fetched = await clientFor(registry.host).repository(registry.host, 'app').fetchManifest('1')
  expect(fetched.digest).toBe(manifest.digest)
})

test('a challenge from where a redirect leads is not answered', async () => {
  const tokens = await serve((_, response) => json(response, 200, { token: 't' }))
  const cdn = await serve((_, response) => {
    response.setHeader('www-authenticate', `Bearer realm="${tokens.origin}/token"`)
    registryError(response, 401, 'UNAUTHORIZED')
  })
  const registry = await serve((_, response) => void response.writeHead(307, { location: cdn.origin }).end())
  const repository = clientFor(registry.host).repository(registry.host, 'app')
  const error = await failureOf(repository.openBlob(digest, 0), 'REGISTRY')
  expect(error.message).toContain(`${cdn.host} (where ${registry.host} redirects to) answers 401`)
  expect(tokens.seen).toEqual([])
  expect([registry.seen.length, cdn.seen.length]).toEqual([1, 1])
})

test('no more than five redirects', async () => {
  const server = await serve((seen, response) => {
    response.writeHead(302, { location: `/${Number(seen.path.slice(1)) + 1}?secret=1` }).end()
  })
  const transport = new Transport({ insecureSkipTlsVerify: [], plainHttp: [] })
  const error = await failureOf(
    transport.request({ method: 'GET', url: new URL(`${server.origin}/0`), context }),
    'REGISTRY',
  )
  expect(server.seen).toHaveLength(6)
  expect(error.message).toContain('more than 5 redirects')
  expect(error.message).not.toContain('secret')
  await transport.close()
})

test('a redirect away from HTTPS is refused', async () => {
  const tls = makeCertificate({ name: 'x', names: ['127.0.0.1'] })
  const server = await serve(
    (_, response) => void response.writeHead(307, { location: 'http://cdn.example/x?sig=abc' }).end(),
    { tls },
  )
  const transport = new Transport({ insecureSkipTlsVerify: ['127.0.0.1'], plainHttp: [] })
  const error = await failureOf(
    transport.request({ method: 'GET', url: new URL(server.origin), context }),
    'REGISTRY',
  )
  expect(error.message).toBe(
    `cannot look: ${server.origin}/ redirects from HTTPS to plain HTTP (http://cdn.example/x)`,
  )
  await transport.close()
})

test('which steps give up encryption', async () => {
  const transport = new Transport({ insecureSkipTlsVerify: [], plainHttp: ['plain.example'] })
  const isDowngrade = (from: string, to: string): boolean => transport.isDowngrade(new URL(from), new URL(to))
  expect(isDowngrade('https://a.example', 'http://a.example')).toBe(true)
  expect(isDowngrade('https://a.example', 'http://127.0.0.1')).toBe(true)
  expect(isDowngrade('https://localhost', 'http://a.example')).toBe(true)
  expect(isDowngrade('https://localhost:1', 'http://127.0.0.1:2')).toBe(false)
  expect(isDowngrade('https://a.example', 'http://plain.example')).toBe(false)
  expect(isDowngrade('http://a.example', 'http://b.example')).toBe(false)
  await transport.close()
})

test.each([
  ['ftp://x.example/', 'begins with ftp:'],
  ['http://[', 'unreadable'],
])('a redirect to %s is an error', async (location, message) => {
  const server = await serve((_, response) => void response.writeHead(302, { location }).end())
  const client = makeClient()
  const error = await failureOf(client.repository(server.host, 'app').fetchManifest('1'), 'REGISTRY')
  expect(error.message).toContain(message)
})

test('an upload Location on another origin gets the bytes but no credentials', async () => {
  const memory = memoryRegistry()
  const storage = await serve(memory.handle)
  const registry = await serve(
    guarded(
      (_, response) =>
        void response
          .writeHead(202, {
            location: `${storage.origin.replace('//', '//u:p@')}/v2/upload/session?state=a%2Fb%20c`,
          })
          .end(),
    ),
  )
  await clientFor(registry.host)
    .repository(registry.host, 'app')
    .uploadBlob({ digest, size: blob.length }, async function* () {
      yield blob
    })
  expect(memory.blobs.get(digest)).toEqual(blob)
  expect(storage.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
})

test('a silent peer is given up', async () => {
  const server = await serve(() => {})
  const transport = new Transport({ insecureSkipTlsVerify: [], plainHttp: [], stallTimeoutMs: 50 })
  const error = await failureOf(
    transport.request({ method: 'GET', url: new URL(server.origin), context }),
    'NETWORK',
  )
  expect(error.message).toContain('it stopped answering')
  await transport.close()
})

test('TLS asked of a port without it names --plain-http', async () => {
  const server = await serve(() => {})
  const transport = new Transport({ insecureSkipTlsVerify: [], plainHttp: [] })
  const url = new URL(server.origin.replace('http:', 'https:'))
  const error = await failureOf(transport.request({ method: 'GET', url, context }), 'TLS')
  expect(hintOf(error)).toContain(`--plain-http ${server.host}`)
  await transport.close()
})
