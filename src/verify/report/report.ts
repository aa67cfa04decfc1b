import { arch, hostname, platform, release, uptime } from 'node:os'
import { bundleIdentity } from '../../bundle/identity.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { redacted } from '../../text.ts'
import { TOOL } from '../../own-files.ts'
import { signerName } from '../signers.ts'
import type { Trust } from '../authenticate.ts'
import { type CheckedPart, contentSums, type OpenedBundle } from '../opened-bundle.ts'
import { policyFields } from '../policy-rules.ts'
import { namedProblems } from '../content.ts'
import type { VerifiedSignature } from '../../trust/verified.ts'
import type { Report, ReportedCommand, ReportedRule } from './document.ts'
import type { BundleDescription } from '../../bundle/description.ts'
import type { Receipt } from '../../push/receipt.ts'
import { formatMoment } from '../../bytes.ts'

/** How to report a verification. */
export interface ReportOptions {
  /**
   * Called with the report as soon as there is a verdict, even if the bundle is refused, and before the promise settles.
   * An error that it throws replaces the result. `serializeReport` makes the file, `signBytes` signs it.
   */
  onReport?: ((report: Report) => void | Promise<void>) | undefined
  /** The command line, for the report. */
  reportCommand?: ReportedCommand | undefined
}

/** Makes the report of a verification that begins now, and passes it to `onReport`, once. */
export class Reporting {
  readonly #options: ReportOptions
  readonly #start = { time: Date.now(), steady: performance.now() }
  #subject: { opened: OpenedBundle; trust: Trust } | undefined

  constructor(options: ReportOptions) {
    this.#options = options
  }

  get isWanted(): boolean {
    return this.#options.onReport !== undefined
  }

  /** Sets the bundle to report on. */
  of(opened: OpenedBundle, trust: Trust): void {
    this.#subject = { opened, trust }
  }

  /**
   * Passes the report to `onReport`, if there is a bundle to report on.
   * @param receipt the receipt of the push that the verification belongs to.
   */
  async send(receipt?: Receipt): Promise<void> {
    const subject = this.#subject
    const { onReport, reportCommand } = this.#options
    this.#subject = undefined
    if (!subject || !onReport) return
    const { makeReport } = await import('./report.ts')
    const { serializeReceipt } = await import('../../push/receipt.ts')
    const { digestOf } = await import('../../oci/digest.ts')
    await onReport(
      makeReport(subject.opened, {
        start: this.#start,
        trust: subject.trust,
        command: reportCommand,
        receipt: receipt && {
          digest: digestOf(serializeReceipt(receipt)),
          complete: receipt.complete,
        },
      }),
    )
  }
}

/** All rules of a verification, with their results. */
function rulesOf(opened: OpenedBundle, trust: Trust): ReportedRule[] {
  return [
    signatureRule(opened, trust),
    ...expectations(opened, trust),
    ...(Object.keys(PARTS) as (keyof typeof PARTS)[]).map((part) => partRule(part, opened)),
  ]
}

function signatureRule(opened: OpenedBundle, trust: Trust): ReportedRule {
  const { authentication, checked } = opened
  // The approved digest is checked together with the signatures, but is a separate rule.
  const faults = (checked.get('signature') ?? 0) - (isOtherDigest(opened, trust) ? 1 : 0)
  const rule = { rule: 'signature', expected: expectedSigners(trust) }
  if (!checked.has('signature')) return rule
  if (faults > 0) return { ...rule, ok: false, found: foundFaults(faults) }
  if (trust.unauthenticated) return rule
  if (authentication.state !== 'signed') return { ...rule, ok: true }
  return { ...rule, ok: true, found: authentication.signatures.map(signerInWords).join('; ') }
}

