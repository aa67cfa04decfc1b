import { bundleIdentity } from '../../bundle/identity.ts'
import type { UnfinishedPack, Packed, SigningKey, CredentialStorage } from '../../index.ts'
import { AirgapError } from '../../errors.ts'
import { formatEnd, formatFields, paragraphs, plural } from './format.ts'
import { formatBytes } from '../../bytes.ts'
import { escapeLine, shellWord } from '../../text.ts'
import { contentField, digestField, identityFields, sizeField } from './render-evidence.ts'
import {
  countAttached,
  countImages,
  listImages,
  mirrorLine,
  renderImages,
  renderSkipped,
} from './render-images.ts'
import { renderUnverified, upstreamField } from './render-upstream.ts'
import type { PackResult } from './shapes/pack.ts'
import type { StoredIn } from './shapes/results.ts'

export function packResult(
  {
    bundleDigest,
    size,
    entries,
    description,
    isSigned,
    certificate,
    blobs,
    manifests,
    mirrors,
    fetched,
    reused,
    resumed,
  }: Packed,
  run: { file: string; isDryRun: boolean; key: SigningKey | undefined },
): PackResult {
  return {
    dryRun: run.isDryRun,
    ...(run.isDryRun ? {} : { file: run.file }),
    bundle: {
      ...bundleIdentity(bundleDigest, description),
      size,
      entries,
    },
    hasSignature: isSigned,
    ...(run.key ? { keyFingerprint: run.key.publicKey.fingerprint } : {}),
    ...(certificate ? { certificate } : {}),
    blobs,
    manifests,
    platforms: description.platforms,
    images: description.images,
    mirrors,
    ...(description.skipped ? { skipped: description.skipped } : {}),
    fetched,
    reused,
    resumed,
  }
}

/**
 * The result as text for the packer, with the signer and the digest last.
 * @param unopened the file of a private key that a plan did not open.
 */
export function renderPack(result: PackResult, unopened?: string): string {
  const { dryRun, file, bundle, fetched, reused, resumed, images } = result
  const fields: [string, string][] = [
    ...identityFields(bundle),
    sizeField(bundle),
    contentField(result),
    ['attached', countAttached(images)],
    [dryRun ? 'to fetch' : 'fetched', amountText(fetched)],
    ...(reused.count === 0 ? [] : [[dryRun ? 'to reuse' : 'reused', amountText(reused)] as [string, string]]),
    ...(resumed.bytes === 0 ? [] : [['resumed', takenUpText(resumed)] as [string, string]]),
    ...(result.skipped ? [['left out', `${result.skipped.length} (listed above)`] as [string, string]] : []),
    ...upstreamField(images.flatMap(({ upstream }) => upstream ?? [])),
  ]
  const head = dryRun
    ? `Plan: ${countImages(images)}. Nothing was written.`
    : `Packed ${countImages(images)} into ${file === '-' ? 'standard output' : file}`
  const changed = images.filter(({ digest, sourceDigest }) => digest !== sourceDigest)
  return paragraphs(
    dryRun ? result.mirrors.map(mirrorLine) : [],
    dryRun ? renderImages(images) : listImages(changed),
    renderUnverified(images),
    renderSkipped(result.skipped),
    formatFields(fields),
    formatEnd(head, [
      ...(unopened === undefined
        ? signedBy(result)
        : [['signed by', `the key in ${escapeLine(unopened)}, not opened; assumed to be P-256`] as const]),
      digestField(bundle),
    ]),
  )
}

function signedBy({ hasSignature, keyFingerprint, certificate }: PackResult): [string, string][] {
  if (certificate) {
    const { identity, issuer, logEntries } = certificate
    return [
      ['signed by', `${identity} (certificate)`],
      ['issuer', issuer],
      ...logEntries.map(({ url, index }): [string, string] => ['log entry', `${index} in ${url}`]),
    ]
  }
  const nobody = 'NOBODY: this bundle is not signed'
  return [
    ['signed by', keyFingerprint ?? (hasSignature ? 'a certificate, once everything is fetched' : nobody)],
  ]
}

/**
 * The command that verifies the bundle; undefined if no bundle file was written.
 * @param keyFile the file of the public key.
 */
export function afterPacking(
  { dryRun, file, certificate }: PackResult,
  keyFile: string | undefined,
): string | undefined {
  if (dryRun || file === undefined || file === '-') return undefined
  const command = `airgap verify ${shellWord(file)}`
  if (!certificate)
    return `${command} ${keyFile === undefined ? '--integrity-only' : `--key ${shellWord(keyFile)}`}`
  return [
    `${command} --trusted-root trusted_root.json \\`,
    `        --certificate-identity ${shellWord(certificate.identity)} \\`,
    `        --certificate-oidc-issuer ${shellWord(certificate.issuer)}`,
    'Get the trusted root with `airgap trust-root fetch`; carry it through a different channel.',
  ].join('\n')
}

/** The bytes include those of incomplete blobs; the count does not. */
function takenUpText({ count, bytes }: PackResult['resumed']): string {
  return `${formatBytes(bytes)}${count > 0 ? `, ${plural(count, 'blob')} complete` : ''}`
}

function amountText({ count, bytes }: PackResult['fetched']): string {
  return `${plural(count, 'blob')}, ${formatBytes(bytes)}`
}

/**
 * Adds to an error what is kept for resuming.
 * @param unfinished what the pack reported; undefined if nothing is kept.
 */
export function withUnfinished(error: unknown, unfinished: UnfinishedPack | undefined): unknown {
  if (!unfinished || !(error instanceof AirgapError)) return error
  const { file, bytes, total } = unfinished
  const left = `${formatBytes(bytes)} of ${formatBytes(total)} are in ${file}; the same command resumes from there.`
  // Replaces the general hint about interruptions.
  const before = error.code === 'INTERRUPTED' ? [] : error.hints
  return error.with({ hint: [...before, `\n${left}`], cause: error.cause ?? error })
}

/** Where credentials are stored, for `--json`: exactly one of the two. */
export function storedIn({ file, helper }: CredentialStorage): StoredIn {
  return helper === undefined ? { file } : { helper }
}

export function describeStorage({ file, helper }: CredentialStorage): string {
  return helper === undefined ? file : `the credential helper docker-credential-${helper} (named in ${file})`
}
