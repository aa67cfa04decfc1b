import type { ImageEntry, SkippedImage, MirrorUse, ReferrerEntry } from '../../index.ts'
import { labelled, plural } from './format.ts'
import { formatBytes } from '../../bytes.ts'
import { escapeLine } from '../../text.ts'
import { upstreamRemark } from './render-upstream.ts'
import { EXIT_CODES } from '../../errors.ts'
import { fitted } from './wrap.ts'
import { isSignatureType, parseCosignTag } from '../../oci/cosign.ts'

type Kind = readonly [one: string, many: string]

const SIGNATURE: Kind = ['signature', 'signatures']
const ATTESTATION: Kind = ['attestation', 'attestations']
const SBOM: Kind = ['SBOM', 'SBOMs']
/** A signature or an attestation: only the content tells which. */
const SIGSTORE: Kind = ['Sigstore bundle', 'Sigstore bundles']
const OTHER: Kind = ['other referrer', 'other referrers']
const KINDS = [SIGNATURE, SIGSTORE, ATTESTATION, SBOM, OTHER]

/** `2 signatures, 1 SBOM (12 kB)`, by what the referrers claim to be, which is not checked. */
export function countReferrers(all: readonly Pick<ReferrerEntry, 'tag' | 'artifactType' | 'size'>[]): string {
  const groups = Map.groupBy(all, kindOf)
  const counts = KINDS.flatMap((kind) => {
    const count = groups.get(kind)?.length ?? 0
    return count === 0 ? [] : [plural(count, ...kind)]
  })
  return `${counts.join(', ')} (${formatBytes(all.reduce((sum, { size }) => sum + size, 0))})`
}

/** The same for several images together. */
export function countAttached(images: readonly Pick<ImageEntry, 'referrers'>[]): string {
  const all = images.flatMap(({ referrers = [] }) => referrers)
  return all.length === 0 ? 'nothing' : countReferrers(all)
}

function kindOf({ tag, artifactType = '' }: Pick<ReferrerEntry, 'tag' | 'artifactType'>): Kind {
  const cosign = tag === undefined ? undefined : parseCosignTag(tag)
  if (cosign) return { sig: SIGNATURE, att: ATTESTATION, sbom: SBOM }[cosign.kind]
  if (/sigstore\.bundle/.test(artifactType)) return SIGSTORE
  if (isSignatureType(artifactType)) return SIGNATURE
  if (/spdx|cyclonedx|syft|sbom/i.test(artifactType)) return SBOM
  return /in-toto|attestation|provenance/i.test(artifactType) ? ATTESTATION : OTHER
}

/**
 * The images of a lock or a bundle, one line each: size, name, and marks for what must not be overlooked.
 * @param marksOf more marks, a word or two each.
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
        ...(image.resolvedFrom === 'source' ? [] : ['resolved by a mirror']),
        ...marksOf(image),
      ]
      return `  ${formatBytes(image.size).padStart(SIZE_WIDTH)}  ${image.source}${marked(marks)}`
    })
    .join('\n')
}

/** The length of the longest text from `formatBytes`. */
const SIZE_WIDTH = 6

/** Marks in brackets, to go after a name. */
export function marked(marks: readonly string[]): string {
  return marks.length === 0 ? '' : `  (${marks.join(', ')})`
}

/**
 * The same images with details: name, digest, platforms and size, on three or more lines each.
 * @param isChecked the upstreams' signatures were checked and are shown elsewhere.
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

/** Remarks about an image that must not be overlooked. */
function remarks(image: ImageEntry, isChecked: boolean): string[] {
  const lines: string[] = []
  if (image.digest !== image.sourceDigest) {
    lines.push('    only a part of the source, so the digest differs from that of the source:')
    lines.push(`      ${image.sourceDigest}`)
  }
  const lost = image.missingAttestations?.length ?? 0
  if (lost > 0)
    lines.push(`    without ${plural(lost, 'attestation')} that the source lists but does not have`)
  if (image.resolvedFrom !== 'source')
    lines.push(...labelled('resolved by the mirror', escapeLine(image.resolvedFrom), 4))
  if (image.referrers) lines.push(`    with ${countReferrers(image.referrers)}`)
  if (image.upstream && !isChecked) lines.push(...upstreamRemark(image.upstream))
  return lines
}

/** `9 images (1 of them an artifact)`, the same number that progress counts to. */
export function countImages(images: readonly Pick<ImageEntry, 'kind'>[]): string {
  const artifacts = images.filter(({ kind }) => kind === 'artifact').length
  if (artifacts === 0) return plural(images.length, 'image')
  if (artifacts === images.length) return plural(artifacts, 'artifact')
  return `${plural(images.length, 'image')} (${artifacts} of them ${artifacts === 1 ? 'an artifact' : 'artifacts'})`
}

/** Where the images of one registry are read from, on one line. */
export function mirrorLine({ prefix, places, registryItself }: MirrorUse): string {
  const list = places.map(({ location, origin }) => `${location} (${origin})`).join(', then ')
  return `${prefix} is read from ${list}, ${registryItself ? 'then from' : 'but not from'} ${prefix} itself`
}

/** A paragraph about the images that were left out; empty if there are none. */
export function renderSkipped(skipped: readonly SkippedImage[] = []): string[] {
  const lines = skipped.flatMap(({ source, message }) => [
    `left out: ${source}`,
    `    ${fitted(`because ${escapeLine(message)}`, process.stdout, 4)}`,
  ])
  return lines.length === 0 ? [] : ['', ...lines]
}

/** The warning about a lock or bundle that lacks images; undefined if it lacks none. */
export function skippedWarning(
  file: string | undefined,
  skipped: readonly SkippedImage[] = [],
): string | undefined {
  if (skipped.length === 0) return undefined
  const codes: Record<string, number> = EXIT_CODES
  const refused = skipped.filter(({ code }) => codes[code] === EXIT_CODES.DENIED).length
  const [are, they] = skipped.length === 1 ? ['is', 'it'] : ['are', 'they']
  const refusals = refused === 0 ? '' : `, ${refused} of them because credentials or permission are missing`
  return `${plural(skipped.length, 'image')} ${are} left out${file === undefined ? '' : ` of ${file}`}: ${they} could not be resolved${refusals}`
}
