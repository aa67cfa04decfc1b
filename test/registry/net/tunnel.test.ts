import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RegistryOptions } from '../../../src/registry/client.ts'
import { makeCertificate } from '../../support/certificates.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import {
  basicEntry,
  authFileWith,
  failureOf,
  json,
  makeClient,
  memoryRegistry,
  sampleBytes,
  sampleManifest,
  scratch,
  serve,
  type Handler,
} from '../../support/client.ts'
import { startForwardProxy } from '../../support/forward-proxy.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

const ca = makeCertificate({ name: 'test authority' })
const proxyCertificate = makeCertificate({ name: 'proxy', names: ['127.0.0.1', 'localhost'], issuer: ca })
const registryCertificate = makeCertificate({
  name: 'registry',
  names: ['registry.example', 'storage.example', 'auth.example', '127.0.0.1'],
  issuer: ca,
})

function caFile(): string {
  const path = join(scratch(), 'ca.pem')
  writeFileSync(path, ca.cert)
  return path
}

function registry(): Handler {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', sampleManifest())
  return memory.handle
}

/** A client that is told of proxies by its environment, as users do it. */
function client(env: Record<string, string>, options: RegistryOptions = {}) {
  return makeClient({
    plainHttp: [],
    certsFolders: [],
    caFile: caFile(),
    retry: { attempts: 2 },
    env,
    ...options,
  })
}

test('a tunnel through a proxy to a host that only the proxy knows', async () => {
  const server = await serve(registry(), { tls: registryCertificate })
  const proxy = await startForwardProxy({
    hosts: { 'registry.example:5000': server.port },
    credentials: 'me:p@ss word',
  })
  const our = client({ HTTPS_PROXY: `http://me:p%40ss%20word@127.0.0.1:${proxy.port}` })
  const repository = our.repository('registry.example:5000', 'app')
  const { mediaType } = sampleManifest()
  for (let i = 0; i < 8; i++) expect(await repository.fetchManifest('1.0')).toMatchObject({ mediaType })
  // Tunnels are used again.
  expect(proxy.lines.length).toBeLessThan(8)
  expect(new Set(proxy.lines)).toEqual(new Set(['CONNECT registry.example:5000']))
  expect(proxy.headers[0]?.['proxy-authorization']).toBeDefined()
  expect(server.seen.filter(({ headers }) => 'proxy-authorization' in headers)).toEqual([])
  expect(our.ways).toMatchObject([
    { host: 'registry.example:5000', proxy: `127.0.0.1:${proxy.port}`, proxyFrom: 'HTTPS_PROXY' },
  ])
  expect(JSON.stringify([our.ways, our.notices])).not.toContain('p@ss')
})

test('a proxy that is spoken to in TLS, by a private authority', async () => {
  const server = await serve(registry(), { tls: registryCertificate })
  const proxy = await startForwardProxy({
    tls: proxyCertificate,
    hosts: { 'registry.example:443': server.port },
  })
  for (const name of ['127.0.0.1', 'localhost']) {
    const our = client({ HTTPS_PROXY: `https://${name}:${proxy.port}` })
    expect(await our.repository('registry.example', 'app').resolveManifest('1.0')).toBeDefined()
  }
  const without = client({ HTTPS_PROXY: `https://localhost:${proxy.port}` }, { caFile: undefined })
  const error = await failureOf(without.repository('registry.example', 'app').resolveManifest('1.0'), 'TLS')
  expect(error.message).toBe(
    `cannot resolve registry.example/app:1.0: the proxy localhost:${proxy.port} from HTTPS_PROXY (for registry.example): its certificate is signed by an authority that is not trusted here (UNABLE_TO_VERIFY_LEAF_SIGNATURE)`,
  )
  expect(hintOf(error)).toContain('--ca-file')
})

test('plain HTTP is forwarded, by a plain proxy and by one in TLS', async () => {
  const server = await serve(registry())
  const hosts = { 'registry.example:5000': server.port }
  for (const tls of [undefined, proxyCertificate]) {
    const proxy = await startForwardProxy({ hosts, credentials: 'me:secret', ...(tls && { tls }) })
    const our = client(
      { http_proxy: `${tls ? 'https' : 'http'}://me:secret@127.0.0.1:${proxy.port}` },
      { plainHttp: ['registry.example:5000'] },
    )
    const repository = our.repository('registry.example:5000', 'app')
    expect(await repository.resolveManifest('1.0')).toBeDefined()
    const bytes = sampleBytes(100_000)
    await repository.uploadBlob({ digest: digestOf(bytes), size: bytes.length }, async function* () {
      yield bytes
    })
    expect(proxy.lines.slice(0, 1)).toEqual(['HEAD http://registry.example:5000/v2/app/manifests/1.0'])
    expect(server.seen.at(0)?.headers.host).toBe('registry.example:5000')
  }
  expect(server.seen.filter(({ headers }) => 'proxy-authorization' in headers)).toEqual([])
})

