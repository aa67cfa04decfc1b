import type { ImageEntry } from '../../bundle/description.ts'
import type { Digest } from '../../oci/digest.ts'
import { nameOf, parseReference } from '../../oci/reference.ts'
import type { ReferrerChoice } from '../../oci/manifest.ts'
import type { Repository } from '../../registry/repository.ts'
import type { SigningKey } from '../../trust/keys.ts'
import type { DocumentNode } from '../../content/graph.ts'
import { tagFor } from '../names.ts'
import { hasSourceIndex } from '../source-index.ts'
import type { PlannedImage } from '../planned.ts'

/**
 * Where a signature goes: `cosign` under the tag `sha256-<hex>.sig`, which all tools read; `sigstore-bundle` as a
 * Sigstore bundle that refers to the image, as cosign writes it since version 3.
 */
export type ImageSignatureFormat = 'cosign' | 'sigstore-bundle'

/** What images are signed with in the target. */
export interface ImageSigning {
  /** Held inside, and never the bundle's. */
  key: SigningKey
  formats: readonly ImageSignatureFormat[]
}

/**
 * Whether images bring Sigstore bundles along: where any of these refers to an image, cosign 3 looks at no signature of
 * the older layout.
 */
export function bringsBundles(images: readonly { image: ImageEntry }[], choice: ReferrerChoice): boolean {
  const isBundle = ({ artifactType = '' }): boolean =>
    artifactType.startsWith('application/vnd.dev.sigstore.bundle')
  return choice !== 'none' && images.some(({ image }) => image.referrers?.some(isBundle))
}

/** One manifest or index in a repository of the target, which is to have a signature. */
export interface PlannedSignature {
  repository: Repository
  document: DocumentNode
  format: ImageSignatureFormat
  /** The images that it belongs to, and what each says that it is. */
  wanted: readonly { planned: PlannedImage; reference: string }[]
}

/**
 * What is to be signed: the manifest or index that each image is delivered as, and everything below it, each once a
 * repository. containers/image checks the manifest of the platform, others the index; copying all of an image checks
 * the attestations' manifests too.
 */
export function plannedSignatures(
  images: readonly PlannedImage[],
  formats: readonly ImageSignatureFormat[],
): PlannedSignature[] {
  return plannedFor(
    images.filter(({ fault }) => fault === undefined),
    formats,
    ({ graph }) => [...graph.closure.documents.values()],
  )
}

/** The same of the source's own indexes, where only a part is delivered and they are put besides. */
export function sourceIndexSignatures(
  images: readonly PlannedImage[],
  formats: readonly ImageSignatureFormat[],
): PlannedSignature[] {
  return plannedFor(images.filter(hasSourceIndex), formats, ({ image, graph }) =>
    graph.evidence.filter(({ digest }) => digest === image.sourceDigest),
  )
}

function plannedFor(
  images: readonly PlannedImage[],
  formats: readonly ImageSignatureFormat[],
  documentsOf: (planned: PlannedImage) => readonly DocumentNode[],
): PlannedSignature[] {
  const all = new Map<string, PlannedSignature & { wanted: { planned: PlannedImage; reference: string }[] }>()
  for (const planned of images) {
    for (const document of documentsOf(planned)) {
      for (const format of new Set(formats)) {
        const { repository } = planned
        const key = `${repository.name} ${document.digest} ${format}`
        const entry = all.get(key) ?? { repository, document, format, wanted: [] }
        entry.wanted.push({ planned, reference: signedReference(planned) })
        all.set(key, entry)
      }
    }
  }
  return [...all.values()]
}

/**
 * What a signature says that an image is: the name and tag of its source, whatever it is called in the target, so that
 * it holds in every registry that it is copied to, and for nodes that reach it by a mirror. Where the source has a
 * digest alone it is the tag that push gives it: containers/image accepts no reference without a tag for one with a
 * tag, and one with any tag for one by digest.
 */
export function signedReference({ image }: Pick<PlannedImage, 'image'>): string {
  const reference = parseReference(image.source)
  return `${nameOf(reference)}:${tagFor(reference, image.digest)}`
}

/** Names a signature among those of a push; the bundle format names no reference. */
export function signatureKey(
  { name }: Pick<Repository, 'name'>,
  digest: Digest,
  format: ImageSignatureFormat,
  reference: string,
): string {
  return [name, digest, format, ...(format === 'cosign' ? [reference] : [])].join(' ')
}
