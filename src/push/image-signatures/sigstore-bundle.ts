import { COSIGN_SIGN_PREDICATE } from '../../oci/cosign.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import { parseManifest, type Descriptor } from '../../oci/manifest.ts'
import { OCI_MANIFEST } from '../../oci/media-types.ts'
import type { Repository } from '../../registry/repository.ts'
import {
  isDigestSignature,
  signDigest,
  SIGSTORE_BUNDLE_TYPE,
} from '../../trust/image-signature/sigstore-bundle.ts'
import { BUNDLE_JSON_LIMIT } from '../../trust/key-bundle.ts'
import type { PublicKey, SigningKey } from '../../trust/keys.ts'
import type { DocumentNode } from '../../content/graph.ts'
import { isUnusable, putSmallBlob } from '../small-blob.ts'
import { formatMoment } from '../../bytes.ts'

/** OCI image-spec manifest.md § Guidance for an Empty Descriptor. */
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json'
const PREDICATE_ANNOTATION = 'dev.sigstore.bundle.predicateType'
/** The most bundles to check, each with two requests: somebody can have put any number there. */
const MAX_CANDIDATES = 100

/**
 * Whether a Sigstore bundle with a signature by the key for this digest already refers to it.
 * @throws AirgapError the errors of any request.
 */
export async function findBundleSignature(
  repository: Repository,
  digest: Digest,
  key: PublicKey,
  signal?: AbortSignal,
): Promise<boolean> {
  const all = await repository.referrers(digest, signal)
  for (const candidate of all.filter(mayBeSignature).slice(0, MAX_CANDIDATES)) {
    const json = await bundleIn(repository, candidate, signal)
    if (json && isDigestSignature(json, digest, key)) return true
  }
  return false
}

/** Whether an entry of the list can be a signature. Missing fields exclude nothing. */
function mayBeSignature({ artifactType, annotations }: Descriptor): boolean {
  if (artifactType !== undefined && artifactType !== SIGSTORE_BUNDLE_TYPE) return false
  const predicate = annotations?.[PREDICATE_ANNOTATION]
  return predicate === undefined || predicate === COSIGN_SIGN_PREDICATE
}

/** @returns the Sigstore bundle in a manifest; undefined if it holds none or is missing. */
async function bundleIn(
  repository: Repository,
  { digest }: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  try {
    const document = await repository.fetchManifest(digest, signal)
    if (document.kind !== 'manifest') return undefined
    const [layer, ...others] = document.layers
    if (layer?.mediaType !== SIGSTORE_BUNDLE_TYPE || others.length > 0) return undefined
    return await repository.fetchSmallBlob(layer, BUNDLE_JSON_LIMIT, signal)
  } catch (error) {
    if (isUnusable(error)) return undefined
    throw error
  }
}

/**
 * Signs a digest, and puts the Sigstore bundle as a manifest that refers to it, in the form that cosign 3 writes. If the
 * registry does not list referrers, the fallback tag for that list is updated.
 */
export async function addBundleSignature(
  repository: Repository,
  subject: Pick<DocumentNode, 'mediaType' | 'digest' | 'size'>,
  key: SigningKey,
  signal?: AbortSignal,
): Promise<void> {
  const json = await signDigest(subject.digest, key)
  const layer = await putSmallBlob(repository, json, SIGSTORE_BUNDLE_TYPE, signal)
  const config = await putSmallBlob(repository, Buffer.from('{}'), EMPTY_TYPE, signal)
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { ...config, artifactType: SIGSTORE_BUNDLE_TYPE },
      layers: [layer],
      annotations: {
        'dev.sigstore.bundle.content': 'dsse-envelope',
        [PREDICATE_ANNOTATION]: COSIGN_SIGN_PREDICATE,
        'org.opencontainers.image.created': formatMoment(Date.now()),
      },
      subject: { mediaType: subject.mediaType, size: subject.size, digest: subject.digest },
      artifactType: SIGSTORE_BUNDLE_TYPE,
    }),
  )
  const document = parseManifest(bytes, `the signature of ${subject.digest}`, OCI_MANIFEST)
  await repository.putManifest(digestOf(bytes), document, signal)
  await repository.ensureReferrer(document, signal)
}
