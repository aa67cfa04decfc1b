import { open } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { fileError } from '../../../src/errors.ts'
import { resolve } from '../../../src/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { MAX_MANIFEST_SIZE } from '../../../src/oci/manifest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { foreignOrigins } from '../../../src/registry/blobs/download.ts'
import type { Repository } from '../../../src/registry/repository.ts'
import { resolveImages } from '../../../src/pack/resolve-images.ts'
import { json, makeClient, registryError, sampleBytes, serve, type Handler } from '../../support/client.ts'
import type { Case } from './case.ts'

/** What `airgap resolve HOST/library/nginx:1.27.9` comes to. */
function resolving(handler: Handler, tag = '1.27.9'): () => Promise<unknown> {
  return async () => {
    const { host } = await serve(handler)
    const reference = parseReference(`${host}/library/nginx:${tag}`)
    return resolveImages({
      images: [{ reference, from: [] as never }],
      platforms: 'all',
      client: makeClient(),
    })
  }
}

const manifest =
  (bytes: Buffer, type = OCI_MANIFEST): Handler =>
  (_, response) =>
    void response.writeHead(200, { 'content-type': type }).end(bytes)

const withTags =
  (tags: string[] | undefined): Handler =>
  (seen, response) => {
    if (seen.path !== '/v2/library/nginx/tags/list')
      return registryError(response, 404, 'MANIFEST_UNKNOWN', 'no')
    if (tags === undefined) return registryError(response, 404, 'NAME_UNKNOWN')
    return json(response, 200, { name: 'library/nginx', tags })
  }

const blob = sampleBytes(50)

/** What a registry says that has `documents` by tag and digest, and nothing else. */
const having =
  (documents: Record<string, { type: string; bytes: Buffer } | undefined>): Handler =>
  (seen, response) => {
    const found = documents[seen.path.replace(/^.*\/manifests\//, '')]
    if (!found) return registryError(response, 404, 'MANIFEST_UNKNOWN', 'no')
    response.writeHead(200, {
      'content-type': found.type,
      'content-length': found.bytes.length,
      'docker-content-digest': digestOf(found.bytes),
    })
    response.end(seen.method === 'HEAD' ? undefined : found.bytes)
  }

const indexOf = (...manifests: object[]): { type: string; bytes: Buffer } => ({
  type: OCI_INDEX,
  bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })),
})
const listed = { mediaType: OCI_MANIFEST, digest: digestOf('listed'), size: 6 }

