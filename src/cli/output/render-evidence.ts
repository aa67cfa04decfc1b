import {
  authenticationOf,
  contentSums,
  policyFields,
  bundleIdentity,
  SIGSTORE_SIGNATURE,
  type OpenedBundle,
  type VerifiedSignature,
  type BundleDescription,
  type BundleIdentity,
  type Signer,
  type Amount,
} from '../../index.ts'
import { formatCount, formatEnd, formatFields, paragraphs, plural } from './format.ts'
import { formatBytes } from '../../bytes.ts'
import { escapeLine } from '../../text.ts'
import { countAttached, countImages, listImages, renderImages, renderSkipped } from './render-images.ts'
import { countedSigners, policyFieldLines, renderPolicy } from './render-policy.ts'
import { renderUpstream, upstreamField, upstreamMarks } from './render-upstream.ts'
import type { Evidence } from './shapes/evidence.ts'
import type { Highlight } from './terminal.ts'

/** What is known about a bundle whose description could be read. */
export function evidenceOf(
  opened: OpenedBundle,
  description: BundleDescription,
  isVerified: boolean,
): Evidence {
  const { platforms, images, skipped } = description
  return {
    file: opened.reader.path,
    verdict: isVerified ? verdictOf(opened) : 'not-verified',
    ...openedFields(opened, description),
    ...opened.sequences,
    platforms,
    images,
    ...(skipped ? { skipped } : {}),
    ...contentSums(opened),
    resolvedByMirror: images
      .filter(({ resolvedFrom }) => resolvedFrom !== 'source')
      .map(({ source }) => source),
    digestChanged: images
      .filter(({ digest, sourceDigest }) => digest !== sourceDigest)
      .map(({ source }) => source),
    ...(opened.upstream ? { upstream: [...opened.upstream] } : {}),
  }
}

/** The verdict on a bundle that was verified completely. */
export function verdictOf({ authentication }: OpenedBundle): 'good' | 'integrity-only' {
  return authentication.state === 'signed' ? 'good' : 'integrity-only'
}

/** A bundle and who signed it, as in all documents. */
export function openedFields(
  opened: OpenedBundle,
  description: BundleDescription,
): Pick<Evidence, 'bundle' | 'hasSignature' | 'authentication' | 'policy' | 'rules' | 'clock'> {
  const { authentication, bundleDigest, entries, reader } = opened
  const { tool } = description
  return {
    bundle: {
      ...bundleIdentity(bundleDigest, description),
      size: reader.fileSize,
      entries: entries.size,
      tool: { name: tool.name, version: tool.version },
    },
    hasSignature: entries.has(SIGSTORE_SIGNATURE),
    authentication: {
      ...authenticationOf(authentication),
      ...(authentication.state === 'signed' ? signatureFields(authentication.signatures[0]) : {}),
    },
    ...policyFields(opened),
  }
}

function signatureFields({ by, name }: VerifiedSignature): Partial<Evidence['authentication']> {
  return { ...(by.kind === 'key' ? { keyFile: by.key.source } : {}), signature: name }
}

/** The highlighted words of each verdict. */
const VERDICTS = {
  good: { words: 'GOOD', style: ['green', 'bold'] },
  'integrity-only': { words: 'COMPLETE AND UNALTERED, BUT NOT AUTHENTICATED', style: ['yellow', 'bold'] },
  'not-verified': { words: 'NOTHING HERE WAS VERIFIED', style: ['bold'] },
} as const satisfies Record<Evidence['verdict'], { words: string; style: readonly string[] }>

/**
 * The evidence as text for an auditor, with the verdict last.
 * @param details shows each image with its digests, platforms and upstream, not on one line.
 */
export function renderEvidence(evidence: Evidence, { details }: { details: boolean }): string {
  const { authentication, bundle, images, upstream } = evidence
  const { signers = [] } = authentication
  const heads: Record<Evidence['verdict'], string> = {
    good: `${VERDICTS.good.words}: complete, unaltered, and ${evidence.policy ? 'as the policy demands' : signedBy(signers)}`,
    'integrity-only': `${VERDICTS['integrity-only'].words}\nIt was not checked who made it.`,
    'not-verified':
      'what the bundle says about itself.\nNOTHING HERE WAS VERIFIED; `airgap verify` does that.',
  }
  const fields: [string, string][] = [
    ...identityFields(bundle),
    ...policyFieldLines(evidence),
    ['made by', escapeLine(`${bundle.tool.name} ${bundle.tool.version}`)],
    ['platforms', evidence.platforms === 'all' ? 'all' : evidence.platforms.join(', ')],
    sizeField(bundle),
    contentField(evidence),
    ['holds', countImages(images)],
    ['attached', countAttached(images)],
    ['left out', evidence.skipped ? `${evidence.skipped.length} (listed above)` : 'nothing'],
    ['resolved by a mirror', countOf(evidence.resolvedByMirror)],
    ['digest changed', countOf(evidence.digestChanged, details ? '' : '; --images shows both')],
    ...upstreamField(upstream ?? []),
    ...(evidence.report ? reportFields(evidence.report) : []),
  ]
  return paragraphs(
    details ? renderImages(images, upstream !== undefined) : listImages(images, upstreamMarks(upstream)),
    renderSkipped(evidence.skipped),
    renderPolicy(evidence),
    details ? renderUpstream(upstream) : [],
    formatFields(fields),
    formatEnd(`${escapeLine(evidence.file)}: ${heads[evidence.verdict]}`, [
      ...signatureFieldsOf(evidence),
      digestField(bundle),
    ]),
  )
}

