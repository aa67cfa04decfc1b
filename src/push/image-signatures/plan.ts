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
 * Where a signature goes. `cosign`: under the tag `sha256-<hex>.sig`, which all tools read. `sigstore-bundle`: a Sigstore
 * bundle that refers to the image, which cosign writes since version 3.
 */
export type ImageSignatureFormat = 'cosign' | 'sigstore-bundle'

/** How to sign images in the target. */
export interface ImageSigning {
  /** A key that is held inside, never that of the bundle. */
  key: SigningKey
  formats: readonly ImageSignatureFormat[]
}

/**
 * Whether images have Sigstore bundles as referrers: for such images cosign 3 ignores signatures of the older format.
 */
export function bringsBundles(images: readonly { image: ImageEntry }[], choice: ReferrerChoice): boolean {
  const isBundle = ({ artifactType = '' }): boolean =>
    artifactType.startsWith('application/vnd.dev.sigstore.bundle')
  return choice !== 'none' && images.some(({ image }) => image.referrers?.some(isBundle))
}

/** A manifest or index in a repository of the target that needs a signature. */
export interface PlannedSignature {
  repository: Repository
  document: DocumentNode
  format: ImageSignatureFormat
  /** The images that it belongs to, each with the reference to sign. */
  wanted: readonly { planned: PlannedImage; reference: string }[]
}

/**
 * What to sign: the manifest or index of each image and all manifests below it, each once per repository. containers/image
 * checks the platform's manifest, other tools check the index, and copying an image with all platforms also checks the
 * attestations' manifests.
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

/** The same for the sources' own indexes of images of which only some platforms are delivered. */
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
 * The reference in a signature: the image's source name and tag, whatever its name in the target is. So the signature
 * stays valid in every registry that the image is copied to, and for nodes that use a mirror. For a source with only a
 * digest it has the tag that push sets: containers/image does not accept a signed reference without a tag for an image
 * named by tag, but accepts any tag for an image named by digest.
 */
export function signedReference({ image }: Pick<PlannedImage, 'image'>): string {
  const reference = parseReference(image.source)
  return `${nameOf(reference)}:${tagFor(reference, image.digest)}`
}

/** The key of a signature in a push. The format sigstore-bundle has no reference. */
export function signatureKey(
  { name }: Pick<Repository, 'name'>,
  digest: Digest,
  format: ImageSignatureFormat,
  reference: string,
): string {
  return [name, digest, format, ...(format === 'cosign' ? [reference] : [])].join(' ')
}
