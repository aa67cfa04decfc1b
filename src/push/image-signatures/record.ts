import type { Digest } from '../../oci/digest.ts'
import type { Repository } from '../../registry/repository.ts'
import type { Receipt } from '../receipt.ts'
import {
  plannedSignatures,
  signatureKey,
  signedReference,
  sourceIndexSignatures,
  type ImageSignatureFormat,
  type ImageSigning,
  type PlannedSignature,
} from './plan.ts'
import type { PlannedImage } from '../planned.ts'

type SignatureState = 'signed' | 'present' | 'not-signed'

/** Records the outcome of each signature during a push. */
export class SignatureRecord {
  readonly #states = new Map<string, SignatureState>()
  readonly #signing: ImageSigning | undefined
  readonly #hasSourceIndexes: boolean

  constructor(signing: ImageSigning | undefined, hasSourceIndexes: boolean) {
    this.#signing = signing
    this.#hasSourceIndexes = hasSourceIndexes
  }

  set(
    repository: Repository,
    digest: Digest,
    format: ImageSignatureFormat,
    reference: string,
    state: SignatureState,
  ): void {
    this.#states.set(signatureKey(repository, digest, format, reference), state)
  }

  /** For the receipt; empty if images are not signed. */
  summary(): Pick<Receipt, 'imageSigning'> {
    return this.#signing ? { imageSigning: signingFields(this.#signing) } : {}
  }

  /** For an image in the receipt; empty if images are not signed. */
  of(planned: PlannedImage): Pick<Receipt['images'][number], 'imageSignatures'> {
    if (!this.#signing) return {}
    const { key } = this.#signing
    const imageSignatures = signaturesOf(planned, this.#signing.formats, this.#hasSourceIndexes).map(
      ({ repository, document: { digest }, format }) => {
        const reference = signedReference(planned)
        const outcome = this.#states.get(signatureKey(repository, digest, format, reference)) ?? 'not-signed'
        return Object.assign(signatureFields(digest, format, reference, key.publicKey.fingerprint), {
          outcome,
        })
      },
    )
    return { imageSignatures }
  }
}

/** What to sign for one image. */
export function signaturesOf(
  planned: PlannedImage,
  formats: readonly ImageSignatureFormat[],
  hasSourceIndexes: boolean,
): PlannedSignature[] {
  return [
    ...plannedSignatures([planned], formats),
    ...(hasSourceIndexes ? sourceIndexSignatures([planned], formats) : []),
  ]
}

export function signingFields({ key, formats }: ImageSigning): {
  keyFingerprint: string
  formats: ImageSignatureFormat[]
} {
  return { keyFingerprint: key.publicKey.fingerprint, formats: [...new Set(formats)] }
}

/** The fields of a signature in receipt and plan. The format sigstore-bundle has no reference. */
export function signatureFields(
  digest: Digest,
  format: ImageSignatureFormat,
  reference: string,
  keyFingerprint: string,
): { digest: Digest; format: ImageSignatureFormat; reference?: string; keyFingerprint: string } {
  return { digest, format, ...(format === 'cosign' ? { reference } : {}), keyFingerprint }
}
