import type { Amount, PackPlan, PackSummary } from '../transfer/pack/pack.ts'
import type { SigningKey } from '../trust/keys.ts'
import { escapeLine, formatBytes, formatCount, formatFields, plural } from './format.ts'
import { countImages, renderImages } from './render-images.ts'

/** What `pack --json` gives. Sizes are bytes. */
export interface PackResult {
  /** Undefined for a dry run. */
  file?: string
  dryRun: boolean
  bundleDigest: string
  name: string
  version?: string
  sequence: number
  created: string
  expires?: string
  size: number
  /** What came over the network after planning, and what came out of earlier bundles. */
  fetched: Amount
  reused: Amount
  entries: number
  signed: boolean
  keyFingerprint?: string
  platforms: 'all' | string[]
  images: PackPlan['description']['images']
}

export function packResult(
  { plan, description, isSigned }: PackPlan,
  { fetched, reused }: PackSummary,
  run: { file: string; isDryRun: boolean; key: SigningKey | undefined },
): PackResult {
  const { name, version, sequence, created, expires, platforms, images } = description
  return {
    ...(run.isDryRun ? {} : { file: run.file }),
    dryRun: run.isDryRun,
    bundleDigest: plan.bundleDigest,
    name,
    ...(version === undefined ? {} : { version }),
    sequence,
    created,
    ...(expires === undefined ? {} : { expires }),
    size: plan.totalSize,
    fetched,
    reused,
    entries: plan.entries.length,
    signed: isSigned,
    ...(run.key ? { keyFingerprint: run.key.publicKey.fingerprint } : {}),
    platforms,
    images,
  }
}

export function renderPack(result: PackResult, keyFile: string | undefined): string {
  const { dryRun, file, fetched, reused } = result
  const fields: [string, string][] = [
    ['bundle digest', result.bundleDigest],
    ['name', escapeLine(result.name)],
    ...(result.version === undefined ? [] : [['version', escapeLine(result.version)] as [string, string]]),
    ['sequence', String(result.sequence)],
    ['created', result.created],
    ...(result.expires === undefined ? [] : [['expires', result.expires] as [string, string]]),
    [
      'size',
      `${formatBytes(result.size)} (${formatCount(result.size)} bytes, ${plural(result.entries, 'entry', 'entries')})`,
    ],
    [dryRun ? 'to fetch' : 'fetched', amountText(fetched)],
    ...(reused.blobs === 0 ? [] : [[dryRun ? 'to reuse' : 'reused', amountText(reused)] as [string, string]]),
    ['signed by', result.keyFingerprint ?? 'NOBODY: this bundle is not signed'],
  ]
  const head = dryRun
    ? `Plan: ${countImages(result.images)}. Nothing was written.`
    : `Packed ${countImages(result.images)} into ${file === '-' ? 'standard output' : file}`
  const next =
    dryRun || file === undefined || file === '-'
      ? []
      : [
          '',
          `Next: airgap verify ${file} ${keyFile === undefined ? '--integrity-only' : `--key ${keyFile.replace(/\.key$/, '')}.pub`}`,
        ]
  const marked = dryRun
    ? result.images
    : result.images.filter(({ digest, sourceDigest }) => digest !== sourceDigest)
  const images = marked.length === 0 ? [] : ['', renderImages(marked)]
  return [head, formatFields(fields), ...images, ...next].join('\n')
}

function amountText({ blobs, bytes }: Amount): string {
  return `${plural(blobs, 'blob')}, ${formatBytes(bytes)}`
}
