import type { ImageEntry } from '../../bundle/description.ts'
import { escapeLine, formatBytes, labelled, plural } from './format.ts'
import { countReferrers } from './render-referrers.ts'
import { upstreamRemark } from './render-upstream.ts'

/**
 * The images of a lock or a bundle, one line each: size, name, and what must not be overlooked.
 * @param marksOf more of that, in a word or two.
 */
export function listImages(
  images: readonly ImageEntry[],
  marksOf: (image: ImageEntry) => readonly string[] = () => [],
): string {
  return images
    .map((image) => {
      const marks = [
        ...(image.kind === 'artifact' ? ['artifact'] : []),
        ...(image.digest === image.sourceDigest ? [] : ['part of its source']),
        ...(image.missingAttestations?.length ? ['lacks attestations'] : []),
        ...(image.resolvedFrom === 'source' ? [] : ['named by a mirror']),
        ...marksOf(image),
      ]
      return `  ${formatBytes(image.size).padStart(SIZE_WIDTH)}  ${image.source}${marked(marks)}`
    })
    .join('\n')
}

/** The widest that `formatBytes` gives. */
const SIZE_WIDTH = 6

/** What must not be overlooked of something, behind its name. */
export function marked(marks: readonly string[]): string {
  return marks.length === 0 ? '' : `  (${marks.join(', ')})`
}

/**
 * The same images with their details: name, digest, platforms and size; three lines each, or more.
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

/** `9 images (1 of them an artifact)`: the number that progress counts to, too. */
export function countImages(images: readonly Pick<ImageEntry, 'kind'>[]): string {
  const artifacts = images.filter(({ kind }) => kind === 'artifact').length
  if (artifacts === 0) return plural(images.length, 'image')
  if (artifacts === images.length) return plural(artifacts, 'artifact')
  return `${plural(images.length, 'image')} (${artifacts} of them ${artifacts === 1 ? 'an artifact' : 'artifacts'})`
}
