import { expect, test } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Descriptor } from '../../../src/oci/manifest.ts'
import { parseContentRange } from '../../../src/registry/blobs/blobs.ts'
import { downloadBlob, type BlobSink } from '../../../src/registry/blobs/download.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  makeClient,
  registryError,
  sampleBytes,
  serve,
  type Handler,
  type TestServer,
} from '../../support/client.ts'

// More than is gathered for one write, so that the sink has got some of it when something goes wrong.
const bytes = sampleBytes(3_000_000)
const blob: Descriptor = { mediaType: 'application/x', digest: digestOf(bytes), size: bytes.length }

/** A sink that checks that positions are in order, and keeps what is written. */
function memorySink(restartable = true) {
  const state = { content: Buffer.alloc(0), restarts: 0 }
  const sink: BlobSink = {
    restartable,
    write: async (bytes, position) => {
      if (position === 0 && state.content.length > 0) {
        state.restarts++
        state.content = Buffer.alloc(0)
      }
      expect(position).toBe(state.content.length)
      state.content = Buffer.concat([state.content, bytes])
    },
  }
  return { state, sink }
}

/** Sends what Range asks for, as a good server does. */
function sendRange(content: Buffer, ...[seen, response]: Parameters<Handler>): void {
  const start = Number(/^bytes=([0-9]+)-$/.exec(seen.headers.range ?? '')?.[1] ?? 0)
  if (seen.headers.range === undefined) {
    response.writeHead(200, { 'content-length': content.length })
  } else {
    response.writeHead(206, {
      'content-length': content.length - start,
      'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
    })
  }
  response.end(content.subarray(start))
}

/** Announces the whole from `start`, sends `count` bytes of it, and hangs up. */
function sendBroken(count: number, ...[seen, response, request]: Parameters<Handler>): void {
  const start = Number(/^bytes=([0-9]+)-$/.exec(seen.headers.range ?? '')?.[1] ?? 0)
  response.writeHead(start === 0 ? 200 : 206, {
    'content-length': bytes.length - start,
    ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  })
  response.write(bytes.subarray(start, start + count), () => request.socket.destroySoon())
}

const good: Handler = (...args) => sendRange(bytes, ...args)

async function download(
  servers: TestServer[],
  options: { descriptor?: Descriptor; restartable?: boolean; attempts?: number } = {},
) {
  const client = makeClient(options.attempts === undefined ? {} : { retry: { attempts: options.attempts } })
  const { state, sink } = memorySink(options.restartable)
  const progress: number[] = []
  const sources = servers.map(({ host }) => client.repository(host, 'app'))
  const result = downloadBlob(sources, options.descriptor ?? blob, sink, {
    client,
    onProgress: (n) => progress.push(n),
  })
  return { result, state, progress, notices: client.notices }
}

const ranges = (server: TestServer): (string | undefined)[] => server.seen.map(({ headers }) => headers.range)

test('a blob arrives whole', async () => {
  const server = await serve(good)
  const { result, state, progress } = await download([server])
  expect(await result).toEqual({ source: `${server.host}/app` })
  expect(state.content.equals(bytes)).toBe(true)
  expect(progress.at(-1)).toBe(bytes.length)
  expect(server.lines()).toEqual([`GET /v2/app/blobs/${blob.digest}`])
})

test('an empty blob', async () => {
  const server = await serve((_, response) => void response.end())
  const { result, state } = await download([server], {
    descriptor: { ...blob, digest: digestOf(''), size: 0 },
  })
  await result
  expect(state.content).toHaveLength(0)
})

test('a broken transfer goes on from its last byte', async () => {
  const cuts = [50_000, 0, 70_000]
  const server = await serve((...args) => {
    const cut = cuts.shift()
    return cut === undefined ? good(...args) : sendBroken(cut, ...args)
  })
  const { result, state, notices } = await download([server])
  await result
  expect(state).toEqual({ content: bytes, restarts: 0 })
  expect(ranges(server)).toEqual([undefined, 'bytes=50000-', 'bytes=50000-', 'bytes=120000-'])
  expect(notices).toHaveLength(3)
})

