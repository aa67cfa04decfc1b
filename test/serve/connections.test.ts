import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { AMD64, image } from '../../fixtures/images/index.ts'
import { gist, serveFiles, serveImages, writeBundles, type Serving } from './serving.ts'
import { largeImage } from './large-image.ts'

const SOURCE = 'docker.io/team/app:1'
const LARGE = 24 * 1024 * 1024

async function open(serving: Serving): Promise<Socket> {
  const { hostname, port } = new URL(serving.served.url)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Asks for a path, reads the answer's beginning, and no more. */
async function stall(serving: Serving, path: string): Promise<Socket> {
  const socket = await open(serving)
  socket.write(`GET /v2/${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(socket, 'data')
  socket.pause()
  return socket
}

test('clients that do not read are not read for, and stall nobody else', async () => {
  const built = await largeImage(LARGE)
  const serving = await serveImages([{ source: SOURCE, built }])
  const { get, log, served } = serving
  const path = `team/app/blobs/${built.layers[0]?.descriptor.digest}`
  const sockets = await Promise.all(Array.from({ length: 40 }, () => stall(serving, path)))
  expect(served.active()).toBe(40)
  for (let i = 0; i < 50; i++) {
    expect(await gist(await get('team/app/manifests/1'))).toBe(`200 ${built.descriptor.digest}`)
  }
  // A whole pull goes through beside them.
  expect((await (await get(path)).arrayBuffer()).byteLength).toBe(built.layers[0]?.bytes.length)

  for (const socket of sockets) socket.destroy()
  await expect.poll(() => served.active()).toBe(0)
  const stalled = log.filter(({ error }) => error !== undefined)
  expect(stalled).toHaveLength(40)
  // What the system's own buffers take, and not the blob.
  for (const { bytesSent } of stalled) expect(bytesSent).toBeLessThan(LARGE)
})

test('clients that leave in the middle leave nothing behind', async () => {
  const built = await largeImage(LARGE)
  const serving = await serveImages([{ source: SOURCE, built }])
  const path = `team/app/blobs/${built.layers[0]?.descriptor.digest}`
  for (let i = 0; i < 20; i++) (await stall(serving, path)).destroy()
  await expect.poll(() => serving.served.active()).toBe(0)
  expect((await serving.get(path)).status).toBe(200)
})

test('a request that never ends, and a transfer that never goes on, are ended', async () => {
  const built = await largeImage(LARGE)
  const files = await writeBundles([{ source: SOURCE, built }])
  const serving = await serveFiles(files, { limits: { headers: 50, request: 100, stalled: 200 } })
  const slow = await open(serving)
  slow.write('GET /v2/ HTTP/1.1\r\nX-Slow: ')
  const answer: Buffer[] = []
  slow.on('data', (chunk: Buffer) => answer.push(chunk))
  // It may be over before the others are open.
  const slowClosed = once(slow, 'close')
  const silent = await open(serving)
  const stalled = await stall(serving, `team/app/blobs/${built.layers[0]?.descriptor.digest}`)
  await Promise.all([slowClosed, once(silent.resume(), 'close')])
  expect(Buffer.concat(answer).toString()).toMatch(/^HTTP\/1\.1 408 /)
  await expect.poll(() => serving.served.active()).toBe(0)
  stalled.destroy()
})

test('more connections than the limit are closed, and those within it go on', async () => {
  const built = await image('app', AMD64)
  const files = await writeBundles([{ source: SOURCE, built }])
  const serving = await serveFiles(files, { limits: { connections: 2 } })
  const [first] = [await open(serving), await open(serving)]
  const third = await open(serving)
  await once(third.resume(), 'close')
  first.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  const [data] = (await once(first, 'data')) as [Buffer]
  expect(data.toString()).toMatch(/^HTTP\/1\.1 200 /)
})

test('what is no HTTP, or a head without end, is refused', async () => {
  const serving = await serveImages([{ source: SOURCE, built: await image('app', AMD64) }])
  for (const [text, status] of [
    ['\u0016\u0003\u0001\u0000garbage\r\n\r\n', 400],
    [`GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(64 * 1024)}\r\n\r\n`, 431],
    [`GET /v2/${'x/'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
  ] as const) {
    const socket = await open(serving)
    socket.write(text)
    const [data] = (await once(socket, 'data')) as [Buffer]
    expect(data.toString().slice(0, 12)).toBe(`HTTP/1.1 ${status}`)
  }
  expect((await serving.get('team/app/tags/list')).status).toBe(200)
})

test('a stop lets the transfer under way finish, takes nobody new, and waits for no idle connection', async () => {
  const built = await largeImage(LARGE)
  const files = await writeBundles([{ source: SOURCE, built }])
  // Far beyond the test's own time: nothing may wait for it.
  const serving = await serveFiles(files, { limits: { keepAlive: 3_600_000, stalled: 3_600_000 } })
  const idle = await open(serving)
  idle.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle, 'data')
  const busy = await stall(serving, `team/app/blobs/${built.layers[0]?.descriptor.digest}`)
  const stopped = serving.served.stop(3_600_000)
  await once(idle.resume(), 'close')
  await expect(serving.get('')).rejects.toThrow()
  await once(busy.resume(), 'close')
  await stopped
  expect(serving.log.at(-1)).toMatchObject({ status: 200, bytesSent: built.layers[0]?.bytes.length })
  expect(serving.log.at(-1)?.error).toBeUndefined()
})

test('a stop cuts off what is still open when its patience is over', async () => {
  const built = await largeImage(LARGE)
  const serving = await serveImages([{ source: SOURCE, built }])
  const socket = await stall(serving, `team/app/blobs/${built.layers[0]?.descriptor.digest}`)
  await serving.served.stop(10)
  await expect.poll(() => serving.served.active()).toBe(0)
  expect(serving.log.at(-1)?.error).toMatch(/./)
  socket.destroy()
})
