import { cosignTag, SIGNATURE_ANNOTATION, SIMPLE_SIGNING } from '../../oci/cosign.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import type { Repository } from '../../registry/repository.ts'
import {
  isImageSignature,
  MAX_PAYLOAD,
  signImage,
  simpleSigningPayload,
} from '../../trust/image-signature/cosign.ts'
import type { PublicKey, SigningKey } from '../../trust/keys.ts'
import { addToCosignTag, readCosignTag } from '../cosign-tag.ts'
import { isUnusable, putSmallBlob, sendSmallBlob } from '../small-blob.ts'

/** The most layers with our payload to check: somebody can have put any number there. */
const MAX_ALIKE = 1000
/** The most layers with other payloads to check, each of which takes a request. */
const MAX_OTHERS = 50

/**
 * Which of the references already have a signature by the key for this digest.
 * @throws AirgapError `REGISTRY` if the tag for signatures is something else, and the errors of any request.
 */
export async function findCosignSignatures(
  repository: Repository,
  digest: Digest,
  references: readonly string[],
  key: PublicKey,
  signal?: AbortSignal,
): Promise<Set<string>> {
  const there = await readCosignTag(repository, cosignTag(digest, 'sig'), signal)
  const found = new Set<string>()
  for (const reference of references) {
    const image = { reference, digest }
    const layers = (there?.layers ?? []).filter(isSignatureLayer)
    const own = simpleSigningPayload(image)
    const alike = layers.filter((layer) => layer.digest === digestOf(own)).slice(0, MAX_ALIKE)
    if (
      alike.some((layer) => isImageSignature({ payload: own, signature: signatureOf(layer) }, image, key))
    ) {
      // The signature is in the layer's annotation. If the registry has lost the blob, send it again.
      if (!(await payloadOf(repository, alike[0], signal))) await sendSmallBlob(repository, own, signal)
      found.add(reference)
      continue
    }
    const others = layers.filter((layer) => layer.digest !== digestOf(own)).slice(0, MAX_OTHERS)
    for (const layer of others) {
      const payload = await payloadOf(repository, layer, signal)
      if (!payload || !isImageSignature({ payload, signature: signatureOf(layer) }, image, key)) continue
      found.add(reference)
      break
    }
  }
  return found
}

/** Signs a digest for each of the references, and puts the signatures under the tag where cosign looks for them. */
export async function addCosignSignatures(
  repository: Repository,
  digest: Digest,
  references: readonly string[],
  key: SigningKey,
  signal?: AbortSignal,
): Promise<void> {
  const layers: Descriptor[] = []
  for (const reference of references) {
    const { payload, signature } = await signImage({ reference, digest }, key)
    const blob = await putSmallBlob(repository, payload, SIMPLE_SIGNING, signal)
    layers.push({ ...blob, annotations: { [SIGNATURE_ANNOTATION]: signature } })
  }
  await addToCosignTag(repository, cosignTag(digest, 'sig'), layers, signal)
}

function isSignatureLayer(layer: Descriptor): boolean {
  return layer.mediaType === SIMPLE_SIGNING && layer.size <= MAX_PAYLOAD && signatureOf(layer) !== ''
}

function signatureOf({ annotations }: Descriptor): string {
  return annotations?.[SIGNATURE_ANNOTATION] ?? ''
}

/** @returns undefined if the blob is missing or does not match the layer. */
async function payloadOf(
  repository: Repository,
  layer: Descriptor | undefined,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  if (!layer) return undefined
  try {
    return await repository.fetchSmallBlob(layer, MAX_PAYLOAD, signal)
  } catch (error) {
    if (isUnusable(error)) return undefined
    throw error
  }
}
