import { SIMPLE_SIGNING } from '../../oci/cosign.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../../oci/manifest.ts'
import { BUNDLE_MEDIA_TYPES } from '../bundle-types.ts'
import type { Refused } from '../identity/certificate-bundle.ts'
import { BUNDLE_JSON_LIMIT } from '../key-bundle.ts'
import { MAX_PAYLOAD } from './simple-signing.ts'

/** cosign's payload, whose signature stands in the layer's annotations; or a Sigstore bundle. */
export type SignatureForm = 'simple-signing' | 'sigstore-bundle'

/** A layer that may be a signature; nothing of it has been verified. */
export interface SignatureLayer {
  form: SignatureForm
  descriptor: Descriptor
}

/** Signatures that one manifest may hold. Kubernetes' images have some twenty, one for each of its mirrors. */
export const MAX_SIGNATURES = 256

const FORMS: ReadonlyMap<string, SignatureForm> = new Map<string, SignatureForm>([
  [SIMPLE_SIGNING, 'simple-signing'],
  ...BUNDLE_MEDIA_TYPES.map((type) => [type, 'sigstore-bundle'] as const),
])

/** The most that a signature of each form may take. Bytes. */
export const MAX_LAYER: Record<SignatureForm, number> = {
  'simple-signing': MAX_PAYLOAD,
  'sigstore-bundle': BUNDLE_JSON_LIMIT,
}

/**
 * The layers of a manifest that may be signatures of `subject`: of one that stands under cosign's tag
 * (sigstore/cosign, specs/SIGNATURE_SPEC.md § Storage), or that names the image as its subject (OCI image-spec,
 * manifest.md). None is no fault: other things refer to images, too.
 */
export function signaturesIn(
  document: ManifestOrIndex,
  subject: Digest,
  isTagged: boolean,
): { ok: true; layers: SignatureLayer[] } | Refused {
  const refused = (reason: string): Refused => ({ ok: false, reason })
  if (document.digest === subject) return refused('it is the very image that it should belong to')
  if (document.kind === 'index') return refused('it is an index, and no manifest of signatures')
  if (document.subject ? document.subject.digest !== subject : !isTagged) {
    return refused(`it refers to ${document.subject?.digest ?? 'nothing'}, not to ${subject}`)
  }
  const layers = document.layers.flatMap((descriptor) => {
    const form = FORMS.get(descriptor.mediaType)
    return form ? [{ form, descriptor }] : []
  })
  if (layers.length <= MAX_SIGNATURES) return { ok: true, layers }
  return refused(`it holds ${layers.length} signatures, but at most ${MAX_SIGNATURES} are looked at`)
}