test.each<[string, Handler, (string | undefined)[]]>([
  ['200 and the whole', (_, response) => void response.end(bytes), [undefined, 'bytes=50000-']],
  [
    'another range',
    (seen, response, request) => {
      if (seen.headers.range === undefined) return good(seen, response, request)
      response.writeHead(206, { 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}` })
      return void response.end(bytes)
    },
    [undefined, 'bytes=50000-', undefined],
  ],
  [
    'a part without saying which',
    (seen, response, request) => {
      if (seen.headers.range === undefined) return good(seen, response, request)
      return void response.writeHead(206).end(bytes.subarray(50_000))
    },
    [undefined, 'bytes=50000-', undefined],
  ],
  [
    '416',
    (seen, response, request) =>
      seen.headers.range === undefined ? good(seen, response, request) : void response.writeHead(416).end(),
    [undefined, 'bytes=50000-', undefined],
  ],
])('a server that answers a Range request with %s', async (_, handler, expected) => {
  let first = true
  const server = await serve((...args) => {
    if (!first) return handler(...args)
    first = false
    return sendBroken(50_000, ...args)
  })
  const { result, state } = await download([server])
  await result
  expect(state).toEqual({ content: bytes, restarts: 0 })
  expect(ranges(server)).toEqual(expected)
})

/** The hash of what a sink is said to have, and a download that goes on from there. */
async function goOn(server: TestServer, beginning: Buffer) {
  const client = makeClient()
  const state = { content: Buffer.from(beginning) }
  const sink: BlobSink = {
    restartable: true,
    write: async (chunk, position) => {
      state.content = Buffer.concat([state.content.subarray(0, position), chunk])
    },
  }
  const hash = client.shared.threads.open(bytes.length)
  const block = client.shared.blocks.take()
  block.bytes.set(beginning)
  await hash.update(block, beginning.length)
  const progress: number[] = []
  await downloadBlob([client.repository(server.host, 'app')], blob, sink, {
    client,
    begun: { position: beginning.length, hash },
    onProgress: (n) => progress.push(n),
  })
  expect(state.content.equals(bytes)).toBe(true)
  return { progress, notices: client.notices }
}

test('a download goes on from what was there before', async () => {
  const server = await serve(good)
  const { progress } = await goOn(server, bytes.subarray(0, 700_000))
  expect(ranges(server)).toEqual(['bytes=700000-'])
  expect(progress[0]).toBeGreaterThan(700_000)
})

test('from a server without ranges, too', async () => {
  const server = await serve((_, response) => void response.end(bytes))
  await goOn(server, bytes.subarray(0, 700_000))
  expect(server.seen).toHaveLength(1)
})

test('a wrong beginning costs a start from zero, and nobody is blamed for it', async () => {
  const server = await serve(good)
  const { notices } = await goOn(server, Buffer.alloc(700_000, 1))
  expect(ranges(server)).toEqual(['bytes=700000-', undefined])
  expect(notices).toMatchObject([
    { type: 'retry', reason: expect.stringContaining('resumed from an earlier download') as string },
  ])
})

test('the next source goes on from the same byte', async () => {
  const mirror = await serve((...args) => sendBroken(30_000, ...args))
  const source = await serve(good)
  const { result, state } = await download([mirror, source], { attempts: 2 })
  expect(await result).toEqual({ source: `${source.host}/app` })
  expect(state).toEqual({ content: bytes, restarts: 0 })
  expect(ranges(mirror)).toEqual([undefined, 'bytes=30000-'])
  expect(ranges(source)).toEqual(['bytes=60000-'])
})

test('a source that does not have it, or refuses, is left at once', async () => {
  const missing = await serve((_, response) => registryError(response, 404, 'BLOB_UNKNOWN'))
  const refusing = await serve((_, response) => registryError(response, 403, 'DENIED'))
  const source = await serve(good)
  const { result, state } = await download([missing, refusing, source])
  expect(await result).toEqual({ source: `${source.host}/app` })
  expect(state.content.equals(bytes)).toBe(true)
  expect([missing.seen.length, refusing.seen.length]).toEqual([1, 1])
})

test('when no source delivers, each is told', async () => {
  const missing = await serve((_, response) => registryError(response, 404, 'BLOB_UNKNOWN', 'blob unknown'))
  const broken = await serve((_, response) => registryError(response, 500, 'UNKNOWN'))
  const { result } = await download([missing, broken])
  const error = await failureOf(result, 'REGISTRY')
  expect(error.message).toContain('the last of 2 sources tried')
  expect(error.problems.map(({ entry }) => entry)).toEqual([`${missing.host}/app`, `${broken.host}/app`])
  expect(error.problems[0]?.message).toContain('BLOB_UNKNOWN: blob unknown')
  expect(broken.seen).toHaveLength(5)
})

test('a source that lies is asked twice, then the next one from zero', async () => {
  const wrong = Buffer.from(bytes)
  wrong[100_000]! ^= 1
  const mirror = await serve((...args) => sendRange(wrong, ...args))
  const source = await serve(good)
  const { result, state, progress } = await download([mirror, source])
  expect(await result).toEqual({ source: `${source.host}/app` })
  expect(state).toEqual({ content: bytes, restarts: 2 })
  expect(ranges(mirror)).toEqual([undefined, undefined])
  expect(ranges(source)).toEqual([undefined])
  expect(progress.filter((n) => n === 0)).toHaveLength(2)
})

test('a wrong beginning from one source does not spoil a good one', async () => {
  const mirror = await serve((_, response, request) => {
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(Buffer.alloc(10_000, 1), () => request.socket.destroySoon())
  })
  const source = await serve(good)
  const { result, state } = await download([mirror, source], { attempts: 2 })
  await result
  expect(state).toEqual({ content: bytes, restarts: 1 })
  expect(ranges(source)).toEqual(['bytes=10000-', undefined])
})

test('a pipe cannot be restarted', async () => {
  const wrong = Buffer.from(bytes)
  wrong[0]! ^= 1
  const mirror = await serve((...args) => sendRange(wrong, ...args))
  const source = await serve(good)
  const { result } = await download([mirror, source], { restartable: false })
  const error = await failureOf(result, 'CONTENT_MISMATCH')
  expect(error.message).toContain('its bytes have the digest sha256:')
  expect([mirror.seen.length, source.seen.length]).toEqual([1, 0])
})

test('what has not been written yet can be taken back from a pipe too', async () => {
  const small = sampleBytes(200_000)
  const descriptor = { mediaType: 'application/x', digest: digestOf(small), size: small.length }
  const mirror = await serve((...args) => sendRange(Buffer.alloc(small.length), ...args))
  const source = await serve((...args) => sendRange(small, ...args))
  const { result, state } = await download([mirror, source], { descriptor, restartable: false })
  expect(await result).toEqual({ source: `${source.host}/app` })
  expect(state).toEqual({ content: small, restarts: 0 })
})

test('a pipe gets a broken transfer in one piece', async () => {
  let first = true
  const server = await serve((...args) => {
    if (!first) return good(...args)
    first = false
    return sendBroken(50_000, ...args)
  })
  const { result, state } = await download([server], { restartable: false })
  await result
  expect(state).toEqual({ content: bytes, restarts: 0 })
})

test('another length than stated is refused before a byte is written', async () => {
  for (const length of [bytes.length - 1, bytes.length + 1]) {
    const server = await serve((_, response) => {
      response.writeHead(200, { 'content-length': length })
      response.end(Buffer.alloc(length))
    })
    const { result, state } = await download([server])
    const error = await failureOf(result, 'CONTENT_MISMATCH')
    expect(error.message).toContain(`it has ${length} bytes there instead of ${bytes.length}`)
    expect(state.content).toHaveLength(0)
    expect(server.seen).toHaveLength(1)
  }
})

test('more bytes than stated are an error at once, also without a length', async () => {
  let sent = 0
  const server = await serve(async (_, response) => {
    response.setMaxListeners(0)
    response.write(bytes)
    while (!response.destroyed && sent < 100_000_000) {
      sent += bytes.length
      if (!response.write(bytes)) {
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
      }
    }
  })
  const { result } = await download([server])
  const error = await failureOf(result, 'CONTENT_MISMATCH')
  expect(error.message).toContain(`more than the ${bytes.length} bytes stated`)
  expect(sent).toBeLessThan(50_000_000)
  expect(server.seen).toHaveLength(1)
})

test('fewer bytes than stated without a length are gone on from', async () => {
  const server = await serve((seen, response, request) => {
    if (seen.headers.range !== undefined) return good(seen, response, request)
    response.write(bytes.subarray(0, 1000))
    return void response.end()
  })
  const { result, state } = await download([server])
  await result
  expect(state.content.equals(bytes)).toBe(true)
  expect(ranges(server)).toEqual([undefined, 'bytes=1000-'])
})

test('a failing sink ends it, and its error is kept', async () => {
  const server = await serve(good)
  const other = await serve(good)
  const client = makeClient()
  const sink: BlobSink = {
    restartable: true,
    write: async () => {
      throw Object.assign(new Error('disk full'), { code: 'ENOSPC' })
    },
  }
  const sources = [server, other].map(({ host }) => client.repository(host, 'app'))
  await expect(downloadBlob(sources, blob, sink, { client })).rejects.toMatchObject({ code: 'ENOSPC' })
  expect([server.seen.length, other.seen.length]).toEqual([1, 0])
})

test('nothing is written any more when a download has ended', async () => {
  const abort = new AbortController()
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(bytes.subarray(0, 2_000_000))
  })
  const client = makeClient()
  let isWriting = false
  const sink: BlobSink = {
    restartable: true,
    write: async () => {
      isWriting = true
      abort.abort()
      await new Promise((resolve) => setImmediate(resolve))
      isWriting = false
    },
  }
  const result = downloadBlob([client.repository(server.host, 'app')], blob, sink, {
    client,
    signal: abort.signal,
  })
  await failureOf(result, 'INTERRUPTED')
  expect(isWriting).toBe(false)
})

test('attempts are bounded where nothing arrives', async () => {
  const server = await serve((...args) => sendBroken(1, ...args))
  const { result, state } = await download([server])
  await failureOf(result, 'NETWORK')
  expect(server.seen).toHaveLength(5)
  expect(state.content).toHaveLength(5)
})

test('a signed link that has run out is asked for again', async () => {
  let links = 0
  const cdn = await serve((seen, response, request) => {
    if (seen.query.get('link') !== '2') return void response.writeHead(403).end('<Error>expired</Error>')
    return good(seen, response, request)
  })
  const registry = await serve(
    (_, response) => void response.writeHead(307, { location: `${cdn.origin}/?link=${++links}` }).end(),
  )
  const { result, state, notices } = await download([registry])
  await result
  expect(state.content.equals(bytes)).toBe(true)
  expect(JSON.stringify(notices)).not.toContain('link=')
})

test('a foreign layer: first the registry, then its URLs, without credentials', async () => {
  const foreign = await serve(good)
  const registry = await serve((seen, response) => {
    if (seen.headers.authorization !== undefined) return registryError(response, 404, 'BLOB_UNKNOWN')
    response.setHeader('www-authenticate', 'Basic realm="r"')
    return registryError(response, 401, 'UNAUTHORIZED')
  })
  const client = makeClient({
    authFile: authFileWith({
      auths: { [registry.host]: basicEntry('u', 'p'), [foreign.host]: basicEntry('u', 'foreign') },
    }),
  })
  const { state, sink } = memorySink()
  const withUser = foreign.origin.replace('//', '//u:p@')
  const urls = ['file:///etc/passwd', 'not a url', `${withUser}/layer?x=1`]
  const found = await downloadBlob([client.repository(registry.host, 'app')], { ...blob, urls }, sink, {
    client,
  })
  expect(found).toEqual({ source: `${foreign.origin}/layer` })
  expect(state.content.equals(bytes)).toBe(true)
  expect(foreign.lines()).toEqual(['GET /layer?x=1'])
  expect(foreign.seen[0]?.headers.authorization).toBeUndefined()
})

test('a foreign URL that asks for credentials gets none', async () => {
  const foreign = await serve((_, response) => {
    response.setHeader('www-authenticate', 'Basic realm="r"')
    response.writeHead(401).end()
  })
  const registry = await serve((_, response) => registryError(response, 404, 'BLOB_UNKNOWN'))
  const client = makeClient({ authFile: authFileWith({ auths: { [foreign.host]: basicEntry('u', 'p') } }) })
  const descriptor = { ...blob, urls: [`${foreign.origin}/layer`] }
  const sources = [client.repository(registry.host, 'app')]
  await failureOf(downloadBlob(sources, descriptor, memorySink().sink, { client }), 'UNAUTHORIZED')
  expect(foreign.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
})

test('no source at all', async () => {
  await failureOf(downloadBlob([], blob, memorySink().sink, { client: makeClient() }), 'NOT_FOUND')
})

test('an abort ends a download', async () => {
  const abort = new AbortController()
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(bytes.subarray(0, 1000))
  })
  const client = makeClient()
  const { state, sink } = memorySink()
  const result = downloadBlob([client.repository(server.host, 'app')], blob, sink, {
    client,
    signal: abort.signal,
    onProgress: () => abort.abort(),
  })
  await failureOf(result, 'INTERRUPTED')
  // What has come stays: a later run can go on from there.
  expect(state.content.equals(bytes.subarray(0, 1000))).toBe(true)
  expect(server.seen).toHaveLength(1)
})

test('a small blob in memory', async () => {
  let first = true
  const server = await serve((...args) => {
    if (!first) return good(...args)
    first = false
    return sendBroken(50_000, ...args)
  })
  const repository = makeClient().repository(server.host, 'app')
  expect((await repository.fetchSmallBlob(blob, 4_000_000)).equals(bytes)).toBe(true)
  const requests = server.seen.length
  await failureOf(repository.fetchSmallBlob(blob, 1000), 'INVALID_CONTENT')
  expect(server.seen).toHaveLength(requests)
})

test('Content-Range', () => {
  expect(parseContentRange('bytes 5-9/10')).toEqual({ start: 5, total: 10 })
  expect(parseContentRange('bytes 5-9/*')).toEqual({ start: 5, total: undefined })
  for (const bad of [
    undefined,
    '',
    'bytes 9-5/10',
    'bytes 5-10/10',
    'bytes */10',
    '5-9/10',
    'bytes 5-9',
    'bytes -5-9/10',
  ]) {
    expect(parseContentRange(bad)).toBeUndefined()
  }
})
