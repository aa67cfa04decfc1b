import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import type { RegistryOptions } from '../../../src/registry/client.ts'
import { Transport } from '../../../src/registry/net/transport.ts'
import { routeError } from '../../../src/registry/net/proxy-fault.ts'
import { Routes } from '../../../src/registry/net/routes.ts'
import { makeCertificate } from '../../support/certificates.ts'
import {
  failureOf,
  makeClient,
  memoryRegistry,
  sampleManifest,
  scratch,
  serve,
  type Handler,
} from '../../support/client.ts'

const ca = makeCertificate({ name: 'authority' })
const server = makeCertificate({ name: 'registry', names: ['127.0.0.1', 'localhost'], issuer: ca })
const clients = makeCertificate({ name: 'authority of clients' })
const packer = makeCertificate({ name: 'packer', names: ['packer'], issuer: clients })
const stranger = makeCertificate({ name: 'stranger', names: ['stranger'], issuer: ca })
const TIMEOUTS = { connectMs: 1000, stallMs: 1000 }

function registry(): Handler {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', sampleManifest())
  return memory.handle
}

/** A certs.d folder, by host and file. */
function certsFolder(hosts: Record<string, Record<string, string>>): string {
  const root = scratch()
  for (const [host, files] of Object.entries(hosts)) {
    mkdirSync(join(root, host))
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(root, host, name), content, { mode: 0o600 })
    }
  }
  return root
}

function client(options: RegistryOptions) {
  return makeClient({ plainHttp: [], certsFolders: [], retry: { attempts: 2 }, ...options })
}

const resolve = (our: ReturnType<typeof makeClient>, host: string) =>
  our.repository(host, 'app').resolveManifest('1.0')

test('an authority in certs.d/HOST:PORT is trusted for that host', async () => {
  const first = await serve(registry(), { tls: server })
  const second = await serve(registry(), { tls: server })
  const root = certsFolder({ [first.host]: { 'ca.crt': ca.cert } })
  const our = client({ certsFolders: [root] })
  expect(await resolve(our, first.host)).toBeDefined()
  expect(our.ways).toEqual([{ type: 'way', host: first.host, caFiles: [join(root, first.host, 'ca.crt')] }])
  const error = await failureOf(resolve(our, second.host), 'TLS')
  expect(error.hint).toContain(`/etc/docker/certs.d/${second.host}/ca.crt`)
  expect(error.hint).toContain('Trusted now: the roots of Node.js.')
  // The same machine under another name is another host.
  await failureOf(resolve(our, `localhost:${first.port}`), 'TLS')
})

test('it is not trusted for where that host redirects to', async () => {
  const target = await serve(registry(), { tls: server })
  const first = await serve(
    (seen, response) => void response.writeHead(307, { location: `${target.origin}${seen.url}` }).end(),
    { tls: server },
  )
  const our = client({ certsFolders: [certsFolder({ [first.host]: { 'ca.crt': ca.cert } })] })
  const error = await failureOf(resolve(our, first.host), 'TLS')
  expect(error.message).toContain(target.host)
  expect(target.seen).toEqual([])
})

test('--insecure-skip-tls-verify is not for where that host redirects to, either', async () => {
  const target = await serve(registry(), { tls: server })
  const first = await serve(
    (seen, response) => void response.writeHead(307, { location: `${target.origin}${seen.url}` }).end(),
    { tls: server },
  )
  const our = client({ insecureSkipTlsVerify: [first.host] })
  await failureOf(resolve(our, first.host), 'TLS')
  expect(our.notices).toEqual([{ type: 'insecure', registry: first.host, how: 'unverified' }])
})

test('SSL_CERT_FILE adds to what is trusted, and is named when it is of no use', async () => {
  const first = await serve(registry(), { tls: server })
  const file = join(scratch(), 'roots.pem')
  writeFileSync(file, clients.cert + ca.cert)
  expect(await resolve(client({ env: { SSL_CERT_FILE: file } }), first.host)).toBeDefined()
  const error = await failureOf(resolve(client({ env: { SSL_CERT_FILE: '/nowhere' } }), first.host), 'FILE')
  expect(error.message).toBe(
    'cannot read the CA file /nowhere (SSL_CERT_FILE): there is no such file or folder',
  )
  const plain = await serve(registry())
  expect(await resolve(client({ env: { SSL_CERT_FILE: '/nowhere' } }), plain.host)).toBeDefined()
})

const issuing = makeCertificate({ name: 'issuing authority', issuer: ca })
const issued = makeCertificate({ name: 'registry', names: ['127.0.0.1'], issuer: issuing })

