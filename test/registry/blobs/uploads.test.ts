import { expect, test } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { Connection } from '../../../src/registry/net/connection.ts'
import { RemoteRepository } from '../../../src/registry/remote-repository.ts'
import type { Repository } from '../../../src/registry/repository.ts'
import { Transport } from '../../../src/registry/net/transport.ts'
import {
  failureOf,
  makeClient,
  memoryRegistry,
  registryError,
  sampleBytes,
  serve,
  type Handler,
} from '../../support/client.ts'

const bytes = sampleBytes(300_000)
const blob = { digest: digestOf(bytes), size: bytes.length }

/** `bytes` in pieces, and how often it was opened and let go of. */
function source(content: Buffer = bytes, piece = 16 * 1024) {
  const state = { opened: 0, closed: 0 }
  const open = async function* (): AsyncGenerator<Uint8Array> {
    state.opened++
    try {
      for (let at = 0; at < content.length; at += piece) yield content.subarray(at, at + piece)
    } finally {
      state.closed++
    }
  }
  return { state, open }
}

async function repositoryOn(handler: Handler, options: { rawBody?: boolean } = {}) {
  const server = await serve(handler, options)
  const client = makeClient()
  return { server, client, repository: client.repository(server.host, 'app') }
}

const upload = (repository: Repository, open = source().open): Promise<void> =>
  repository.uploadBlob(blob, open)

test('POST, then one PUT with the length, to the Location with its query kept', async () => {
  const memory = memoryRegistry()
  const { server, repository } = await repositoryOn(memory.handle)
  const progress: number[] = []
  const { open, state } = source()
  await repository.uploadBlob(blob, open, undefined, (sent) => progress.push(sent))
  expect(memory.blobs.get(blob.digest)?.equals(bytes)).toBe(true)
  expect(server.lines()).toEqual([
    'POST /v2/app/blobs/uploads/',
    `PUT /v2/upload/session?state=a%2Fb%20c&digest=${encodeURIComponent(blob.digest)}`,
  ])
  expect(server.seen[1]?.headers).toMatchObject({
    'content-length': String(bytes.length),
    'content-type': 'application/octet-stream',
  })
  expect(server.seen[1]?.headers['transfer-encoding']).toBeUndefined()
  expect(progress.at(-1)).toBe(bytes.length)
  expect(progress).toEqual(progress.toSorted((a, b) => a - b))
  expect(state).toEqual({ opened: 1, closed: 1 })
})

test('an absolute Location, and an empty blob', async () => {
  const memory = memoryRegistry()
  const { server, repository } = await repositoryOn((seen, response, request) => {
    if (seen.method !== 'POST') return memory.handle(seen, response, request)
    return void response
      .writeHead(202, { location: `http://${seen.headers.host}/v2/upload/session?state=a%2Fb%20c` })
      .end()
  })
  await upload(repository)
  expect(memory.blobs.get(blob.digest)?.equals(bytes)).toBe(true)
  await repository.uploadBlob({ digest: digestOf(''), size: 0 }, source(Buffer.alloc(0)).open)
  expect(memory.blobs.get(digestOf(''))).toEqual(Buffer.alloc(0))
  expect(server.seen.at(-1)?.headers['content-length']).toBe('0')
})

test.each<[string, Buffer, RegExp]>([
  [
    'other bytes',
    Buffer.concat([bytes.subarray(0, -1), Buffer.from('!')]),
    /its bytes have the digest sha256:/,
  ],
  ['fewer bytes', bytes.subarray(0, -1), /there are 299999 bytes instead of 300000/],
  ['more bytes', Buffer.concat([bytes, Buffer.from('!')]), /more than the 300000 bytes/],
  ['no bytes', Buffer.alloc(0), /there are 0 bytes/],
])('%s than the digest says never make a whole upload', async (_, content, message) => {
  const memory = memoryRegistry()
  const { repository, server, client } = await repositoryOn(memory.handle)
  const { open, state } = source(content)
  const error = await failureOf(repository.uploadBlob(blob, open), 'INVALID_CONTENT')
  expect(error.message).toMatch(message)
  expect(error.message).toContain(`cannot upload the blob ${blob.digest} to ${server.host}/app`)
  expect(memory.blobs.size).toBe(0)
  expect(state).toEqual({ opened: 1, closed: 1 })
  expect(client.notices).toEqual([])
})

