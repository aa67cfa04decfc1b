import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { pack } from '../../src/index.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseManifest, type Descriptor, type ManifestOrIndex } from '../../src/oci/manifest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import type { Repository } from '../../src/registry/repository.ts'
import { closureOf } from '../../src/content/graph.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  registryError,
  sampleManifest,
  scratch,
  serve,
  type Handler,
} from '../support/client.ts'

const MIB = 1024 * 1024
/** What a connection holds on its way, in both kernels and in both processes' buffers. */
const ON_THE_WAY = 16 * MIB

/** Sends blanks for as long as somebody takes them. */
function endless(
  status: number,
  headers: Record<string, string> = {},
): { handler: Handler; sent: () => number } {
  let sent = 0
  const chunk = Buffer.alloc(256 * 1024, ' ')
  return {
    sent: () => sent,
    handler: async (_, response) => {
      response.setMaxListeners(0)
      response.writeHead(status, headers)
      while (!response.destroyed && sent < 512 * MIB) {
        sent += chunk.length
        if (!response.write(chunk)) await Promise.race([once(response, 'drain'), once(response, 'close')])
      }
      response.end()
    },
  }
}

/** How much memory is held more than before, at the most, while something is done. */
async function growthOf(action: () => Promise<unknown>): Promise<number> {
  const used = (): number => {
    const { heapUsed, external, arrayBuffers } = process.memoryUsage()
    return heapUsed + external + arrayBuffers
  }
  const before = used()
  let most = before
  const watch = setInterval(() => (most = Math.max(most, used())), 1)
  try {
    await action()
  } finally {
    clearInterval(watch)
  }
  return Math.max(most, used()) - before
}

describe('[duty: bounded] an answer without end is read up to a cap', () => {
  const CASES: [
    string,
    number,
    Record<string, string>,
    number,
    (repository: Repository) => Promise<unknown>,
  ][] = [
    ['a manifest', 200, { 'content-type': OCI_MANIFEST }, 8 * MIB, (r) => r.fetchManifest('1')],
    ['an error’s body', 500, {}, MIB, (r) => r.fetchManifest('1')],
    ['an HTML page', 403, { 'content-type': 'text/html' }, MIB, (r) => r.fetchManifest('1')],
    ['a refused blob', 403, {}, MIB, (r) => r.openBlob(digestOf('x'), 0)],
    [
      'a refused upload',
      400,
      {},
      MIB,
      (r) =>
        r.uploadBlob({ digest: digestOf('x'), size: 1 }, async function* () {
          yield Buffer.from('x')
        }),
    ],
    ['a list of referrers', 200, { 'content-type': OCI_INDEX }, 8 * MIB, (r) => r.referrers(digestOf('x'))],
    ['a list of tags', 200, {}, MIB, (r) => r.someTags()],
    ['a redirect’s body', 302, { location: '/other' }, MIB, (r) => r.fetchManifest('1')],
    ['a mount', 201, {}, MIB, (r) => r.mountBlob(digestOf('x'), 'other')],
  ]
  test.each(CASES)('%s', async (_, status, headers, cap, act) => {
    const { handler, sent } = endless(status, headers)
    const server = await serve(handler)
    const repository = makeClient({ retry: { attempts: 1 } }).repository(server.host, 'app')
    await act(repository).catch((error: Error) => expect(error.name).toBe('AirgapError'))
    expect(server.seen.length).toBeGreaterThan(0)
    expect(sent()).toBeLessThan(server.seen.length * (cap + ON_THE_WAY))
  })

  test.each([200, 401, 500])('a token service that answers %i', async (status) => {
    const { handler, sent } = endless(status, { 'content-type': 'application/json' })
    const registry = await serve((seen, response, request) => {
      if (seen.path === '/token') return handler(seen, response, request)
      response.setHeader('www-authenticate', 'Bearer realm="/token"')
      return registryError(response, 401, 'UNAUTHORIZED')
    })
    const authFile = authFileWith({ auths: { [registry.host]: basicEntry('bob', 's3cret-word') } })
    const client = makeClient({ authFile, retry: { attempts: 1 } })
    await client
      .repository(registry.host, 'app')
      .fetchManifest('1')
      .catch((error: Error) => expect(error.name).toBe('AirgapError'))
    expect(sent()).toBeGreaterThan(0)
    expect(sent()).toBeLessThan(MIB + ON_THE_WAY)
  })
})

