import type { OpenedBundle } from '../transfer/check/opened-bundle.ts'
import type { ImageEntry } from '../bundle/description.ts'
import { SIGSTORE_SIGNATURE } from '../bundle/names.ts'
import { escapeLine, formatBytes, formatCount, formatFields, plural, type Highlight } from './format.ts'
import { countImages, renderImages } from './render-images.ts'

/** What `verify --json` and `inspect --json` give. Sizes are bytes. */
export interface Evidence {
  file: string
  /** `good`: everything checked. `integrity-only`: complete and unaltered, nobody vouches for it. `not-verified`: inspect. */
  verdict: 'good' | 'integrity-only' | 'not-verified'
  bundleDigest: string
  size: number
  entries: number
  /** Whether the bundle carries a signature; says nothing about whose. */
  hasSignature: boolean
  /** The key that the signature was checked with. */
  signedBy?: { keyFingerprint: string; key: string; signature: string }
  name: string
  version?: string
  sequence: number
  created: string
  expires?: string
  tool: { name: string; version: string }
  platforms: 'all' | string[]
  images: ImageEntry[]
  /** Blobs delivered or kept as evidence, each once. */
  blobs: { count: number; bytes: number }
  /** Images whose digest a mirror has named, and not the source. */
  resolvedByMirror: string[]
  /** Images delivered under another digest than the source's. */
  digestChanged: string[]
}

/** @returns undefined when the description could not be read. */
export function evidenceOf(opened: OpenedBundle, isVerified: boolean): Evidence | undefined {
  const { description, authentication, reader, entries } = opened
  if (!description) return undefined
  const { name, version, sequence, created, expires, tool, platforms, images } = description
  const blobs = [...entries.values()].filter((entry) => entry.name.startsWith('blobs/'))
  return {
    file: reader.path,
    verdict: !isVerified ? 'not-verified' : authentication.state === 'signed' ? 'good' : 'integrity-only',
    bundleDigest: opened.bundleDigest,
    size: reader.fileSize,
    entries: entries.size,
    hasSignature: entries.has(SIGSTORE_SIGNATURE),
    ...(authentication.state === 'signed'
      ? {
          signedBy: {
            keyFingerprint: authentication.key.fingerprint,
            key: authentication.key.source,
            signature: authentication.signature,
          },
        }
      : {}),
    name,
    ...(version === undefined ? {} : { version }),
    sequence,
    created,
    ...(expires === undefined ? {} : { expires }),
    tool: { name: tool.name, version: tool.version },
    platforms,
    images,
    blobs: { count: blobs.length, bytes: blobs.reduce((sum, { size }) => sum + size, 0) },
    resolvedByMirror: images
      .filter(({ resolvedFrom }) => resolvedFrom !== 'source')
      .map(({ source }) => source),
    digestChanged: images
      .filter(({ digest, sourceDigest }) => digest !== sourceDigest)
      .map(({ source }) => source),
  }
}

/** What stands out of each verdict. */
const VERDICTS = {
  good: { words: 'GOOD', style: ['green', 'bold'] },
  'integrity-only': { words: 'COMPLETE AND UNALTERED, BUT NOT AUTHENTICATED', style: ['yellow', 'bold'] },
  'not-verified': { words: 'NOTHING HERE WAS VERIFIED', style: ['bold'] },
} as const satisfies Record<Evidence['verdict'], { words: string; style: readonly string[] }>

/** The evidence as an auditor reads it. */
export function renderEvidence(evidence: Evidence): string {
  const { signedBy } = evidence
  const heads: Record<Evidence['verdict'], string> = {
    good: `${VERDICTS.good.words}: complete, unaltered, and signed by the key given`,
    'integrity-only': `${VERDICTS['integrity-only'].words}\nNobody was asked who made it.`,
    'not-verified':
      'what the bundle says of itself.\nNOTHING HERE WAS VERIFIED; that is what `airgap verify` does.',
  }
  let signature = 'none'
  if (signedBy) signature = `key ${signedBy.keyFingerprint}`
  else if (evidence.hasSignature) signature = 'there is one, not checked'
  const fields: [string, string][] = [
    ['bundle digest', evidence.bundleDigest],
    ['name', escapeLine(evidence.name)],
    ...(evidence.version === undefined
      ? []
      : [['version', escapeLine(evidence.version)] as [string, string]]),
    ['sequence', String(evidence.sequence)],
    ['created', evidence.created],
    ...(evidence.expires === undefined ? [] : [['expires', evidence.expires] as [string, string]]),
    ['signature', signature],
    ['made by', escapeLine(`${evidence.tool.name} ${evidence.tool.version}`)],
    ['platforms', evidence.platforms === 'all' ? 'all' : evidence.platforms.join(', ')],
    [
      'size',
      `${formatBytes(evidence.size)} (${formatCount(evidence.size)} bytes, ${plural(evidence.entries, 'entry', 'entries')})`,
    ],
    ['blobs', `${plural(evidence.blobs.count, 'blob')}, ${formatCount(evidence.blobs.bytes)} bytes`],
    ['holds', countImages(evidence.images)],
    ['named by a mirror', countOf(evidence.resolvedByMirror)],
    ['digest changed', countOf(evidence.digestChanged)],
  ]
  return [
    `${escapeLine(evidence.file)}: ${heads[evidence.verdict]}`,
    formatFields(fields),
    '',
    renderImages(evidence.images),
  ].join('\n')
}

function countOf(names: readonly string[]): string {
  return names.length === 0 ? 'none' : `${names.length} (marked below)`
}

export function highlightOf({ verdict }: Evidence): Highlight {
  const { words, style } = VERDICTS[verdict]
  return { words, style: [...style] }
}
