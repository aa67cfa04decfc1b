import { AirgapError } from '../../errors.ts'
import { DOCKER_LIST, DOCKER_MANIFEST, isImageConfigType, OCI_INDEX } from '../../oci/media-types.ts'
import { answerOf, codesOf } from '../faults/answer.ts'
import type { Answer } from '../net/connection.ts'
import type { Context } from '../notices.ts'

import { failure } from '../net/http.ts'
import type { Hints } from '../../hints.ts'

/** Most registries accept no more than this; the specification demands at least this. Bytes. */
const USUAL_LIMIT = 4 * 1024 * 1024

/** Statuses with which registries refuse what a manifest states or leaves out. */
const NOT_LIKED = new Set([400, 405, 415, 422])
/** The error codes that come with them; any other code means another reason. */
const VAGUE = new Set(['MANIFEST_INVALID', 'UNSUPPORTED', 'UNKNOWN', ''])

/** The error for a refused manifest, with an explanation if the manifest itself shows the reason. */
export async function manifestRefusal(
  answer: Answer,
  bytes: Uint8Array,
  context: Context,
): Promise<AirgapError> {
  const error = await failure(answer, answer.auth, context)
  const { status } = answer
  const explained = (message: string, hint: Hints): AirgapError =>
    new AirgapError(error.code, message, { hint, cause: error })
  if (status === 413 || (status === 400 && bytes.length > USUAL_LIMIT)) {
    return explained(`${error.message}; the manifest has ${bytes.length} bytes`, [
      'Registries usually accept 4 MiB, and a proxy in front may accept less (nginx: client_max_body_size 0). A manifest cannot be sent in parts: have the limit raised, or do without the image.',
      { id: 'exclude-image' },
    ])
  }
  const isVague = codesOf(error).every((code) => VAGUE.has(code))
  const members = membersOf(bytes)
  const { mediaType, layers } = members
  if (((status === 400 && isVague) || status === 500) && hasForeignLayers(layers)) {
    // Seen with docker-registry 2.8 and distribution 3: 500 to every manifest with foreign layers, whether the
    // blobs are there or not.
    const foreign = explained(
      error.message,
      'The manifest has layers with "urls" (foreign layers). docker-registry accepts such manifests only if its configuration permits the addresses: validation.manifests.urls.allow',
    )
    return status === 500 ? foreign.with({ transience: { attempts: 2 } }) : foreign
  }
  if (NOT_LIKED.has(status) && isVague && mediaType === undefined) {
    return explained(
      `${error.message}; the manifest does not state its own mediaType, and some registries refuse that`,
      [
        'The OCI specification allows that, but Amazon ECR, among others, refuses it. It cannot be added here: with other bytes the manifest would have another digest. Build the image again with a tool that writes mediaType, use another registry, or do without the image.',
        { id: 'exclude-image' },
      ],
    )
  }
  const hint = NOT_LIKED.has(status) && isVague ? kindHint(members) : undefined
  if (hint !== undefined) return explained(error.message, hint)
  if (NOT_LIKED.has(status) && TYPES.test(answerOf(error)?.text ?? '')) {
    return explained(error.message, CERTAIN_KINDS)
  }
  return error
}

/** The words of GitLab and Amazon ECR for types that they do not know. */
const TYPES = /unknown media ?type|'ImageManifest'/i

const CERTAIN_KINDS: Hints = [
  'Some registries only accept certain kinds of artifacts (Amazon ECR, GitLab) and refuse signatures, attestations and charts of other kinds. Have the kind allowed there, use another registry, or do without the image.',
  { id: 'exclude-image' },
]

/** The hint for a manifest refused because of its kind; undefined for ordinary images and indexes. */
function kindHint({ mediaType, manifests, config, artifactType, subject }: Members): Hints | undefined {
  if (mediaType === DOCKER_MANIFEST || mediaType === DOCKER_LIST) {
    return 'It is a Docker manifest (schema 2), and the registry seems to accept only OCI manifests. zot accepts both if its configuration has "http": {"compat": ["docker2s2"]}. It cannot be converted here: with other bytes it would have another digest.'
  }
  const children = Array.isArray(manifests) ? (manifests as ({ mediaType?: unknown } | null)[]) : []
  if (children.some((child) => child?.mediaType === OCI_INDEX || child?.mediaType === DOCKER_LIST)) {
    return [
      'It is an index that lists another index, which some registries refuse (Gitea). Use another registry, or do without the image.',
      { id: 'exclude-image' },
    ]
  }
  const configType = (config as { mediaType?: unknown } | null | undefined)?.mediaType
  const isArtifact =
    artifactType !== undefined ||
    subject !== undefined ||
    (typeof configType === 'string' && !isImageConfigType(configType))
  return isArtifact ? CERTAIN_KINDS : undefined
}

interface Members {
  mediaType?: unknown
  layers?: unknown
  manifests?: unknown
  config?: unknown
  artifactType?: unknown
  subject?: unknown
}

function membersOf(bytes: Uint8Array): Members {
  try {
    return (JSON.parse(Buffer.from(bytes).toString('utf8')) ?? {}) as object
  } catch {
    // Not JSON, so no members; the registry's own words say the rest.
    return { mediaType: '' }
  }
}

function hasForeignLayers(layers: unknown): boolean {
  if (!Array.isArray(layers)) return false
  return (layers as ({ urls?: unknown } | null)[]).some(
    (layer) => Array.isArray(layer?.urls) && layer.urls.length > 0,
  )
}
