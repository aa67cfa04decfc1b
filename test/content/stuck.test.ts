import { once } from 'node:events'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { pack, push, resolve, type Receipt, type RegistryAccess } from '../../src/index.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { signer, temporaryFolder } from '../support/build-bundle.ts'
import { bundled, expectEnd, REASON, seed } from '../index/bundled.ts'
import { outcomeOf } from './engines.ts'
import { watch } from '../pack/resume/leftovers.ts'

/** A server for one test. `stuck` is settled by the handler. */
async function listening<T extends Server>(server: T): Promise<{ server: T; host: string }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    await once(server, 'close')
  })
  return { server, host: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

type Handler = (request: IncomingMessage, response: ServerResponse, stuck: () => void) => void

async function stuckRegistry(handler: Handler): Promise<{ host: string; stuck: Promise<void> }> {
  const { promise, resolve: settle } = Promise.withResolvers<void>()
  const { host } = await listening(createServer((request, response) => handler(request, response, settle)))
  return { host, stuck: promise }
}

afterEach(() => {
  vi.unstubAllEnvs()
})

test('a registry that does not answer', async () => {
  const { host, stuck } = await stuckRegistry((_, __, isStuck) => isStuck())
  const folder = await temporaryFolder()
  await expectEnd(folder, stuck, (signal) => resolve({ images: [`${host}/a`], signal }))
})

test('a token service that does not answer', async () => {
  const { host, stuck } = await stuckRegistry((request, response, isStuck) => {
    if (request.url?.startsWith('/token')) return isStuck()
    const realm = `Bearer realm="http://${request.headers.host}/token",service="s"`
    response.writeHead(401, { 'www-authenticate': realm }).end()
  })
  const folder = await temporaryFolder()
  await expectEnd(folder, stuck, (signal) =>
    pack({ images: [`${host}/a`, `${host}/b`], output: join(folder, 'out.tar'), key: 'unsigned', signal }),
  )
})

test('a peer that takes the connection and does not say whether it speaks TLS', async () => {
  const { promise, resolve: settle } = Promise.withResolvers<void>()
  const sockets: Socket[] = []
  const { host } = await listening(
    createTcpServer((socket) => {
      socket.on('error', () => {})
      sockets.push(socket)
      settle()
    }),
  )
  await expectEnd(await temporaryFolder(), promise, (signal) => resolve({ images: [`${host}/a`], signal }))
  expect(sockets.length).toBeGreaterThan(0)
})

const wantsBasic: Handler = (_, response) => {
  response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
}

test('a credential helper that does not answer', async () => {
  const { host } = await stuckRegistry(wantsBasic)
  const folder = await temporaryFolder()
  const started = join(folder, 'started')
  await writeFile(started, '')
  const helper = join(folder, 'docker-credential-stuck')
  await writeFile(helper, `#!/bin/sh\necho $$ > '${started}'\nexec sleep 1000\n`)
  await chmod(helper, 0o755)
  await writeFile(join(folder, 'config.json'), JSON.stringify({ credsStore: 'stuck' }))
  vi.stubEnv('DOCKER_CONFIG', folder)
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`)
  const controller = new AbortController()
  const running = outcomeOf(resolve({ images: [`${host}/a`], signal: controller.signal }))
  const pid = await vi.waitFor(async () => {
    const text = await readFile(started, 'utf8')
    expect(text).toMatch(/^\d+\n/)
    return Number(text)
  }, 60_000)
  const left = watch(folder)
  controller.abort(REASON)
  expect(await running).toEqual({ reason: REASON })
  await left.expectNothingLeft()
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

test('credentials that never come from the caller; its own signal tells it', async () => {
  const { host } = await stuckRegistry(wantsBasic)
  const { promise, resolve: asked } = Promise.withResolvers<void>()
  let theirs: AbortSignal | undefined
  const registries: RegistryAccess = {
    credentials: (registry, signal) => {
      expect(registry).toBe(host)
      theirs = signal
      asked()
      return new Promise(() => {})
    },
  }
  const folder = await temporaryFolder()
  await expectEnd(folder, promise, (signal) => resolve({ images: [`${host}/a`], registries, signal }))
  expect(theirs?.aborted).toBe(true)
})

test('credentials from the caller are used, and those of no other registry', async () => {
  const source = await startRegistry({ auth: { basic: { u: 'p' } } })
  onTestFinished(() => source.close())
  await seed(source, 1000)
  const images = [`${source.host}/app:1`]
  const credentials = async (registry: string) =>
    registry === source.host ? { username: 'u', password: 'p' } : undefined
  const lock = await resolve({ images, registries: { credentials } })
  expect(lock.images).toHaveLength(1)
  await expect(resolve({ images, registries: { credentials: async () => undefined } })).rejects.toMatchObject(
    {
      code: 'UNAUTHORIZED',
    },
  )
})

test('a layer that stops half-way, into a file and into a stream', async () => {
  const source = await startRegistry()
  onTestFinished(() => source.close())
  const image = await seed(source, 6 * 1024 * 1024)
  const { host, stuck } = await stuckRegistry((request, response, isStuck) => {
    void fetch(`${source.url}${request.url}`, {
      headers: { accept: String(request.headers.accept), connection: 'close' },
    }).then(async (answer) => {
      const bytes = Buffer.from(await answer.arrayBuffer())
      const isLayer = bytes.length > 1024 * 1024
      response.writeHead(answer.status, [...answer.headers].flat().filter(Boolean))
      if (isLayer) response.write(bytes.subarray(0, bytes.length / 2), () => isStuck())
      else response.end(bytes)
    })
  })
  const folder = await temporaryFolder()
  const images = [image.replace(source.host, host)]
  const output = join(folder, 'out.tar')
  await expectEnd(folder, stuck, (signal) => pack({ images, output, key: signer, signal }), output)
  await expectEnd(folder, stuck, (signal) =>
    pack({ images, output: new PassThrough().resume(), key: signer, signal }),
  )
})

test('a stream that nobody reads', async () => {
  const { folder, image } = await bundled(500_000)
  const stream = new PassThrough()
  const { promise, resolve: isFull } = Promise.withResolvers<void>()
  const write = stream.write.bind(stream) as (chunk: Buffer) => boolean
  stream.write = (chunk: Buffer) => {
    const goesOn = write(chunk)
    if (!goesOn) isFull()
    return goesOn
  }
  await expectEnd(folder, promise, (signal) => pack({ images: [image], output: stream, key: signer, signal }))
})

test('a stream that is closed before everything is written', async () => {
  const { image } = await bundled(500_000)
  const stream = new PassThrough()
  const running = pack({ images: [image], output: stream, key: signer })
  stream.once('data', () => stream.destroy())
  await expect(running).rejects.toMatchObject({
    code: 'FILE',
    message: expect.stringContaining('the output stream') as string,
  })
})

test('a target that takes the bytes and does not answer', async () => {
  const { folder, bundle } = await bundled(500_000)
  const { host, stuck } = await stuckRegistry((request, response, isStuck) => {
    if (request.method === 'PUT') request.resume().on('end', isStuck)
    else if (request.method === 'POST') response.writeHead(202, { location: '/upload' }).end()
    else response.writeHead(404).end()
  })
  const receipts: Receipt[] = []
  await expectEnd(folder, stuck, (signal) =>
    push(bundle, host, {
      keys: [signer.publicKey],
      signal,
      onIncomplete: (receipt) => void receipts.push(receipt),
    }),
  )
  expect(receipts).toEqual([])
})
