import { AirgapError } from '../../errors.ts'
import { DOCKER_LIST, DOCKER_MANIFEST, isImageConfigType, OCI_INDEX } from '../../oci/media-types.ts'
import { answerOf, codesOf } from '../faults/answer.ts'
import type { Answer } from '../net/connection.ts'
import type { Context } from '../notices.ts'

import { failure } from '../net/http.ts'
import type { Hints } from '../../hints.ts'

/** What most registries take at most, and what the specification has them take at least. Bytes. */
const USUAL_LIMIT = 4 * 1024 * 1024

/** Answers by which registries say that they do not want what a document states, or leaves out. */
const NOT_LIKED = new Set([400, 405, 415, 422])
/** The codes that go with them; any other names another reason. */
const VAGUE = new Set(['MANIFEST_INVALID', 'UNSUPPORTED', 'UNKNOWN', ''])

/** What a registry's refusal of a manifest means, as far as the manifest itself shows why. */
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
      'Registries take 4 MiB as a rule, and a proxy in front may take less (nginx: client_max_body_size 0). A manifest cannot be sent in parts: have the limit raised, or do without the image.',
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
      'The manifest has layers with "urls" (foreign layers). docker-registry takes such manifests only if its configuration permits the addresses: validation.manifests.urls.allow',
    )
    return status === 500 ? foreign.with({ transience: { attempts: 2 } }) : foreign
  }
  if (NOT_LIKED.has(status) && isVague && mediaType === undefined) {
    return explained(
      `${error.message}; the manifest does not state its own mediaType, and some registries refuse such ones`,
      [
        'The OCI specification allows that, and Amazon ECR, among others, refuses it. It cannot be added here: with other bytes the manifest would have another digest. Build the image again with a tool that writes mediaType, use another registry, or do without the image.',
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

/** By these words registries refuse types that they do not know: GitLab's, and Amazon ECR's. */
const TYPES = /unknown media ?type|'ImageManifest'/i

const CERTAIN_KINDS: Hints = [
  'Some registries take only certain kinds of artifacts (Amazon ECR, GitLab) and refuse signatures, attestations and charts of other kinds. Have the kind allowed there, use another registry, or do without the image.',
  { id: 'exclude-image' },
]

/** What helps where a registry refuses a manifest for what it is; undefined for images and indexes as all know them. */
function kindHint({ mediaType, manifests, config, artifactType, subject }: Members): Hints | undefined {
  if (mediaType === DOCKER_MANIFEST || mediaType === DOCKER_LIST) {
    return 'It is a Docker manifest (schema 2), and the registry seems to take OCI manifests only. zot takes both when its configuration has "http": {"compat": ["docker2s2"]}. It cannot be converted here: with other bytes it would have another digest.'
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
    // What is not JSON has no members; the registry's own words say the rest.
    return { mediaType: '' }
  }
}

function hasForeignLayers(layers: unknown): boolean {
  if (!Array.isArray(layers)) return false
  return (layers as ({ urls?: unknown } | null)[]).some(
    (layer) => Array.isArray(layer?.urls) && layer.urls.length > 0,
  )
}