test.each([
  ['--ca-file', (file: string) => ({ caFile: file })],
  ['SSL_CERT_FILE', (file: string) => ({ env: { SSL_CERT_FILE: file } })],
  [
    'certs.d',
    (file: string, host: string) => ({ certsFolders: [certsFolder({ [host]: { 'ca.crt': file } })] }),
  ],
  ['a program', (_: string, host: string) => ({ hostTls: { [host]: { ca: [issuing.cert] } } })],
])('an issuing authority alone is trusted: %s', async (how, given) => {
  const first = await serve(registry(), { tls: { ...issued, cert: issued.cert + issuing.cert } })
  const file = join(scratch(), 'issuing.pem')
  writeFileSync(file, issuing.cert)
  const our = client(given(how === 'certs.d' ? issuing.cert : file, first.host))
  expect(await resolve(our, first.host)).toBeDefined()
  // Nothing beside it is trusted with it.
  const second = await serve(registry(), { tls: server })
  await failureOf(resolve(our, second.host), 'TLS')
})

test('a certificate is for its subjectAltNames, and for nothing else', async () => {
  const names = (...list: string[]) =>
    serve(registry(), { tls: makeCertificate({ name: 'localhost', issuer: ca, names: list }) })
  const our = client({ hostTls: { localhost: { ca: [ca.cert] } } })
  const right = await names('localhost')
  expect(await resolve(our, `localhost:${right.port}`)).toBeDefined()
  for (const other of ['*host', 'local*', 'registry.example']) {
    const wrong = await names(other)
    const error = await failureOf(resolve(our, `localhost:${wrong.port}`), 'TLS')
    expect(error.message).toContain(`is for another name: it holds "${other}"`)
  }
  // As every node would, see Go's crypto/x509.
  const old = await serve(registry(), { tls: makeCertificate({ name: 'localhost', issuer: ca }) })
  const error = await failureOf(resolve(our, `localhost:${old.port}`), 'TLS')
  expect(error.message).toContain(
    'its certificate has no subjectAltName, only the common name "localhost" (ERR_TLS_CERT_ALTNAME_INVALID)',
  )
  expect(error.hint).toContain('have one issued with localhost as a subjectAltName')
  expect(old.seen).toEqual([])
})

/** A registry that wants a client certificate by `clients`; tells whose it got. */
async function strict(): Promise<{ host: string; origin: string; names: string[] }> {
  const names: string[] = []
  const handle = registry()
  const https = createServer(
    { cert: server.cert, key: server.key, ca: clients.cert, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      const { subject } = (request.socket as TLSSocket).getPeerCertificate()
      names.push(String(subject.CN))
      const { url = '/', method = '', headers } = request
      const { pathname: path, searchParams: query } = new URL(url, 'http://x')
      void handle({ method, url, path, query, headers, body: Buffer.alloc(0) }, response, request)
    },
  )
  https.listen(0, '127.0.0.1')
  await once(https, 'listening')
  onTestFinished(() => {
    https.closeAllConnections()
    https.close()
  })
  const host = `127.0.0.1:${(https.address() as AddressInfo).port}`
  return { host, origin: `https://${host}`, names }
}

const pair = { 'client.cert': packer.cert, 'client.key': packer.key }

test('a client certificate is shown to its host', async () => {
  const first = await strict()
  const root = certsFolder({ [first.host]: { 'ca.crt': ca.cert, ...pair } })
  const our = client({ certsFolders: [root] })
  expect(await resolve(our, first.host)).toBeDefined()
  expect(first.names).toEqual(['packer'])
  expect(our.ways).toMatchObject([{ clientCertificate: join(root, first.host, 'client.cert') }])
})

test('a client certificate is shown to no other host, not even along a redirect', async () => {
  const target = await strict()
  const shown: unknown[] = []
  const loose = createServer(
    { ...server, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      shown.push((request.socket as TLSSocket).getPeerCertificate().subject?.CN)
      response.writeHead(307, { location: `${target.origin}${request.url}` }).end()
    },
  ).listen(0, '127.0.0.1')
  await once(loose, 'listening')
  onTestFinished(() => void loose.close())
  const host = `127.0.0.1:${(loose.address() as AddressInfo).port}`
  const caFile = join(scratch(), 'ca.pem')
  writeFileSync(caFile, ca.cert)
  const our = client({ caFile, certsFolders: [certsFolder({ [host]: pair })] })
  const error = await failureOf(resolve(our, host), 'NETWORK')
  expect(error.message).toContain(target.host)
  expect(shown).toContain('packer')
  expect(target.names).toEqual([])
})

/** What a server says that looks at client certificates before it answers. */
const ALERTS = [
  'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE',
  'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED',
]

