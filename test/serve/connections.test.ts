import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { connect, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { connect as connectTls } from 'node:tls'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { AMD64, image } from '../../fixtures/images/index.ts'
import { bundleOf, draftOf } from '../support/build-bundle.ts'
import { scratch } from '../support/airgap.ts'
import { makeCertificate } from '../support/certificates.ts'
import { selfSigned } from '../support/self-signed.ts'
import { gist, serveFiles, serveImages, writeBundles, type Serving } from './serving.ts'
import { largeImage } from './large-image.ts'

const SOURCE = 'docker.io/team/app:1'
const LARGE = 24 * 1024 * 1024

let folder: Awaited<ReturnType<typeof scratch>>
/** A bundle of one image with a large layer, which all tests serve. */
let file: string
let layer: { digest: string; size: number }
let digest: string

beforeAll(async () => {
  folder = await scratch()
  file = folder.file('large.tar')
  const built = await largeImage(LARGE)
  digest = built.descriptor.digest
  layer = built.layers[0]!.descriptor
  await writeFile(file, bundleOf(await draftOf([{ source: SOURCE, built }])))
  return () => folder[Symbol.asyncDispose]()
})

async function open(serving: Serving, localAddress = '127.0.0.1'): Promise<Socket> {
  const { hostname, port } = new URL(serving.served.url)
  const socket = connect({ host: hostname, port: Number(port), localAddress })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** A server that has had enough may reset a connection. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once('close', () => resolve()))
}

/** Asks for a path, reads the answer's beginning, and no more. */
async function stall(serving: Serving, path: string): Promise<Socket> {
  const socket = await open(serving)
  socket.write(`GET /v2/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await once(socket, 'data')
  socket.pause()
  return socket
}

test('clients that do not read are not read for, and stall nobody else', async () => {
  const serving = await serveFiles([file])
  const { get, log, served } = serving
  const path = `team/app/blobs/${layer.digest}`
  const sockets = await Promise.all(Array.from({ length: 40 }, () => stall(serving, path)))
  expect(served.active()).toBe(40)
  for (let i = 0; i < 50; i++) {
    expect(await gist(await get('team/app/manifests/1'))).toBe(`200 ${digest}`)
  }
  // A whole pull goes through beside them.
  expect((await (await get(path)).arrayBuffer()).byteLength).toBe(layer.size)

  for (const socket of sockets) socket.destroy()
  await expect.poll(() => served.active()).toBe(0)
  const stalled = log.filter(({ error }) => error !== undefined)
  expect(stalled).toHaveLength(40)
  // What the system's own buffers take, and not the blob.
  for (const { bytesSent } of stalled) expect(bytesSent).toBeLessThan(LARGE)
})

test('clients that leave in the middle leave nothing behind', async () => {
  const serving = await serveFiles([file])
  const path = `team/app/blobs/${layer.digest}`
  for (let i = 0; i < 20; i++) (await stall(serving, path)).destroy()
  await expect.poll(() => serving.served.active()).toBe(0)
  expect((await serving.get(path)).status).toBe(200)
})

test('a request that never ends is ended', async () => {
  const serving = await serveFiles([file], { limits: { headers: 50, request: 100, stalled: 60_000 } })
  const slow = await open(serving)
  const answer: Buffer[] = []
  slow.on('data', (chunk: Buffer) => answer.push(chunk))
  // It may be over before the other is open.
  const slowClosed = closed(slow)
  slow.write('GET /v2/ HTTP/1.1\r\nX-Slow: ')
  const silent = await open(serving)
  await Promise.all([slowClosed, closed(silent.resume())])
  expect(Buffer.concat(answer).toString()).toMatch(/^HTTP\/1\.1 408 /)
})

test('a transfer that never goes on is ended', async () => {
  const serving = await serveFiles([file], { limits: { headers: 60_000, request: 60_000, stalled: 2000 } })
  const stalled = await stall(serving, `team/app/blobs/${layer.digest}`)
  expect(serving.served.active()).toBe(1)
  await expect.poll(() => serving.served.active()).toBe(0)
  stalled.destroy()
})

/** Whether a request on it is answered. */
async function answers(socket: Socket): Promise<boolean> {
  socket.resume().write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const ended = closed(socket).then(() => false)
  return Promise.race([
    ended,
    once(socket, 'data').then(([data]) => String(data).startsWith('HTTP/1.1 200 ')),
  ])
}

test('connections that send nothing make room for those that come, and shut nobody out', async () => {
  const built = await image('app', AMD64)
  const files = await writeBundles([{ source: SOURCE, built }])
  const serving = await serveFiles(files, { limits: { connections: 4, perClient: 3 } })
  const other = await open(serving, '127.0.0.2')
  const half = await Promise.all(Array.from({ length: 50 }, () => open(serving)))
  const gone = half.map((socket) => closed(socket.resume()))
  expect(await answers(await open(serving))).toBe(true)
  // A client's share is its own: the other's connection is as old as any.
  expect(await answers(other)).toBe(true)
  await Promise.all(gone.slice(0, 40))
  // Where the whole is full, the one goes that has waited longest, whoever's it is.
  const many = await Promise.all(Array.from({ length: 8 }, (_, i) => open(serving, `127.0.0.${i + 3}`)))
  expect(await answers(many[7]!)).toBe(true)
  for (const socket of many.slice(0, 4)) if (!socket.closed) await closed(socket.resume())
})

test('a transfer under way makes room for nobody', async () => {
  const serving = await serveFiles([file], { limits: { connections: 2, perClient: 2 } })
  const path = `team/app/blobs/${layer.digest}`
  const busy = [await stall(serving, path), await stall(serving, path)]
  const third = await open(serving)
  await closed(third.resume())
  for (const socket of busy) socket.resume()
  await expect.poll(() => serving.log).toHaveLength(2)
  for (const entry of serving.log) expect(entry).toMatchObject({ status: 200, bytesSent: layer.size })
})

test('requests that name another host are refused, so that no page in a browser can read what is here', async () => {
  const built = await image('app', AMD64)
  const files = await writeBundles([{ source: SOURCE, built }])
  const status = async (serving: Serving, host: string): Promise<string> => {
    const socket = await open(serving)
    socket.write(`GET /v2/team/app/manifests/1 HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    const [data] = (await once(socket, 'data')) as [Buffer]
    return data.toString().slice(9, 12)
  }
  const plain = await serveFiles(files)
  for (const host of ['localhost', 'LOCALHOST:5000', '127.0.0.1:5000', '[::1]:9', 'localhost.:80']) {
    expect([host, await status(plain, host)]).toEqual([host, '200'])
  }
  for (const host of ['evil.example', 'evil.example:5000', '10.0.0.5', 'localhost.evil.example', 'x', '']) {
    expect([host, await status(plain, host)]).toEqual([host, '421'])
  }
  const all = await serveFiles(files, {
    listen: { host: '0.0.0.0', port: 0 },
    allowPlainHttp: true,
    advertise: 'registry.internal:5000',
  })
  for (const host of [
    'registry.internal',
    'Registry.internal:443',
    '10.0.0.5:5000',
    '[fd00::1]',
    hostname(),
  ]) {
    expect([host, await status(all, host)]).toEqual([host, '200'])
  }
  expect(await status(all, 'evil.example')).toBe('421')
  const answer = await new Promise<string>((resolve) => {
    void open(plain).then((socket) => {
      socket.once('data', (data: Buffer) => resolve(data.toString()))
      socket.write('GET /v2/ HTTP/1.1\r\nHost: evil.example\r\n\r\n')
    })
  })
  expect(answer).toContain(
    'this registry does not answer to the name \\"evil.example\\"; its operator can allow the name',
  )
})