/**
 * Where the report of a verification is, its digest, and who signed it.
 * @param signed what the key signed.
 */
export function reportFields(
  { file, digest, keyFingerprint }: NonNullable<Evidence['report']>,
  signed = 'report',
): [string, string][] {
  return [
    ['report', escapeLine(file)],
    ['report digest', digest],
    ...(keyFingerprint === undefined ? [] : [[`${signed} signed by`, keyFingerprint] as [string, string]]),
  ]
}

function signatureFieldsOf(evidence: Evidence): [string, string][] {
  if (evidence.policy) return [['signed by', countedSigners(evidence)]]
  const { signers = [] } = evidence.authentication
  if (signers.length > 0) return signerFields(signers, 'signed by')
  return [['signature', evidence.hasSignature ? 'present, not checked' : 'none']]
}

function countOf(names: readonly string[], more = ''): string {
  return names.length === 0 ? 'none' : `${names.length} (marked above${more})`
}

export function highlightOf({ verdict }: Evidence): Highlight {
  const { words, style } = VERDICTS[verdict]
  return { words, style: [...style] }
}

/** Who signed, for a verdict: `signed by the key given`. */
export function signedBy(signers: readonly Signer[]): string {
  const names = new Set(
    signers.map(({ keyFingerprint, identity, issuer }) => keyFingerprint ?? `${identity} ${issuer}`),
  )
  if (names.size > 1) return `signed by ${names.size} of those given`
  return signers[0]?.identity === undefined ? 'signed by the key given' : 'signed by the identity given'
}

/**
 * Every good signature as fields for people; the same everywhere.
 * @param label the label of the first one.
 */
export function signerFields(signers: readonly Signer[], label: string): [string, string][] {
  return signers.flatMap((signer, i): [string, string][] => [
    [i === 0 ? label : 'also signed by', whoOf(signer)],
    ...certificateFields(signer),
    ...(signer.signature === SIGSTORE_SIGNATURE
      ? []
      : [['signature in', escapeLine(signer.signature)] as [string, string]]),
  ])
}

/** The same without columns, one line each. */
export function signerLines(signers: readonly Signer[]): string[] {
  return signers.flatMap((signer) => [
    whoOf(signer),
    ...certificateFields(signer).map(([label, value]) => `${label} ${value}`),
  ])
}

function whoOf({ keyFingerprint, identity }: Signer): string {
  return keyFingerprint === undefined ? escapeLine(identity ?? '') : `key ${keyFingerprint}`
}

function certificateFields({ issuer, signedAt, logIndex, trustedRoot }: Signer): [string, string][] {
  if (issuer === undefined) return []
  const at = signedAt?.replace('.000Z', 'Z')
  return [
    ['vouched for by', escapeLine(issuer)],
    ...(at === undefined ? [] : [['signed at', at] as [string, string]]),
    ...(logIndex === undefined ? [] : [['log entry', logIndex] as [string, string]]),
    ...(trustedRoot
      ? [
          ['trusted root', escapeLine(trustedRoot.file)] as [string, string],
          ['root digest', trustedRoot.digest] as [string, string],
        ]
      : []),
  ]
}

/** The digest by which a bundle is quoted and approved; shown with the verdict, at the end. */
export function digestField({ digest }: Pick<BundleIdentity, 'digest'>): [string, string] {
  return ['bundle digest', digest]
}

/** A bundle's name, version, sequence and times, as fields for people; the same everywhere. */
export function identityFields(bundle: BundleIdentity): [string, string][] {
  return [
    ['name', escapeLine(bundle.name)],
    ...(bundle.version === undefined ? [] : [['version', escapeLine(bundle.version)] as [string, string]]),
    ['sequence', String(bundle.sequence)],
    ['created', bundle.created],
    ...(bundle.expires === undefined ? [] : [['expires', bundle.expires] as [string, string]]),
  ]
}

/** A bundle's blobs and manifests, each counted once. */
export function contentField({ blobs, manifests }: { blobs: Amount; manifests: Amount }): [string, string] {
  const bytes = formatBytes(blobs.bytes + manifests.bytes)
  return ['content', `${plural(blobs.count, 'blob')} and ${plural(manifests.count, 'manifest')}, ${bytes}`]
}

/** @param bundle size of the file in bytes, and its number of entries. */
export function sizeField(bundle: { size: number; entries: number }): [string, string] {
  return [
    'size',
    `${formatBytes(bundle.size)} (${formatCount(bundle.size)} bytes, ${plural(bundle.entries, 'entry', 'entries')})`,
  ]
}
