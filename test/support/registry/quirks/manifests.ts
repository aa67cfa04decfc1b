import { isImageConfigType, isIndexType, OCI_INDEX, OCI_MANIFEST } from '../../../../src/oci/media-types.ts'
import { fault, type Reply } from '../../../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from '../registry.ts'
import type { Quirk } from '../quirks.ts'
import type { QuirkPart } from './part.ts'

const BLANKS = Buffer.alloc(64 * 1024, ' ')
/** Bytes. */
const SMALL_LIMIT = 1024
const READ_LIMIT = 8 * 1024 * 1024
const SCHEMA_1 = Buffer.from(
  JSON.stringify({
    schemaVersion: 1,
    name: 'library/old',
    tag: '1',
    architecture: 'amd64',
    fsLayers: [],
    history: [],
    signatures: [],
  }),
)

const REFUSING: readonly Quirk[] = [
  'media-type-required',
  'artifacts-refused',
  'docker-types-refused',
  'nested-index-refused',
]

const WITHOUT_REFERRERS: readonly Quirk[] = [
  'no-referrers',
  'referrers-401',
  'referrers-redirect',
  'fallback-tag-is-subject',
]

/** Manifests and what refers to them, both ways. */
export function manifestQuirks(on: ReadonlySet<Quirk>, redirectTo: string | undefined): QuirkPart {
  const hasReferrers = !WITHOUT_REFERRERS.some((quirk) => on.has(quirk))
  return {
    async inside(request) {
      const { route, method } = request
      if (route.kind === 'referrers') {
        if (on.has('referrers-401')) return fault(401, 'UNAUTHORIZED', 'unauthorized: resource not found')
        if (on.has('referrers-redirect')) {
          const Location = `${redirectTo}/-/referrers`
          return { status: 303, headers: { Location, 'Content-Length': '0' } }
        }
        if (!hasReferrers) return fault(404, 'UNSUPPORTED', '404 page not found')
      }
      if (route.kind === 'tags') {
        if (on.has('no-tag-list')) return fault(404, 'UNSUPPORTED', '404 page not found')
        if (on.has('partial-tag-list')) {
          const body = Buffer.from(JSON.stringify({ name: route.repository, tags: ['other'] }))
          return { status: 200, headers: { 'Content-Type': 'application/json' }, body }
        }
      }
      if (route.kind !== 'manifest') return undefined
      if (method === 'PUT') return refusal(request)
      if (method === 'GET' && on.has('endless-body')) {
        return { status: 200, headers: { 'Content-Type': 'application/json' }, body: endless }
      }
      const subject = /^sha256-([0-9a-f]{64})$/.exec(route.reference)?.[1]
      if (subject !== undefined && on.has('fallback-tag-is-subject')) {
        request.route = { ...route, reference: `sha256:${subject}` }
      }
      return undefined
    },

    after(request, reply) {
      const { headers } = reply
      if (!hasReferrers) delete headers['OCI-Subject']
      if (reply.content?.kind !== 'manifest') return reply
      if (on.has('no-content-type')) delete headers['Content-Type']
      if (on.has('wrong-content-type')) {
        headers['Content-Type'] = headers['Content-Type'] === OCI_INDEX ? OCI_MANIFEST : OCI_INDEX
      }
      if (request.method === 'HEAD') {
        if (on.has('head-no-length')) delete headers['Content-Length']
        return reply
      }
      if (on.has('schema-1')) {
        headers['Content-Type'] = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
        return withBody(reply, SCHEMA_1)
      }
      const bytes = reply.body as Uint8Array
      if (on.has('ambiguous-manifest')) return withBody(reply, bothKinds(bytes))
      return on.has('corrupt-manifest') ? withBody(reply, withOtherDigest(bytes)) : reply
    },
  }

  async function refusal(request: EmbeddedRequest): Promise<Reply | undefined> {
    if (on.has('manifest-413') && Number(request.headers['content-length'] ?? 0) > SMALL_LIMIT) {
      return fault(413, 'SIZE_INVALID', 'request entity too large')
    }
    if (!REFUSING.some((quirk) => on.has(quirk))) return undefined
    const chunks = (await request.readBody(READ_LIMIT)) ?? []
    request.readBody = async () => chunks
    const { mediaType, config, manifests } = JSON.parse(Buffer.concat(chunks).toString()) as {
      mediaType?: unknown
      config?: { mediaType: string }
      manifests?: { mediaType: string }[]
    }
    const type = request.headers['content-type'] ?? ''
    if (on.has('docker-types-refused') && type.startsWith('application/vnd.docker.')) {
      return fault(415, 'MANIFEST_INVALID', 'manifest invalid')
    }
    if (on.has('nested-index-refused') && manifests?.some((child) => isIndexType(child.mediaType))) {
      return fault(400, 'MANIFEST_INVALID', '')
    }
    if (on.has('artifacts-refused') && config && !isImageConfigType(config.mediaType)) {
      return fault(400, 'MANIFEST_INVALID', `unknown media type: ${config.mediaType}`)
    }
    if (mediaType !== undefined || !on.has('media-type-required')) return undefined
    return fault(
      405,
      'UNSUPPORTED',
      "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
    )
  }
}

function withBody(reply: Reply, body: Uint8Array): Reply {
  return { ...reply, headers: { ...reply.headers, 'Content-Length': String(body.length) }, body }
}

function bothKinds(bytes: Uint8Array): Buffer {
  const document = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>
  return Buffer.from(JSON.stringify({ ...document, layers: [], manifests: [] }))
}

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield BLANKS
}

function withOtherDigest(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.from(bytes)
  const at = copy.indexOf('sha256:') + 'sha256:'.length
  copy[at] = copy[at] === 0x30 ? 0x31 : 0x30
  return copy
}