function expectedSigners({ keys, identities = [], policy, unauthenticated }: Trust): string {
  if (unauthenticated) return 'none: the caller did not require a signature'
  if (policy) return `signatures as the policy ${policy.source} requires`
  const signers = [
    ...keys.map(({ fingerprint, source }) => `by the key ${fingerprint} (${source})`),
    ...identities.map(({ identity, issuer }) => `by ${identity.shown}, vouched for by ${issuer.shown}`),
  ]
  return `a signature ${signers.join(', or ')}`
}

function signerInWords({ name, by }: VerifiedSignature): string {
  return by.kind === 'key'
    ? `${name}, by the key ${by.key.fingerprint}`
    : `${name}, by ${by.identity}, vouched for by ${by.issuer}`
}

function isOtherDigest({ bundleDigest }: OpenedBundle, { expectDigest }: Trust): boolean {
  return expectDigest !== undefined && expectDigest !== bundleDigest
}

/** What the caller expects of the bundle. */
function expectations(opened: OpenedBundle, trust: Trust): ReportedRule[] {
  const { expectDigest, expectName, minSequence, now } = trust
  const { checked, bundleDigest, description } = opened
  const rules: ReportedRule[] = []
  if (expectDigest !== undefined) {
    const rule = { rule: 'bundle-digest', expected: expectDigest }
    rules.push(
      checked.has('signature') ? { ...rule, ok: !isOtherDigest(opened, trust), found: bundleDigest } : rule,
    )
  }
  const ofDescription = (
    rule: string,
    expected: string,
    judge: (description: BundleDescription) => { ok: boolean; found: string },
  ): void => {
    rules.push({ rule, expected, ...(description ? judge(description) : {}) })
  }
  if (expectName !== undefined) {
    ofDescription('name', expectName, ({ name }) => ({ ok: name === expectName, found: name }))
  }
  if (minSequence !== undefined) {
    ofDescription('least-sequence', String(minSequence), ({ sequence }) => ({
      ok: sequence >= minSequence,
      found: String(sequence),
    }))
  }
  ofDescription('not-expired', `an expiry after ${formatMoment(now)}, or none`, ({ expires }) => ({
    ok: expires === undefined || Date.parse(expires) > now,
    found: expires === undefined ? 'it never expires' : `it expires ${expires}`,
  }))
  return rules
}

/** What is required of each part, in words. */
const PARTS = {
  archive:
    'exactly the entries that SHA256SUMS lists, without duplicates, in order and in their only valid form',
  description: 'a valid airgap.json',
  images: 'manifests and indexes that agree with airgap.json and with each other, and nothing else',
  content: 'every blob with the SHA-256 that SHA256SUMS lists',
} as const satisfies Partial<Record<CheckedPart, string>>

function partRule(part: keyof typeof PARTS, { checked }: OpenedBundle): ReportedRule {
  const faults = checked.get(part)
  const rule = { rule: part, expected: PARTS[part] }
  if (faults === undefined) return rule
  return { ...rule, ok: faults === 0, found: foundFaults(faults) }
}

function foundFaults(faults: number): string {
  if (faults === 0) return 'no fault'
  return faults === 1 ? '1 problem' : `${faults} problems`
}

/** When a verification began, by two clocks. */
export interface ReportStart {
  /** Milliseconds since 1970. */
  time: number
  /** Milliseconds of a clock that nobody can set. */
  steady: number
}

export interface ReportContext {
  start: ReportStart
  trust: Trust
  command?: ReportedCommand | undefined
  receipt?: { digest: Digest; complete: boolean } | undefined
}