test('[duty: signature-first] the last bytes are held back until the digest is seen to be right', async () => {
  let received = 0
  const { repository, server } = await repositoryOn(
    async (seen, response, request) => {
      if (seen.method === 'POST') return void response.writeHead(202, { location: '/u' }).end()
      if (seen.method === 'HEAD') return void response.writeHead(404).end()
      for await (const chunk of request) received += (chunk as Buffer).length
      return void response.writeHead(201).end()
    },
    { rawBody: true },
  )
  const open = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 100_000)
    yield Buffer.alloc(200_000)
    // What was handed on has time to arrive: other requests go to the server and come back meanwhile.
    await expect.poll(() => received).toBeGreaterThanOrEqual(100_000)
    for (let i = 0; i < 5; i++) await repository.statBlob(blob.digest)
  }
  await failureOf(repository.uploadBlob(blob, open), 'INVALID_CONTENT')
  expect(received).toBe(100_000)
  expect(server.seen.filter(({ method }) => method === 'PUT')).toHaveLength(1)
})

test('a wrong empty blob is not sent', async () => {
  const { repository, server } = await repositoryOn(memoryRegistry().handle)
  await failureOf(
    repository.uploadBlob({ digest: blob.digest, size: 0 }, source(Buffer.alloc(0)).open),
    'INVALID_CONTENT',
  )
  expect(server.seen.filter(({ method }) => method === 'PUT')).toEqual([])
})

test('a failing source is told as what it is, and not tried again', async () => {
  const { repository, client } = await repositoryOn(memoryRegistry().handle)
  const open = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 1000)
    throw Object.assign(new Error('disk gone'), { code: 'ECONNRESET' })
  }
  await expect(repository.uploadBlob(blob, open)).rejects.toThrow('disk gone')
  expect(client.notices).toEqual([])
})

test('a broken upload starts over from a new POST and a newly opened source', async () => {
  const memory = memoryRegistry()
  let puts = 0
  const { repository, server, client } = await repositoryOn(
    async (seen, response, request) => {
      if (seen.method === 'PUT' && ++puts === 1) {
        for await (const chunk of request) {
          void chunk
          request.socket.destroy()
        }
      }
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      seen.body = Buffer.concat(chunks)
      return memory.handle(seen, response, request)
    },
    { rawBody: true },
  )
  const { open, state } = source()
  await repository.uploadBlob(blob, open)
  expect(memory.blobs.get(blob.digest)?.equals(bytes)).toBe(true)
  expect(state).toEqual({ opened: 2, closed: 2 })
  expect(server.seen.map(({ method }) => method)).toEqual(['POST', 'PUT', 'HEAD', 'POST', 'DELETE', 'PUT'])
  expect(client.notices).toMatchObject([{ type: 'retry', registry: server.host, attempt: 1 }])
})

test('when only the answer was lost, nothing is sent twice', async () => {
  const memory = memoryRegistry()
  const { repository, server } = await repositoryOn((seen, response, request) => {
    if (seen.method === 'PUT') {
      memory.blobs.set(blob.digest, seen.body)
      return void request.socket.destroy()
    }
    return memory.handle(seen, response, request)
  })
  await upload(repository)
  expect(server.seen.map(({ method }) => method)).toEqual(['POST', 'PUT', 'HEAD'])
})

