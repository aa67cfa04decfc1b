import { bundleIdentity } from '../bundle/identity.ts'
import { AirgapError } from '../errors.ts'
import type { UnfinishedPack } from '../library/pack-file.ts'
import type { Packed } from '../library/pack.ts'
import type { SigningKey } from '../trust/keys.ts'
import { escapeLine, formatBytes, formatFields, plural, shellWord } from './format.ts'
import { identityFields, sizeField } from './render-bundle.ts'
import { countImages, renderImages } from './render-images.ts'
import { mirrorLine } from './render-mirrors.ts'
import { countAttached } from './render-referrers.ts'
import { renderSkipped } from './render-skipped.ts'
import { renderUnverified, upstreamField } from './render-upstream.ts'
import type { PackResult } from './shapes/pack.ts'

export function packResult(
  {
    bundleDigest,
    size,
    entries,
    description,
    isSigned,
    certificate,
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
 * @param keyFile the public key's.
 * @param unopened a private key's, of which a plan knows nothing else.
 */
export function renderPack(result: PackResult, keyFile: string | undefined, unopened?: string): string {
  const { dryRun, file, bundle, fetched, reused, resumed } = result
  const fields: [string, string][] = [
    ...identityFields(bundle),
    sizeField(bundle),
    ['attached', countAttached(result.images)],
    [dryRun ? 'to fetch' : 'fetched', amountText(fetched)],
    ...(reused.count === 0 ? [] : [[dryRun ? 'to reuse' : 'reused', amountText(reused)] as [string, string]]),
    ...(resumed.bytes === 0 ? [] : [['taken up', takenUpText(resumed)] as [string, string]]),
    ...(result.skipped ? [['left out', `${result.skipped.length} (listed below)`] as [string, string]] : []),
    ...upstreamField(result.images.flatMap(({ upstream }) => upstream ?? [])),
    ...(unopened === undefined
      ? signedBy(result)
      : [
          ['signed by', `the key in ${escapeLine(unopened)}, not opened; taken for P-256`] as [
            string,
            string,
          ],
        ]),
  ]
  const head = dryRun
    ? `Plan: ${countImages(result.images)}. Nothing was written.`
    : `Packed ${countImages(result.images)} into ${file === '-' ? 'standard output' : file}`
  const next = dryRun || file === undefined || file === '-' ? [] : ['', ...nextStep(file, result, keyFile)]
  const marked = dryRun
    ? result.images
    : result.images.filter(({ digest, sourceDigest }) => digest !== sourceDigest)
  const images = marked.length === 0 ? [] : ['', renderImages(marked)]
  const mirrors = dryRun && result.mirrors.length > 0 ? ['', ...result.mirrors.map(mirrorLine)] : []
  return [
    head,
    formatFields(fields),
    ...mirrors,
    ...images,
    ...renderUnverified(result.images),
    ...renderSkipped(result.skipped),
    ...next,
  ].join('\n')
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
    ['signed by', keyFingerprint ?? (hasSignature ? 'a certificate, once everything is there' : nobody)],
  ]
}

function nextStep(file: string, { certificate }: PackResult, keyFile: string | undefined): string[] {
  if (!certificate) {
    const flag = keyFile === undefined ? '--integrity-only' : `--key ${shellWord(keyFile)}`
    return [`Next: airgap verify ${shellWord(file)} ${flag}`]
  }
  return [
    `Next: airgap verify ${shellWord(file)} --trusted-root trusted_root.json \\`,
    `        --certificate-identity ${shellWord(certificate.identity)} \\`,
    `        --certificate-oidc-issuer ${shellWord(certificate.issuer)}`,
    'Get the trusted root by `airgap trust-root fetch`; carry it by another way.',
  ]
}

/** Blobs that had only begun count for their bytes. */
function takenUpText({ count, bytes }: PackResult['resumed']): string {
  return `${formatBytes(bytes)}${count > 0 ? `, ${plural(count, 'blob')} whole` : ''}`
}

function amountText({ count, bytes }: PackResult['fetched']): string {
  return `${plural(count, 'blob')}, ${formatBytes(bytes)}`
}

/**
 * A failure, with what is left to go on with.
 * @param unfinished what the pack has told of; undefined where nothing is left.
 */
export function withUnfinished(error: unknown, unfinished: UnfinishedPack | undefined): unknown {
  if (!unfinished || !(error instanceof AirgapError)) return error
  const { file, bytes, total } = unfinished
  const left = `${formatBytes(bytes)} of ${formatBytes(total)} are in ${file}; the same command goes on from there.`
  const { code, message, hint, problems, cause } = error
  // What is said of an interruption in general is said better here.
  const before = code === 'INTERRUPTED' || hint === undefined ? '' : `${hint}\n`
  return new AirgapError(code, message, { hint: `${before}${left}`, problems, cause: cause ?? error })
}
