import type { ImageEntry } from '../../bundle/description.ts'
import type { ReferrerEntry } from '../../bundle/referrers.ts'
import { isSignatureType, parseCosignTag } from '../../oci/cosign.ts'
import { formatBytes, plural } from './format.ts'

type Kind = readonly [one: string, many: string]

const SIGNATURE: Kind = ['signature', 'signatures']
const ATTESTATION: Kind = ['attestation', 'attestations']
const SBOM: Kind = ['SBOM', 'SBOMs']
/** Signatures and attestations alike: which, only its content says. */
const SIGSTORE: Kind = ['Sigstore bundle', 'Sigstore bundles']
const OTHER: Kind = ['other referrer', 'other referrers']
const KINDS = [SIGNATURE, SIGSTORE, ATTESTATION, SBOM, OTHER]

/** `2 signatures, 1 SBOM (12 kB)`: what things say that they are; nothing of it has been checked. */
export function countReferrers(all: readonly Pick<ReferrerEntry, 'tag' | 'artifactType' | 'size'>[]): string {
  const groups = Map.groupBy(all, kindOf)
  const counts = KINDS.flatMap((kind) => {
    const count = groups.get(kind)?.length ?? 0
    return count === 0 ? [] : [plural(count, ...kind)]
  })
  return `${counts.join(', ')} (${formatBytes(all.reduce((sum, { size }) => sum + size, 0))})`
}

/** The same of several images together. */
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