export const CONTENT_CASES: Case[] = [
  {
    name: 'an index that lists what is not there',
    provoke: resolving(
      having({ '1.27.9': indexOf({ ...listed, platform: { os: 'linux', architecture: 'arm64' } }) }),
    ),
    says: /^\S+\/nginx:1\.27\.9: its index lists linux\/arm64 \(sha256:[0-9a-f]{64}\), which \S+\/nginx does not have \(404\)$/,
    hints: [/None of its platforms is available/],
  },
  {
    name: 'a tag that leads to what is not there',
    provoke: async () => {
      const source = await serve(having({ '1.27.9': indexOf() }))
      const mirror = await serve(having({}))
      const images = [`${source.host}/library/nginx:1.27.9`]
      return resolve({ images, mirrors: [`${source.host}=${mirror.host}`], retries: 0 })
    },
    says: /^cannot resolve \S+\/nginx:1\.27\.9: the tag exists, but sha256:[0-9a-f]{64}, which it points to, is not available$/,
    hints: [/run the same command again/],
  },
  {
    name: 'a build cache of BuildKit',
    provoke: resolving(
      having({
        '1.27.9': indexOf(
          { ...listed, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
          { ...listed, mediaType: 'application/vnd.buildkit.cacheconfig.v0' },
        ),
      }),
    ),
    says: /^\S+\/nginx:1\.27\.9: it is not an image but a BuildKit cache: /,
    hints: [/--exclude/],
  },
  {
    name: 'content by sha512',
    provoke: resolving(having({ '1.27.9': indexOf({ ...listed, digest: `sha512:${'a'.repeat(128)}` }) })),
    says: /manifests\[0\]\.digest: its algorithm is sha512; only sha256 is supported$/,
    hints: [/newer than what airgap carries/],
  },
  {
    name: 'a foreign layer at an address inside',
    provoke: async () => {
      const source = { registry: '203.0.113.5:5000' } as Repository
      const layer = {
        mediaType: 'a/b',
        digest: digestOf('x'),
        size: 1,
        urls: ['http://169.254.169.254/latest'],
      }
      await foreignOrigins([source], layer, makeClient().shared)[0]!.open(0, undefined)
    },
    says: /foreign layer sha256:[0-9a-f]{64} from http:\/\/169\.254\.169\.254\/latest, which is inside a private network while 203\.0\.113\.5:5000 is not$/,
    hints: [/--mirror/],
  },
  {
    name: 'a redirect to where clouds keep secrets',
    provoke: async () => {
      const { host } = await serve(
        (_, response) =>
          void response.writeHead(307, { location: 'http://169.254.169.254/latest?a=b' }).end(),
      )
      await makeClient().repository(host, 'app').openBlob(digestOf('x'), 0)
    },
    says: /: 169\.254\.169\.254 \(for 127\.0\.0\.1:\d+\): it is a link-local address, where clouds keep the secrets of this machine$/,
    hints: [/Nothing was sent there/],
  },
  {
    name: 'a mistyped tag',
    provoke: resolving(withTags(['1.27.10', '1.27.1', '1.27.0', '1.28-alpine', 'latest', '\u001b[2J'])),
    says: /^cannot fetch the manifest 127\S+\/library\/nginx:1\.27\.9: the registry has no such tag, but it has 1\.27\.0, 1\.27\.1, 1\.27\.10: 127\S+ answers 404 Not Found \("MANIFEST_UNKNOWN: no"\)$/,
    hints: [/spelling/],
  },
  {
    name: 'a tag with nothing near to it',
    provoke: resolving(withTags(['stable', 'edge'])),
    says: /: the registry has no such tag, only stable, edge: 127/,
    hints: [/spelling/],
  },
  {
    name: 'a repository that is not there, from a registry that says so of its tags only',
    provoke: resolving(withTags(undefined)),
    says: /: the registry has no repository of this name: 127\S+ answers 404 Not Found \("MANIFEST_UNKNOWN: no"\)$/,
    hints: [/spelling/],
  },
  {
    name: 'a blob with other bytes',
    provoke: async () => {
      const { host } = await serve((_, response) => void response.end(Buffer.from(blob).fill(0, 20, 30)))
      const client = makeClient()
      await client.repository(host, 'library/nginx').fetchSmallBlob({ digest: digestOf(blob), size: 50 }, 100)
    },
    says: /^cannot fetch the blob sha256:[0-9a-f]{64} of 127\S+\/library\/nginx: its bytes have the digest sha256:[0-9a-f]{64}$/,
    hints: [/^Run the same command again/, /damaged at 127/, /--mirror/],
  },
  {
    name: 'a blob of another length',
    provoke: async () => {
      const { host } = await serve(
        (_, response) => void response.writeHead(200, { 'content-length': 10 }).end(blob.subarray(0, 10)),
      )
      const client = makeClient()
      await client.repository(host, 'library/nginx').fetchSmallBlob({ digest: digestOf(blob), size: 50 }, 100)
    },
    says: /: it has 10 bytes there instead of 50$/,
    hints: [/damaged at 127/],
  },
  {
    name: 'a manifest with other bytes',
    provoke: async () => {
      const { host } = await serve(manifest(Buffer.from('{}')))
      await makeClient().repository(host, 'app').fetchManifest(digestOf(blob))
    },
    says: /: 127\S+ answers with other content, "sha256:[0-9a-f]{64}" instead of sha256:/,
    hints: [/damaged at 127/],
  },
  {
    name: 'a manifest that a proxy has compressed',
    provoke: resolving(
      (_, response) =>
        void response
          .writeHead(200, { 'content-type': OCI_MANIFEST, 'content-encoding': 'gzip' })
          .end(gzipSync('{}')),
    ),
    says: /: what 127\S+ sends comes with Content-Encoding: gzip, although no encoding was requested$/,
    hints: [/proxy in front of 127/, /gzip off/],
  },
  {
    name: 'a blob that a proxy has compressed',
    provoke: async () => {
      const { host } = await serve(
        (_, response) => void response.writeHead(200, { 'content-encoding': 'br' }).end(blob.subarray(0, 40)),
      )
      const client = makeClient({ retry: { attempts: 1 } })
      await client.repository(host, 'library/nginx').fetchSmallBlob({ digest: digestOf('x'), size: 40 }, 100)
    },
    says: /: its bytes have the digest sha256:[0-9a-f]{64}; it comes with Content-Encoding: br, although/,
    hints: [/proxy in front of 127/],
  },
  {
    name: 'schema 1',
    provoke: resolving(
      manifest(
        Buffer.from('{"schemaVersion":1,"name":"x","fsLayers":[]}'),
        'application/vnd.docker.distribution.manifest.v1+prettyjws',
      ),
    ),
    says: /^127\S+\/library\/nginx:1\.27\.9: it is a Docker schema 1 manifest, a format that registries dropped/,
    hints: [/rebuilt or pushed again/],
  },
  {
    name: 'a manifest that is too large',
    provoke: resolving((_, response) => {
      response.writeHead(200, { 'content-type': OCI_MANIFEST, 'content-length': MAX_MANIFEST_SIZE + 1 })
      response.end(Buffer.alloc(1000, ' '))
    }),
    says: /\/library\/nginx:1\.27\.9: its manifest is larger than 8388608 bytes$/,
    hints: [/the name of an image/],
  },
  {
    name: 'a registry that is none',
    provoke: async () => {
      const { host } = await serve((_, response) => void response.writeHead(404).end('<html>'))
      await makeClient().ping(host, `log in to ${host}`)
    },
    says: /^cannot log in to 127\S+: 127\S+ is not a registry: it answers \/v2\/ with 404 Not Found$/,
    hints: [/host and port/],
  },
  {
    name: 'a full disk here',
    provoke: async () => {
      const file = await open('/dev/full', 'w')
      try {
        await file.write(Buffer.alloc(10))
      } catch (error) {
        throw fileError(error, 'write', '/dev/full')
      } finally {
        await file.close()
      }
    },
    says: /^cannot write \/dev\/full: the disk is full \(ENOSPC\); the file system at \/\S* has [0-9,]+ MB of [0-9,]+ MB free/,
    hints: [/Free some space/],
  },
]