test('an early refusal is heard while bytes are still being sent', async () => {
  const { repository } = await repositoryOn(
    (seen, response) => {
      if (seen.method === 'POST') return void response.writeHead(202, { location: '/v2/upload/1' }).end()
      response.writeHead(413, { 'content-type': 'text/html', connection: 'close' })
      return void response.end('<html><h1>413 Request Entity Too Large</h1>')
    },
    { rawBody: true },
  )
  const { open, state } = source()
  const error = await failureOf(repository.uploadBlob(blob, open), 'REGISTRY')
  expect(error.message).toContain('even a request of 256 KiB is too large')
  expect(error.hint).toContain('client_max_body_size')
  expect(state.closed).toBe(state.opened)
})

test('a token that ends before the PUT is renewed, and the source opened again', async () => {
  const memory = memoryRegistry()
  let token = 0
  const { repository } = await repositoryOn((seen, response, request) => {
    if (seen.path === '/token') return void response.end(JSON.stringify({ token: `t${++token}` }))
    if (seen.method === 'PUT' && token === 1) token++
    if (seen.headers.authorization === `Bearer t${token}`) return memory.handle(seen, response, request)
    response.setHeader('www-authenticate', 'Bearer realm="/token"')
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const { open, state } = source()
  await repository.uploadBlob(blob, open)
  expect(memory.blobs.get(blob.digest)?.equals(bytes)).toBe(true)
  expect(state).toEqual({ opened: 2, closed: 2 })
})

test('a refused upload is refused once', async () => {
  const { repository, server } = await repositoryOn((_, response) =>
    registryError(response, 403, 'DENIED', 'read-only'),
  )
  const error = await failureOf(upload(repository), 'DENIED')
  expect(error.message).toContain('("DENIED: read-only")')
  expect(server.seen).toHaveLength(1)
})

test('a quota that answers 400 is believed: no other way is tried', async () => {
  const { repository, server } = await repositoryOn((seen, response) => {
    if (seen.method === 'POST') return void response.writeHead(202, { location: '/u' }).end()
    return registryError(response, 400, 'DENIED', 'the quota of this namespace is exceeded')
  })
  const error = await failureOf(upload(repository), 'REGISTRY')
  expect(error.refusal).toEqual({ kind: 'room', of: 'project' })
  expect(server.seen.map(({ method }) => method)).toEqual(['POST', 'PUT'])
})

test('a registry that stores it as something else', async () => {
  const { repository } = await repositoryOn((seen, response) => {
    if (seen.method === 'POST') return void response.writeHead(202, { location: '/u' }).end()
    return void response.writeHead(201, { 'docker-content-digest': digestOf('x') }).end()
  })
  await failureOf(upload(repository), 'CONTENT_MISMATCH')
})

test('another success than 201 counts if the blob is there', async () => {
  let there = true
  const { repository } = await repositoryOn((seen, response) => {
    if (seen.method === 'POST') return void response.writeHead(202, { location: '/u' }).end()
    if (seen.method === 'PUT') return void response.writeHead(204).end()
    return void response.writeHead(there ? 200 : 404, { 'content-length': blob.size }).end()
  })
  await upload(repository)
  there = false
  await failureOf(upload(repository), 'REGISTRY')
})

test.each([
  ['no Location', {}, 'without a Location'],
  ['a file Location', { location: 'file:///etc/passwd' }, 'begins with file:'],
])('%s is an error', async (_, headers, message) => {
  const { repository } = await repositoryOn((__, response) => void response.writeHead(202, headers).end())
  expect((await failureOf(upload(repository), 'REGISTRY')).message).toContain(message)
})

test('mounted', async () => {
  const { repository, server } = await repositoryOn(
    (_, response) => void response.writeHead(201, { location: '/x' }).end(),
  )
  expect(await repository.mountBlob(blob.digest, 'team/base')).toBe(true)
  expect(server.lines()).toEqual([
    `POST /v2/app/blobs/uploads/?mount=${encodeURIComponent(blob.digest)}&from=team%2Fbase`,
  ])
})

test.each([400, 401, 403, 404, 405, 500])('%i to a mount means an upload', async (status) => {
  const { repository, server } = await repositoryOn((_, response) => registryError(response, status, 'X'))
  expect(await repository.mountBlob(blob.digest, 'team/base')).toBe(false)
  expect(server.seen).toHaveLength(1)
})

test('the session that a refused mount opens serves the upload that follows', async () => {
  const memory = memoryRegistry()
  const { repository, server, client } = await repositoryOn(memory.handle)
  expect(await repository.mountBlob(blob.digest, 'team/base')).toBe(false)
  await upload(client.repository(server.host, 'app'))
  expect(memory.blobs.has(blob.digest)).toBe(true)
  expect(server.seen.map(({ method }) => method)).toEqual(['POST', 'PUT'])
})

test('such a session may have run out', async () => {
  const memory = memoryRegistry()
  let posts = 0
  const { repository, server } = await repositoryOn((seen, response, request) => {
    if (seen.method === 'POST' && ++posts === 1)
      return void response.writeHead(202, { location: '/gone' }).end()
    return memory.handle(seen, response, request)
  })
  expect(await repository.mountBlob(blob.digest, 'team/base')).toBe(false)
  await upload(repository)
  expect(memory.blobs.has(blob.digest)).toBe(true)
  expect(server.seen.map(({ method }) => method)).toEqual(['POST', 'PUT', 'HEAD', 'POST', 'PUT'])
})

test('only a repository can be mounted from', async () => {
  const { repository, server } = await repositoryOn(memoryRegistry().handle)
  await failureOf(repository.mountBlob(blob.digest, 'a&from=b'), 'INVALID_REFERENCE')
  expect(server.seen).toEqual([])
})

test('statBlob', async () => {
  const memory = memoryRegistry()
  memory.blobs.set(blob.digest, bytes)
  const { repository } = await repositoryOn(memory.handle)
  expect(await repository.statBlob(blob.digest)).toEqual({ size: bytes.length })
  expect(await repository.statBlob(digestOf('absent'))).toBeUndefined()
})

test('a registry that stops taking bytes is given up, and the source let go of', async () => {
  const server = await serve(
    (seen, response, request) => {
      if (seen.method === 'POST') return void response.writeHead(202, { location: '/u' }).end()
      return void request.pause()
    },
    { rawBody: true },
  )
  const client = makeClient()
  const transport = new Transport({ insecureSkipTlsVerify: [], plainHttp: [] })
  // Of its answers it is given all the time.
  Object.defineProperty(transport, 'stallTimeoutMs', { value: 100 })
  const policy = { ...client.shared.policy, attempts: 1 }
  const connection = new Connection(server.host, { ...client.shared, transport, policy })
  const content = sampleBytes(32 * 1024 * 1024)
  const { open, state } = source(content)
  const repository = new RemoteRepository(connection, 'app', client)
  const error = await failureOf(
    repository.uploadBlob({ digest: digestOf(content), size: content.length }, open),
    'NETWORK',
  )
  expect(error.message).toContain('stopped taking bytes')
  await expect.poll(() => state).toEqual({ opened: 1, closed: 1 })
  await transport.close()
})

test('an abort ends an upload and lets go of the source', async () => {
  const abort = new AbortController()
  const { repository, client } = await repositoryOn(
    (seen, response) => {
      if (seen.method === 'POST') return void response.writeHead(202, { location: '/u' }).end()
      return abort.abort()
    },
    { rawBody: true },
  )
  const { open, state } = source(sampleBytes(8 * 1024 * 1024))
  const big = { digest: digestOf(sampleBytes(8 * 1024 * 1024)), size: 8 * 1024 * 1024 }
  await failureOf(repository.uploadBlob(big, open, abort.signal), 'INTERRUPTED')
  await expect.poll(() => state).toEqual({ opened: 1, closed: 1 })
  expect(client.notices).toEqual([])
})