test('every hop goes its own way: realm, redirect, and what NO_PROXY names', async () => {
  const bytes = sampleBytes(1000)
  const digest = digestOf(bytes)
  const token: Handler = (_, response) => json(response, 200, { token: 'abc' })
  const auth = await serve(token, { tls: registryCertificate })
  const storage = await serve((_, response) => void response.end(bytes), { tls: registryCertificate })
  const server = await serve(
    (seen, response) => {
      if (seen.headers.authorization === 'Bearer abc') {
        return void response
          .writeHead(307, { location: `https://storage.example:${storage.port}/blob` })
          .end()
      }
      const realm = `Bearer realm="https://auth.example/token",service="r"`
      response.writeHead(401, { 'www-authenticate': realm }).end()
    },
    { tls: registryCertificate },
  )
  const hosts = { 'auth.example': auth.port, 'storage.example': storage.port }
  const proxy = await startForwardProxy({ hosts, credentials: 'me:secret' })
  // The registry itself stands on this machine, and has no proxy.
  const our = client(
    { HTTPS_PROXY: `http://me:secret@127.0.0.1:${proxy.port}` },
    { authFile: authFileWith({ auths: { [server.host]: basicEntry('u', 'registry password') } }) },
  )
  const stream = await our.repository(server.host, 'app').openBlob(digest, 0)
  const chunks: Uint8Array[] = []
  for await (const chunk of stream.body) chunks.push(chunk)
  expect(Buffer.concat(chunks)).toEqual(bytes)
  expect(proxy.lines).toEqual(['CONNECT auth.example:443', `CONNECT storage.example:${storage.port}`])
  expect(auth.seen[0]?.headers.authorization).toMatch(/^Basic /)
  expect(storage.seen[0]?.headers.authorization).toBeUndefined()
  const direct = client({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`, NO_PROXY: 'nowhere.invalid' })
  const error = await failureOf(direct.repository('nowhere.invalid', 'app').resolveManifest('1.0'), 'NETWORK')
  expect(hintOf(error)).toContain('NO_PROXY')
  expect(proxy.lines).toHaveLength(2)
})

test.each([
  [407, undefined, '', 'CREDENTIALS', /wants a user name and a password \(407\)/, /USER:PASSWORD@127/],
  [407, undefined, 'me:hunter2@', 'CREDENTIALS', /does not accept the user name/, /HTTPS_PROXY; special/],
  [407, 'Negotiate, NTLM', 'me:hunter2@', 'CREDENTIALS', /by negotiate or ntlm/, /local proxy/],
  [407, 'NTLM, Basic realm="a, b"', '', 'CREDENTIALS', /wants a user name/, /USER:PASSWORD@/],
  [401, undefined, 'me:hunter2@', 'CREDENTIALS', /does not accept the user name/, /HTTPS_PROXY; special/],
  [
    403,
    undefined,
    '',
    'NETWORK',
    /does not connect to registry.example: it answers 403/,
    /allowed in the proxy/,
  ],
  [405, undefined, '', 'NETWORK', /it answers 405/, /forward proxy/],
  [503, undefined, '', 'NETWORK', /it answers 503/, /may not know or reach registry.example/],
] as const)(
  'a proxy that answers CONNECT with %i (%s) to "%s"',
  async (status, challenge, user, code, message, hint) => {
    const proxy = await startForwardProxy({ status, ...(challenge === undefined ? {} : { challenge }) })
    const our = client({ HTTPS_PROXY: `http://${user}127.0.0.1:${proxy.port}` })
    const error = await failureOf(our.repository('registry.example', 'app').resolveManifest('1.0'), code)
    expect(error.message).toMatch(message)
    expect(error.message).toContain(`the proxy 127.0.0.1:${proxy.port} from HTTPS_PROXY`)
    expect(hintOf(error)).toMatch(hint)
    expect(`${error.message} ${hintOf(error)} ${JSON.stringify(our.notices)}`).not.toContain('hunter2')
    // What may pass by itself is tried again.
    expect(proxy.lines).toHaveLength(status === 503 ? 2 : 1)
  },
)

test('a proxy that wants a password for plain HTTP, too', async () => {
  const proxy = await startForwardProxy({ credentials: 'me:secret' })
  const our = client({ HTTP_PROXY: `http://127.0.0.1:${proxy.port}` }, { plainHttp: ['registry.example'] })
  const error = await failureOf(
    our.repository('registry.example', 'app').resolveManifest('1.0'),
    'CREDENTIALS',
  )
  expect(error.message).toContain('wants a user name and a password (407)')
})

test.each([
  ['http://127.0.0.1:1', 'NETWORK', /the proxy 127.0.0.1:1 from HTTPS_PROXY.*connection refused/],
  [
    'http://proxy.invalid:3128',
    'NETWORK',
    /the proxy proxy.invalid:3128 from HTTPS_PROXY.*host name is not known/,
  ],
] as const)('the proxy %s cannot be reached', async (url, code, message) => {
  const error = await failureOf(
    client({ HTTPS_PROXY: url }).repository('registry.example', 'app').resolveManifest('1.0'),
    code,
  )
  expect(error.message).toMatch(message)
})

test('the proxy for plain HTTP cannot be reached', async () => {
  const our = client({ HTTP_PROXY: 'http://127.0.0.1:1' }, { plainHttp: ['registry.example'] })
  const error = await failureOf(our.repository('registry.example', 'app').resolveManifest('1.0'), 'NETWORK')
  expect(error.message).toMatch(/the proxy 127\.0\.0\.1:1 from HTTP_PROXY .*connection refused/)
})

test('a proxy that speaks no TLS though https:// is said, and one for another name', async () => {
  const plain = await startForwardProxy()
  const tls = makeCertificate({ name: 'other', names: ['other.example'], issuer: ca })
  const other = await startForwardProxy({ tls })
  const attempt = (port: number) =>
    client({ HTTPS_PROXY: `https://localhost:${port}` })
      .repository('registry.example', 'app')
      .resolveManifest('1.0')
  const noTls = await failureOf(attempt(plain.port), 'TLS')
  expect(hintOf(noTls)).toContain('HTTPS_PROXY should begin with http://')
  const wrongName = await failureOf(attempt(other.port), 'TLS')
  expect(wrongName.message).toMatch(/the proxy localhost:\d+ .*for another name: it holds "other\.example"/)
})

test('a silent proxy is given up, and so is a run that is called off while it waits', async () => {
  const proxy = await startForwardProxy({ status: 0 })
  const { Transport } = await import('../../../src/registry/net/transport.ts')
  const proxies = { https: `http://127.0.0.1:${proxy.port}` }
  const context = { registry: 'r.example', operation: 'look' }
  const impatient = new Transport({ proxies, stallTimeoutMs: 50 })
  const url = new URL('https://r.example/v2/')
  const error = await failureOf(impatient.request({ method: 'GET', url, context }), 'NETWORK')
  expect(error.message).toContain(`the proxy 127.0.0.1:${proxy.port} from the option proxies.https`)
  await impatient.close()
  const patient = new Transport({ proxies, insecureSkipTlsVerify: ['later.example'] })
  const waiting = patient.request({ method: 'GET', url, context })
  const outcome = failureOf(waiting, 'INTERRUPTED')
  while (proxy.lines.length < 2) await new Promise((resolve) => setImmediate(resolve))
  await patient.close()
  await outcome
  await failureOf(
    patient.request({ method: 'GET', url: new URL('https://later.example'), context }),
    'INTERRUPTED',
  )
})

test('a failure of the host behind the proxy is the host’s', async () => {
  const tls = makeCertificate({ name: 'other', names: ['other.example'], issuer: ca })
  const server = await serve(registry(), { tls })
  const proxy = await startForwardProxy({ hosts: { 'registry.example': server.port } })
  const our = client({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })
  const error = await failureOf(our.repository('registry.example', 'app').resolveManifest('1.0'), 'TLS')
  expect(error.message).toMatch(/: registry\.example: its certificate is for another name/)
})

test('loopback goes direct, unless it is asked for', async () => {
  const server = await serve(registry(), { tls: registryCertificate })
  const proxy = await startForwardProxy()
  const env = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` }
  expect(await client(env).repository(server.host, 'app').resolveManifest('1.0')).toBeDefined()
  expect(proxy.lines).toEqual([])
  // Nothing listens there but behind the proxy.
  const other = await startForwardProxy({ hosts: { '127.0.0.1:1': server.port } })
  const asked = client({ HTTPS_PROXY: `http://127.0.0.1:${other.port}`, AIRGAP_PROXY_LOOPBACK: '1' })
  expect(await asked.repository('127.0.0.1:1', 'app').resolveManifest('1.0')).toBeDefined()
  expect(other.lines).toEqual(['CONNECT 127.0.0.1:1'])
})

test('a private token realm is refused behind a proxy, too', async () => {
  const server = await serve(
    (_, response) =>
      void response
        .writeHead(401, { 'www-authenticate': 'Bearer realm="https://10.1.2.3/t",service="r"' })
        .end(),
    { tls: registryCertificate },
  )
  const proxy = await startForwardProxy({ hosts: { 'registry.example': server.port } })
  const our = client({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })
  const error = await failureOf(
    our.repository('registry.example', 'app').resolveManifest('1.0'),
    'CREDENTIALS',
  )
  expect(error.message).toContain('inside a private network')
  expect(proxy.lines).toEqual(['CONNECT registry.example:443'])
})
