import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { canonicalJson, compareBytes } from '../oci/json.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import { formatReference, nameOf, parseReference } from '../oci/reference.ts'
import { serializeDescription, type BundleDescription, type ImageEntry } from './description.ts'
import { blobName, DESCRIPTION, DOCKER_MANIFEST_LIST, INDEX, OCI_LAYOUT } from './names.ts'

/**
 * The files that let other tools load the archive: `oci-layout`, `index.json` (OCI image-spec image-layout.md) and
 * Docker's `manifest.json`. All three are derived from the images and their manifests, so a reader builds them again
 * and compares the bytes.
 */
export const OCI_LAYOUT_BYTES: Buffer = Buffer.from('{"imageLayoutVersion":"1.0.0"}\n')

/** What the describing files need of a manifest or index: its size in bytes, and the config and layers of an image. */
interface DescribedDocument {
  size: number
  runnable: { config: Digest; layers: readonly Digest[] } | undefined
}

/** Looks up a manifest or index that the bundle holds. */
export type DocumentLookup = (digest: Digest) => DescribedDocument | undefined

/**
 * The names under which an image is delivered: with the tag, if the reference has one, and with the delivered digest, if
 * the reference has a digest.
 */
export function deliveredNames(image: Pick<ImageEntry, 'source' | 'digest'>): string[] {
  const reference = parseReference(image.source)
  const names: string[] = []
  const base = { registry: reference.registry, repository: reference.repository }
  if (reference.tag !== undefined) names.push(formatReference({ ...base, tag: reference.tag }))
  if (reference.digest !== undefined) names.push(formatReference({ ...base, digest: image.digest }))
  return names
}

/** Sorts images before artifacts (ctr 1.6 stops at an artifact), each group by name. */
export function sortImages(images: readonly ImageEntry[]): ImageEntry[] {
  return images.toSorted((a, b) => {
    if (a.kind !== b.kind) return a.kind === 'image' ? -1 : 1
    return compareBytes(a.source, b.source)
  })
}

/** `index.json`: one descriptor for each name, annotated so that ctr, podman and skopeo find it. */
export function indexJson(images: readonly ImageEntry[], documentSize: (digest: Digest) => number): Buffer {
  const manifests: Descriptor[] = []
  const seen = new Set<string>()
  for (const image of sortImages(images)) {
    for (const name of deliveredNames(image)) {
      if (seen.has(name)) continue
      seen.add(name)
      manifests.push({
        mediaType: image.mediaType,
        digest: image.digest,
        size: documentSize(image.digest),
        annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
      })
    }
  }
  return canonicalJson({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })
}

/**
 * `manifest.json` for `docker load`: one platform of each image (linux/amd64 if it has it, else the first). `RepoTags`
 * holds tags only, because a name with a digest makes the whole `docker load` fail.
 *
 * @returns undefined if Docker can load nothing in the bundle.
 */
export function dockerManifestJson(
  images: readonly ImageEntry[],
  lookup: DocumentLookup,
): Buffer | undefined {
  const entries = []
  for (const image of sortImages(images)) {
    const manifest = image.kind === 'image' ? manifestToLoad(image, lookup) : undefined
    if (!manifest) continue
    const reference = parseReference(image.source)
    entries.push({
      Config: blobName(manifest.config),
      Layers: manifest.layers.map(blobName),
      RepoTags: reference.tag === undefined ? [] : [`${nameOf(reference)}:${reference.tag}`],
    })
  }
  return entries.length === 0 ? undefined : canonicalJson(entries)
}

function manifestToLoad(image: ImageEntry, lookup: DocumentLookup): DescribedDocument['runnable'] {
  const choice = image.platforms.find(({ platform }) => platform === 'linux/amd64') ?? image.platforms[0]
  return choice && lookup(choice.digest)?.runnable
}

/**
 * Checks that no two images use one name for different content, and that none is listed twice.
 * @throws AirgapError `NAME_CONFLICT`, which lists every case.
 */
export function checkDeliveredNames(images: readonly ImageEntry[]): void {
  const taken = new Map<string, { source: string; digest: Digest }>()
  const problems = []
  for (const image of images) {
    for (const name of deliveredNames(image)) {
      const other = taken.get(name)
      if (!other) taken.set(name, image)
      else if (other.source === image.source) problems.push({ entry: name, message: 'it is listed twice' })
      else if (other.digest !== image.digest) {
        problems.push({
          entry: name,
          message: `${other.source} gives it ${other.digest}, ${image.source} gives it ${image.digest}`,
        })
      }
    }
  }
  if (problems.length === 0) return
  throw new AirgapError('NAME_CONFLICT', 'two references want one name for different content', {
    problems,
    hint: 'Keep one of the two.',
  })
}

/** `airgap.json`, `oci-layout`, `index.json` and, if Docker can load anything, `manifest.json`. */
export function describingFiles(
  description: BundleDescription,
  lookup: DocumentLookup,
): { name: string; bytes: Buffer }[] {
  const { images } = description
  const docker = dockerManifestJson(images, lookup)
  return [
    { name: DESCRIPTION, bytes: serializeDescription(description) },
    { name: OCI_LAYOUT, bytes: OCI_LAYOUT_BYTES },
    { name: INDEX, bytes: indexJson(images, (digest) => lookup(digest)?.size ?? 0) },
    ...(docker ? [{ name: DOCKER_MANIFEST_LIST, bytes: docker }] : []),
  ]
}
