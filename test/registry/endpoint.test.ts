import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { Endpoints, speaksTls } from '../../src/registry/endpoint.ts'
import { authorityOf, isListed, isLoopbackHost, isPrivateAddress } from '../../src/registry/net/hosts.ts'
import { makeCertificate } from '../support/certificates.ts'
import { failureOf, makeClient, memoryRegistry, sampleManifest, scratch, serve } from '../support/client.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const ca = makeCertificate({ name: 'test authority' })
const own = makeCertificate({ name: 'registry', names: ['127.0.0.1', 'localhost'], issuer: ca })
const expired = makeCertificate({
  name: 'old',
  names: ['127.0.0.1'],
  issuer: ca,
  notAfter: new Date(Date.now() - 1000),
})
const other = makeCertificate({ name: 'other', names: ['registry.example'], issuer: ca })

function caFile(): string {
  const path = join(scratch(), 'ca.pem')
  writeFileSync(path, `Issued for tests\n${ca.cert}`)
  return path
}

function registry() {
  const memory = memoryRegistry()
  memory.manifests.set('1.0', sampleManifest())
  return memory
}

/** A TCP server that does `act` to each connection. */
async function tcp(act: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    act(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

function endpoints(options: { plainHttp?: string[]; tls?: boolean } = {}) {
  const found = new Endpoints({
    plainHttp: options.plainHttp ?? [],
    probe: async () => options.tls ?? true,
  })
  return { url: async (name: string) => (await found.resolve(name)).url.origin }
}

test('Docker Hub is spoken to at registry-1.docker.io', () => {
  expect(['docker.io', 'index.docker.io', 'Quay.IO', 'localhost:5000'].map(authorityOf)).toEqual([
    'registry-1.docker.io',
    'registry-1.docker.io',
    'quay.io',
    'localhost:5000',
  ])
})

test('HTTPS everywhere but where plain HTTP was allowed, and on loopback without TLS', async () => {
  const { url } = endpoints({ plainHttp: ['plain.example', 'some.example:5000'], tls: false })
  expect(await url('quay.io')).toBe('https://quay.io')
  expect(await url('10.0.0.1:5000')).toBe('https://10.0.0.1:5000')
  expect(await url('localhost.example')).toBe('https://localhost.example')
  expect(await url('plain.example:8080')).toBe('http://plain.example:8080')
  expect(await url('some.example:5000')).toBe('http://some.example:5000')
  expect(await url('some.example:5001')).toBe('https://some.example:5001')
  expect(await url('localhost:5000')).toBe('http://localhost:5000')
  expect(await url('[::1]:5000')).toBe('http://[::1]:5000')
  expect(await url('127.8.9.1:5000')).toBe('http://127.8.9.1:5000')
})

test('a loopback host that speaks TLS is spoken to in TLS', async () => {
  expect(await endpoints({ tls: true }).url('localhost:5000')).toBe('https://localhost:5000')
})

test('what is loopback, what is private, what is listed', () => {
  expect(['localhost', '127.0.0.1', '127.255.0.9', '[::1]', '::1'].every(isLoopbackHost)).toBe(true)
  expect(
    ['localhost.example', '128.0.0.1', '[::2]', '10.0.0.1', '127.0.0.1.example'].some(isLoopbackHost),
  ).toBe(false)
  expect(
    [
      '10.1.2.3',
      '172.31.0.1',
      '192.168.1.1',
      '169.254.169.254',
      '127.0.0.1',
      '::1',
      'fd00::1',
      'fe80::1',
      '::ffff:10.0.0.1',
    ].filter((address) => !isPrivateAddress(address)),
  ).toEqual([])
  expect(['8.8.8.8', '172.32.0.1', '2606:4700::1', 'registry.example'].some(isPrivateAddress)).toBe(false)
  const url = new URL('https://r.example/x')
  expect([
    isListed(['R.example'], url),
    isListed(['r.example:443'], url),
    isListed(['r.example:80'], url),
  ]).toEqual([true, true, false])
})

test('the probe tells TLS from what is not', async () => {
  const secure = await serve(() => {}, { tls: other })
  const plain = await serve(() => {})
  const hangsUp = await tcp((socket) => void socket.once('data', () => socket.end()))
  const refuses = createTlsServer({}).listen(0, '127.0.0.1')
  await once(refuses, 'listening')
  onTestFinished(() => void refuses.close())
  const talksFirst = await tcp((socket) => void socket.write(`220 ${'mail '.repeat(30)}\r\n`))
  expect(await speaksTls('127.0.0.1', secure.port)).toBe(true)
  // It has no certificate, so all it can answer is a TLS alert.
  expect(await speaksTls('127.0.0.1', (refuses.address() as AddressInfo).port)).toBe(true)
  expect(await speaksTls('127.0.0.1', plain.port)).toBe(false)
  expect(await speaksTls('127.0.0.1', hangsUp)).toBe(false)
  expect(await speaksTls('127.0.0.1', talksFirst)).toBe(false)
})

test('the probe does not wait for ever, and nobody there is not "no TLS"', async () => {
  const silent = await tcp(() => {})
  await expect(speaksTls('127.0.0.1', silent, 50)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  const client = makeClient({ plainHttp: [] })
  const error = await failureOf(client.repository('127.0.0.1:1', 'app').resolveManifest('1.0'), 'NETWORK')
  expect(error.message).toBe(
    'cannot resolve 127.0.0.1:1/app:1.0: 127.0.0.1:1: nothing listens there (connection refused, ECONNREFUSED)',
  )
  expect(client.notices).toMatchObject([{ type: 'held', status: undefined }])
})

test('plain HTTP on a loopback host works by itself', async () => {
  const server = await serve(registry().handle)
  const client = makeClient({ plainHttp: [] })
  expect(await client.repository(server.host, 'app').resolveManifest('1.0')).toMatchObject({
    digest: sampleManifest().digest,
  })
  expect(client.notices).toEqual([])
})

test('a private authority is trusted with --ca-file', async () => {
  const server = await serve(registry().handle, { tls: own })
  const client = makeClient({ plainHttp: [], caFile: caFile() })
  expect(await client.repository(server.host, 'app').resolveManifest('1.0')).toMatchObject({
    digest: sampleManifest().digest,
  })
})

test.each([
  ['an unknown authority', own, false, /authority that is not trusted here/, /--ca-file/],
  ['an expired certificate', expired, true, /has expired/, /renewed/],
  ['another name', other, true, /for another name: it holds "registry\.example"/, /name/],
])('%s is an error, told once, and never leads to plain HTTP', async (_, tls, withCa, message, hint) => {
  const server = await serve(registry().handle, { tls })
  const client = makeClient({ plainHttp: [], ...(withCa ? { caFile: caFile() } : {}) })
  const error = await failureOf(client.repository(server.host, 'app').resolveManifest('1.0'), 'TLS')
  expect(error.message).toMatch(message)
  expect(hintOf(error)).toMatch(hint)
  expect(server.seen).toEqual([])
  expect(client.notices).toEqual([])
})

test('a certificate is not checked where that was asked for, and it is said', async () => {
  const server = await serve(registry().handle, { tls: expired })
  const client = makeClient({ plainHttp: [], insecureSkipTlsVerify: [server.host] })
  const repository = client.repository(server.host, 'app')
  expect(await repository.resolveManifest('1.0')).toBeDefined()
  expect(await repository.resolveManifest('1.0')).toBeDefined()
  expect(client.notices).toEqual([{ type: 'insecure', registry: server.host, how: 'unverified' }])
})

test('--insecure-skip-tls-verify is for the host named only', async () => {
  const server = await serve(registry().handle, { tls: own })
  const client = makeClient({ plainHttp: [], insecureSkipTlsVerify: ['127.0.0.1:1', 'localhost'] })
  await failureOf(client.repository(server.host, 'app').resolveManifest('1.0'), 'TLS')
})

test('a CA file that is none is refused before anything is sent', async () => {
  const folder = scratch()
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const cases: [string, RegExp][] = [
    [join(folder, 'absent.pem'), /cannot read the CA file .*absent\.pem: there is no such file/],
    [folder, /that is a folder/],
    [file('text.pem', 'hello'), /holds no PEM certificate/],
    [
      file('bad.pem', `${ca.cert}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`),
      /certificate 2 is damaged/,
    ],
  ]
  for (const [path, message] of cases) {
    expect((await failureOf(() => makeClient({ caFile: path }), 'FILE')).message).toMatch(message)
  }
})

test('a host that may be insecure is spoken to by TLS if it speaks TLS, and otherwise in plain HTTP', async () => {
  const at = (probe: () => Promise<boolean>) =>
    new Endpoints({
      plainHttp: [],
      insecure: ['m.example:5000', 'm.example:443'],
      probe,
    })
  const refuse = async (): Promise<boolean> => {
    throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  }
  expect((await at(async () => true).resolve('m.example:5000')).url.origin).toBe('https://m.example:5000')
  expect(await at(async () => false).resolve('m.example:5000')).toMatchObject({
    url: new URL('http://m.example:5000'),
    plainAllowed: true,
  })
  // Without a port the two are at different ones.
  expect((await at(refuse).resolve('m.example')).url.origin).toBe('http://m.example')
  await expect(at(refuse).resolve('m.example:5000')).rejects.toThrow('refused')
  expect((await at(async () => false).resolve('other.example')).url.origin).toBe('https://other.example')
})