/** The report about a bundle that was verified, with any result. */
export function makeReport(opened: OpenedBundle, context: ReportContext): Report {
  const { start, trust, command, receipt } = context
  const { description, authentication, reader } = opened
  const { blobs, manifests } = contentSums(opened)
  const { rules: policyRules = [], ...policyAndClock } = policyFields(opened)
  const now = Date.now()
  return {
    type: 'dev.airgap.report',
    formatVersion: '1.0',
    tool: TOOL,
    runtime: { name: 'Node.js', version: process.versions.node },
    ...(command ? { command: withoutLogins(command) } : {}),
    host: {
      name: hostname(),
      platform: platform(),
      release: release(),
      architecture: arch(),
      uptimeSeconds: Math.floor(uptime()),
      // Negated, because getTimezoneOffset is UTC minus local time. "0 -" avoids -0, which JSON does not have.
      utcOffsetMinutes: 0 - new Date(now).getTimezoneOffset(),
    },
    started: timestamp(start.time),
    finished: timestamp(now),
    elapsedMilliseconds: Math.round(performance.now() - start.steady),
    ...policyAndClock,
    ...opened.sequences,
    verdict: verdictOf(opened),
    file: {
      path: reader.path,
      size: reader.fileSize,
      ...(opened.fileDigest ? { digest: opened.fileDigest } : {}),
    },
    ...bundleFields(opened),
    trusted: {
      keys: trust.keys.map(({ fingerprint, source }) => ({ fingerprint, file: source })),
      identities: (trust.identities ?? []).map(({ identity, issuer }) => ({
        identity: identity.shown,
        issuer: issuer.shown,
      })),
      ...(trust.root ? { trustedRoot: { file: trust.root.source, digest: trust.root.digest } } : {}),
      signatures: (trust.signatures ?? []).map(({ file }) => file),
    },
    rules: [...rulesOf(opened, trust), ...policyRules],
    signers: authentication.state === 'signed' ? authentication.signatures.map(signerFields) : [],
    images: description?.images ?? [],
    ...(description?.skipped ? { skipped: description.skipped } : {}),
    ...(opened.upstream ? { upstream: [...opened.upstream] } : {}),
    ...(blobs.count > 0 ? { blobs } : {}),
    ...(manifests.count > 0 ? { manifests } : {}),
    problems: namedProblems(opened).map(({ entry, message, kind }) =>
      kind ? { entry, message, kind } : { entry, message },
    ),
    ...(receipt ? { receipt } : {}),
  }
}

function verdictOf(opened: OpenedBundle): Report['verdict'] {
  const { problems, description, checked, authentication, upstream = [] } = opened
  if (problems.length > 0 || !description || authentication.state === 'failed') return 'failed'
  if (upstream.some(({ state }) => state === 'failed')) return 'failed'
  if (!checked.has('content')) return 'incomplete'
  return authentication.state === 'signed' ? 'good' : 'integrity-only'
}

/** What is known of the bundle: its digest if the list could be read, the rest if the description could be read. */
function bundleFields({ bundleDigest, description, entries }: OpenedBundle): Pick<Report, 'bundle'> {
  // The list was not read: it is never empty.
  if (bundleDigest === digestOf('')) return {}
  if (!description) return { bundle: { digest: bundleDigest } }
  const { tool, requires, platforms } = description
  return {
    bundle: {
      ...bundleIdentity(bundleDigest, description),
      tool: { name: tool.name, version: tool.version },
      requires,
      platforms,
      entries: entries.size,
    },
  }
}

function signerFields({ name, form, by }: VerifiedSignature): Report['signers'][number] {
  const signer = { signature: name, form, ...signerName(by) }
  if (by.kind === 'key') return signer
  return {
    ...signer,
    times: by.times.map(timestamp),
    logEntries: by.logEntries.map(({ logId, logIndex, integratedTime }) => ({
      logId,
      logIndex,
      ...(integratedTime === undefined ? {} : { integratedTime: timestamp(integratedTime * 1000) }),
    })),
    trustedRoot: by.root.digest,
  }
}

/** Redacts credentials in URLs. No flag takes a secret, but people put passwords into URLs. */
function withoutLogins({ name, arguments: given, flags }: ReportedCommand): ReportedCommand {
  return {
    name,
    arguments: given.map(redacted),
    flags: flags.map((flag) =>
      flag.value === undefined ? { name: flag.name } : { name: flag.name, value: redacted(flag.value) },
    ),
  }
}

function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
