import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { formatChecksums } from '../../src/bundle/checksums.ts'
import { BUNDLE_TYPE, serializeDescription, type ImageEntry } from '../../src/bundle/description.ts'
import { indexJson, OCI_LAYOUT_BYTES } from '../../src/bundle/layout.ts'
import { blobName, CHECKSUMS, DESCRIPTION, INDEX, OCI_LAYOUT } from '../../src/bundle/names.ts'
import { encodeHeader, END_SIZE, paddingLength } from '../../src/bundle/tar.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { MAX_MANIFEST_SIZE } from '../../src/oci/manifest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'

/*
 * Content that is made to fill the memory of whoever reads it: as many manifests as one likes, each as large as one may
 * be. They are made when they are asked for, and never held together.
 */

const CONFIG = Buffer.from('{}')
const CONFIG_DESCRIPTOR = {
  mediaType: 'application/vnd.example.config',
  digest: digestOf(CONFIG),
  size: CONFIG.length,
}

/** The `number`th manifest of exactly `size` bytes; its config and no layer stand behind it. */
export function hugeManifest(number: number, size = MAX_MANIFEST_SIZE): Buffer {
  const bytes = Buffer.alloc(size, 'x')
  const layout = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: CONFIG_DESCRIPTOR, layers: [] }
  const start = JSON.stringify({ ...layout, annotations: { number: String(number), filler: '' } }).slice(
    0,
    -3,
  )
  bytes.write(start, 0)
  bytes.write('"}}', size - 3)
  return bytes
}

interface Child {
  mediaType: string
  digest: Digest
  size: number
}

function children(count: number, size?: number): Child[] {
  return Array.from({ length: count }, (_, i) => {
    const bytes = hugeManifest(i, size)
    return { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length }
  })
}

/**
 * Writes an unsigned bundle that agrees in everything: of `count` huge manifests, each an image of its own, and all of
 * them children of one more image, `example.test/huge:all`.
 */
export async function writeHugeBundle(path: string, count: number): Promise<void> {
  const all = children(count)
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: all }))
  const entryOf = (source: string, root: Child, size: number): ImageEntry => ({
    source,
    resolvedFrom: 'source',
    sourceDigest: root.digest,
    digest: root.digest,
    mediaType: root.mediaType,
    kind: 'artifact',
    platforms: [],
    size,
    from: 'argument',
  })
  const bytes = all.reduce((sum, { size }) => sum + size, 0)
  const root = { mediaType: OCI_INDEX, digest: digestOf(index), size: index.length }
  const images = [
    ...all.map((one, i) =>
      entryOf(`example.test/huge:${String(i).padStart(4, '0')}`, one, one.size + CONFIG.length),
    ),
    entryOf('example.test/huge:all', root, bytes + index.length + CONFIG.length),
  ]
  const files = [
    [
      DESCRIPTION,
      serializeDescription({
        type: BUNDLE_TYPE,
        formatVersion: '1.0',
        requires: [],
        name: 'huge',
        sequence: 1,
        created: '2026-01-01T00:00:00Z',
        tool: { name: 'airgap', version: '0.1.0' },
        platforms: 'all',
        images,
      }),
    ],
    [OCI_LAYOUT, OCI_LAYOUT_BYTES],
    [INDEX, indexJson(images, (digest) => (digest === root.digest ? root.size : MAX_MANIFEST_SIZE))],
  ] as const
  const makers = new Map<Digest, () => Buffer>(all.map(({ digest }, i) => [digest, () => hugeManifest(i)]))
  makers.set(root.digest, () => index)
  makers.set(CONFIG_DESCRIPTOR.digest, () => CONFIG)
  const blobs = [...makers].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const sums = formatChecksums([
    ...files.map(([name, content]) => [name, digestOf(content)] as const),
    ...blobs.map(([digest]) => [blobName(digest), digest] as const),
  ])
  await using file = await open(path, 'w')
  const write = async (name: string, content: Uint8Array): Promise<void> => {
    await file.writeFile(encodeHeader(name, content.length))
    await file.writeFile(content)
    await file.writeFile(Buffer.alloc(paddingLength(content.length)))
  }
  await write(CHECKSUMS, sums)
  for (const [name, content] of files) await write(name, content)
  for (const [digest, make] of blobs) await write(blobName(digest), make())
  await file.writeFile(Buffer.alloc(END_SIZE))
}

/** A registry on loopback that makes its answers when they are asked for. */
export async function hugeRegistry(handler: RequestListener): Promise<{ host: string } & Disposable> {
  const server = createServer(handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.dispose]: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** `app:1` is an index of huge manifests, the first `made` of which can be had. */
export function indexOfHuge(count: number, made = count): RequestListener {
  const all = children(made)
  const lost = Array.from({ length: count - made }, (_, i) => ({
    mediaType: OCI_MANIFEST,
    digest: digestOf(`lost ${i}`),
    size: MAX_MANIFEST_SIZE,
  }))
  const index = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...all, ...lost] }),
  )
  return (request, response) => {
    const ref = request.url?.split('/').at(-1) ?? ''
    const number = all.findIndex(({ digest }) => digest === ref)
    const found =
      ref === '1' || ref === digestOf(index) ? index : number < 0 ? undefined : hugeManifest(number)
    if (request.url === '/v2/') return void response.end('{}')
    if (!found) return void response.writeHead(404).end('{}')
    const type = found === index ? OCI_INDEX : OCI_MANIFEST
    response.writeHead(200, {
      'content-type': type,
      'content-length': found.length,
      'docker-content-digest': digestOf(found),
    })
    response.end(request.method === 'HEAD' ? undefined : found)
  }
}

/** `app:1` is a small artifact, and what refers to it is listed on as many pages as one asks for, each as large as may be. */
export function hugeReferrers(pages: number): RequestListener {
  const image = hugeManifest(0, 1024)
  const entry = (page: number): string =>
    JSON.stringify({
      mediaType: OCI_MANIFEST,
      digest: digestOf(`referrer ${page}`),
      size: 1000,
      annotations: { filler: '' },
    }).slice(0, -3)
  return (request, response) => {
    const url = new URL(request.url ?? '', 'http://x')
    if (url.pathname.includes('/referrers/')) {
      const page = Number(url.searchParams.get('page') ?? 1)
      const bytes = Buffer.alloc(MAX_MANIFEST_SIZE, 'x')
      bytes.write(`{"schemaVersion":2,"mediaType":"${OCI_INDEX}","manifests":[${entry(page)}`, 0)
      bytes.write('"}}]}', bytes.length - 5)
      const next = page < pages ? { link: `<${url.pathname}?page=${page + 1}>; rel="next"` } : {}
      response.writeHead(200, { 'content-type': OCI_INDEX, ...next })
      return void response.end(bytes)
    }
    const ref = url.pathname.split('/').at(-1)
    if (url.pathname === '/v2/') return void response.end('{}')
    if (ref !== '1' && ref !== digestOf(image)) {
      if (url.pathname.includes('/blobs/')) return void response.end(CONFIG)
      return void response.writeHead(404).end('{}')
    }
    response.writeHead(200, {
      'content-type': OCI_MANIFEST,
      'content-length': image.length,
      'docker-content-digest': digestOf(image),
    })
    response.end(request.method === 'HEAD' ? undefined : image)
  }
}