describe('[duty: bounded] nothing is allocated from a size that somebody else claims', () => {
  const TEN_GB = '10000000000'

  test('a manifest that is announced with 10 GB is not waited for', async () => {
    const server = await serve((_, response) => {
      response.writeHead(200, { 'content-type': OCI_MANIFEST, 'content-length': TEN_GB })
      response.write('{')
    })
    const repository = makeClient().repository(server.host, 'app')
    const growth = await growthOf(() => failureOf(repository.fetchManifest('1'), 'INVALID_CONTENT'))
    expect(growth).toBeLessThan(64 * MIB)
  })

  test.each(['config', 'layers'] as const)(
    'an image whose %s is 2^53-1 bytes long is refused for want of space, or by its cap',
    async (part) => {
      const huge = { mediaType: OCI_CONFIG, digest: digestOf('huge'), size: Number.MAX_SAFE_INTEGER }
      const manifest = sampleManifest(part === 'config' ? { config: huge } : { layers: [huge] })
      const asked: string[] = []
      const server = await serve((seen, response) => {
        asked.push(`${seen.method} ${seen.path}`)
        if (seen.path.includes('/blobs/')) {
          if (!seen.path.endsWith(digestOf('{}')))
            return void response.writeHead(200, { 'content-length': TEN_GB })
          return void response.end('{}')
        }
        response.writeHead(200, {
          'content-type': manifest.mediaType,
          'docker-content-digest': manifest.digest,
        })
        response.end(seen.method === 'HEAD' ? undefined : manifest.bytes)
      })
      const folder = scratch()
      const output = join(folder, 'out.tar')
      const registries = { plainHttp: [server.host] }
      const growth = await growthOf(() =>
        pack({ images: [`${server.host}/app:1`], output, key: 'unsigned', registries }).then(
          () => expect.unreachable(),
          (error: { code: string }) =>
            expect(error).toMatchObject({ code: part === 'layers' ? 'DISK_FULL' : 'UNSUPPORTED_CONTENT' }),
        ),
      )
      expect(growth).toBeLessThan(64 * MIB)
      expect(asked.some((line) => line.endsWith(huge.digest))).toBe(false)
      expect(readdirSync(folder)).toEqual([])
    },
  )

  test('a small blob whose descriptor says 2^53-1 is not asked for', async () => {
    const server = await serve((_, response) => void response.end('{}'))
    const repository = makeClient().repository(server.host, 'app')
    const descriptor = { digest: digestOf('{}'), size: Number.MAX_SAFE_INTEGER }
    await failureOf(repository.fetchSmallBlob(descriptor, 8 * MIB), 'INVALID_CONTENT')
    expect(server.seen).toEqual([])
  })

  test('sizes beyond what is exact, negative ones and fractions are no sizes', () => {
    for (const size of ['9007199254740992', '1e400', '-1', '0.5', '"1"', 'null']) {
      const text = `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"${digestOf('x')}","size":${size}},"layers":[]}`
      expect(() => parseManifest(Buffer.from(text), 'x')).toThrow(/x/)
    }
  })
})

describe('[duty: bounded] a walk ends', () => {
  /** Documents that no registry can have, because a digest in a circle cannot be computed; a walk ends all the same. */
  function liar(children: (digest: Digest) => Digest[]): {
    load: (d: Pick<Descriptor, 'digest'>) => Promise<ManifestOrIndex>
    loads: () => number
  } {
    let loads = 0
    return {
      loads: () => loads,
      load: async ({ digest }) => {
        loads += 1
        const manifests = children(digest).map((child) => ({ mediaType: OCI_INDEX, digest: child, size: 1 }))
        return { kind: 'index', mediaType: OCI_INDEX, bytes: Buffer.alloc(1), digest, manifests }
      },
    }
  }
  const root = { mediaType: OCI_INDEX, digest: digestOf('0'), size: 1 }

  test('in a circle, each thing once', async () => {
    const ring = [digestOf('0'), digestOf('1'), digestOf('2')]
    const { load, loads } = liar(() => ring)
    const closure = await closureOf(root, load, 'x')
    expect([...closure.documents.keys()].toSorted()).toEqual(ring.toSorted())
    expect(loads()).toBe(3)
  })

  test('with a next one each time, at a depth', async () => {
    const { load, loads } = liar((digest) => [digestOf(digest)])
    await failureOf(closureOf(root, load, 'x'), 'INVALID_CONTENT')
    expect(loads()).toBeLessThan(20)
  })

  test('a registry that nests indexes without end is refused before anything is written', async () => {
    const documents = new Map<string, Buffer>()
    let child: Descriptor = {
      mediaType: OCI_MANIFEST,
      digest: sampleManifest().digest,
      size: sampleManifest().bytes.length,
    }
    documents.set(child.digest, sampleManifest().bytes)
    for (let depth = 0; depth < 40; depth += 1) {
      const bytes = Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child] }),
      )
      child = { mediaType: OCI_INDEX, digest: digestOf(bytes), size: bytes.length }
      documents.set(child.digest, bytes)
    }
    const top = child.digest
    const server = await serve((seen, response) => {
      const ref = seen.path.split('/').at(-1) ?? ''
      const bytes = documents.get(ref === '1' ? top : ref)
      if (!bytes) return json(response, 404, {})
      const isManifest = ref === sampleManifest().digest
      response.writeHead(200, { 'content-type': isManifest ? OCI_MANIFEST : OCI_INDEX })
      response.end(seen.method === 'HEAD' ? undefined : bytes)
    })
    const folder = scratch()
    const registries = { plainHttp: [server.host] }
    const action = pack({
      images: [`${server.host}/app:1`],
      output: join(folder, 'out.tar'),
      key: 'unsigned',
      registries,
    })
    const error = await failureOf(action, 'UNSUPPORTED_CONTENT')
    expect(error.message).toContain('nested deeper than')
    expect(server.seen.length).toBeLessThan(20)
    expect(readdirSync(folder)).toEqual([])
  })
})