test.each(ALERTS)('%s: a client certificate is missing, or not accepted', async (code) => {
  const root = certsFolder({ 'with.example': pair })
  const routes = new Routes({ certsFolders: [root] }, TIMEOUTS)
  onTestFinished(() => routes.close())
  const meaning = async (host: string) => {
    const url = new URL(`https://${host}`)
    const context = { registry: host, operation: 'look' }
    return routeError(
      Object.assign(new Error('x'), { code }),
      await routes.to(url),
      url,
      context,
      undefined,
      {},
    )
  }
  const missing = await meaning('without.example')
  expect(missing.message).toBe(
    `cannot look: without.example: it wants a client certificate, and got none that it accepts (${code})`,
  )
  expect(missing.hint).toContain('/etc/docker/certs.d/without.example/client.cert')
  const refused = await meaning('with.example')
  expect(refused.message).toBe(
    `cannot look: with.example does not accept the client certificate ${join(root, 'with.example', 'client.cert')}`,
  )
})

test('files that are of no use are told when their host is contacted, and only then', async () => {
  const first = await serve(registry(), { tls: server })
  const root = certsFolder({ [first.host]: { 'ca.crt': 'hello' }, 'other.example': { 'ca.crt': 'hello' } })
  const plain = await serve(registry())
  const our = client({ certsFolders: [root] })
  expect(await resolve(our, plain.host)).toBeDefined()
  expect((await failureOf(resolve(our, first.host), 'FILE')).message).toContain(join(first.host, 'ca.crt'))
  // Mended in the meantime, it works.
  writeFileSync(join(root, first.host, 'ca.crt'), ca.cert)
  expect(await resolve(our, first.host)).toBeDefined()
})

test('TLS with single hosts, given by a program', async () => {
  const first = await strict()
  const hostTls = { [first.host]: { ca: [ca.cert], cert: packer.cert, key: packer.key } }
  expect(await resolve(client({ hostTls }), first.host)).toBeDefined()
  const any = { '127.0.0.1': { skipVerify: true }, [first.host]: hostTls[first.host] ?? {} }
  const our = client({ hostTls: any })
  expect(await resolve(our, first.host)).toBeDefined()
  expect(our.notices).toEqual([])
  const second = await serve(registry(), { tls: server })
  expect(await resolve(our, second.host)).toBeDefined()
  expect(our.notices).toEqual([{ type: 'insecure', registry: second.host, how: 'unverified' }])
  const wrong = { [first.host]: { cert: packer.cert, key: stranger.key } }
  await failureOf(resolve(client({ hostTls: wrong }), first.host), 'FILE')
})

test('hosts with the same trust share connections’ settings, others do not', async () => {
  const root = certsFolder({
    'a.example': { 'ca.crt': ca.cert },
    'b.example': { 'ca.crt': ca.cert },
    'c.example': { 'ca.crt': clients.cert },
    'd.example': pair,
  })
  const routes = new Routes({ certsFolders: [root], insecureSkipTlsVerify: ['x.example'] }, TIMEOUTS)
  onTestFinished(() => routes.close())
  const to = (host: string) => routes.to(new URL(`https://${host}.example`))
  const [a, b, c, d, e, f, x] = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f', 'x'].map(to))
  expect(a?.dispatcher).toBe(b?.dispatcher)
  expect(a?.trust.secureContext).toBe(b?.trust.secureContext)
  expect(e?.dispatcher).toBe(f?.dispatcher)
  expect(e?.trust.secureContext).toBeUndefined()
  expect(new Set([a, c, d, e, x].map((way) => way?.dispatcher)).size).toBe(5)
})

test('plain HTTP that was allowed is said once, and not for this machine', async () => {
  const routes: unknown[] = []
  const our = new Routes(
    { plainHttp: ['plain.example', '127.0.0.1'], certsFolders: [], onNotice: (n) => routes.push(n) },
    TIMEOUTS,
  )
  onTestFinished(() => our.close())
  for (const url of [
    'http://plain.example/a',
    'http://plain.example/b',
    'http://127.0.0.1:1',
    'http://x.example',
  ]) {
    await our.to(new URL(url))
  }
  expect(routes.filter((notice) => (notice as { type: string }).type === 'insecure')).toEqual([
    { type: 'insecure', registry: 'plain.example', how: 'plain-http' },
  ])
})

test('a body that cannot be sent is let go', async () => {
  const root = certsFolder({ 'r.example': { 'ca.crt': 'hello' } })
  const transport = new Transport({ certsFolders: [root] })
  onTestFinished(() => transport.close())
  const body = Readable.from([Buffer.from('x')])
  const context = { registry: 'r.example', operation: 'look' }
  const url = new URL('https://r.example')
  await failureOf(transport.request({ method: 'PUT', url, context, body }), 'FILE')
  expect(body.destroyed).toBe(true)
})