test('a registry with a certificate goes by the names in it, too', async () => {
  const { key, cert } = makeCertificate({ name: 'x', names: ['registry.internal', '127.0.0.1'] })
  const files = await writeBundles([{ source: SOURCE, built: await image('app', AMD64) }])
  const serving = await serveFiles(files, { tls: { key: Buffer.from(key), cert: Buffer.from(cert) } })
  const status = (host: string) =>
    new Promise((resolve, reject) => {
      const options = { headers: { host }, rejectUnauthorized: false, agent: false as const }
      request(`${serving.served.url}/v2/`, options, (answer) => resolve(answer.resume().statusCode))
        .on('error', reject)
        .end()
    })
  expect([await status('registry.internal:5000'), await status('evil.example')]).toEqual([200, 421])
})

test('of TLS 1.2 what has no forward secrecy is refused', async () => {
  const files = await writeBundles([{ source: SOURCE, built: await image('app', AMD64) }])
  const { key, cert } = selfSigned()
  const serving = await serveFiles(files, { tls: { key: Buffer.from(key), cert: Buffer.from(cert) } })
  const port = Number(new URL(serving.served.url).port)
  const agreed = (ciphers: string): Promise<string> =>
    new Promise((resolve) => {
      const options = { port, ciphers, maxVersion: 'TLSv1.2' as const, rejectUnauthorized: false }
      const socket = connectTls(options, () => {
        resolve(socket.getCipher().name)
        socket.destroy()
      })
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    })
  expect(await agreed('DEFAULT')).toMatch(/^ECDHE-/)
  for (const cipher of ['AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-SHA']) {
    expect(await agreed(cipher)).toMatch(/^ERR_SSL_/)
  }
})

test('what is no HTTP, or a head without end, is refused', async () => {
  const serving = await serveImages([{ source: SOURCE, built: await image('app', AMD64) }])
  for (const [text, status] of [
    ['\u0016\u0003\u0001\u0000garbage\r\n\r\n', 400],
    [`GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(64 * 1024)}\r\n\r\n`, 431],
    [`GET /v2/${'x/'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
  ] as const) {
    const socket = await open(serving)
    socket.write(text)
    const [data] = (await once(socket, 'data')) as [Buffer]
    expect(data.toString().slice(0, 12)).toBe(`HTTP/1.1 ${status}`)
  }
  expect((await serving.get('team/app/tags/list')).status).toBe(200)
})

test('a stop lets the transfer under way finish, takes nobody new, and waits for no idle connection', async () => {
  // Far beyond the test's own time: nothing may wait for it.
  const serving = await serveFiles([file], { limits: { keepAlive: 3_600_000, stalled: 3_600_000 } })
  const idle = await open(serving)
  idle.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(idle, 'data')
  const busy = await stall(serving, `team/app/blobs/${layer.digest}`)
  const stopped = serving.served.stop(3_600_000)
  await closed(idle.resume())
  await expect(serving.get('')).rejects.toThrow()
  await closed(busy.resume())
  await stopped
  expect(serving.log.at(-1)).toMatchObject({ status: 200, bytesSent: layer.size })
  expect(serving.log.at(-1)?.error).toBeUndefined()
})

test('a stop cuts off what is still open when its patience is over', async () => {
  const serving = await serveFiles([file])
  const socket = await stall(serving, `team/app/blobs/${layer.digest}`)
  await serving.served.stop(10)
  await expect.poll(() => serving.served.active()).toBe(0)
  expect(serving.log.at(-1)?.error).toMatch(/./)
  socket.destroy()
})
