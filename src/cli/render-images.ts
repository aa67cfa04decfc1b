import type { ImageEntry } from '../bundle/description.ts'
import { escapeLine, formatBytes, labelled, plural } from './format.ts'
import { countReferrers } from './render-referrers.ts'
import { upstreamRemark } from './render-upstream.ts'

/**
 * The images of a lock or a bundle as people read them: name, digest, platforms and size; three lines each.
 * @param isChecked their upstreams' signatures were checked, and are shown elsewhere.
 */
export function renderImages(images: readonly ImageEntry[], isChecked = false): string {
  return images
    .flatMap((image) => {
      const platforms = image.platforms.map(({ platform }) => escapeLine(platform)).join(', ')
      const about = [
        image.kind === 'artifact' ? 'artifact' : platforms || 'no platform stated',
        formatBytes(image.size),
      ]
      return [image.source, `    ${image.digest}`, `    ${about.join(' · ')}`, ...remarks(image, isChecked)]
    })
    .join('\n')
}

/** What a reader must not overlook about an image. */
function remarks(image: ImageEntry, isChecked: boolean): string[] {
  const lines: string[] = []
  if (image.digest !== image.sourceDigest) {
    lines.push('    a part of the source, and so under another digest than the source:')
    lines.push(`      ${image.sourceDigest}`)
  }
  const lost = image.missingAttestations?.length ?? 0
  if (lost > 0)
    lines.push(`    without ${plural(lost, 'attestation')} that the source lists and does not have`)
  if (image.resolvedFrom !== 'source')
    lines.push(...labelled('digest named by the mirror', escapeLine(image.resolvedFrom), 4))
  if (image.referrers) lines.push(`    with ${countReferrers(image.referrers)}`)
  if (image.upstream && !isChecked) lines.push(...upstreamRemark(image.upstream))
  return lines
}

/** `9 images and 1 artifact`. */
export function countImages(images: readonly ImageEntry[]): string {
  const artifacts = images.filter(({ kind }) => kind === 'artifact').length
  const parts = []
  if (images.length > artifacts) parts.push(plural(images.length - artifacts, 'image'))
  if (artifacts > 0) parts.push(plural(artifacts, 'artifact'))
  return parts.length === 0 ? 'no images' : parts.join(' and ')
}
