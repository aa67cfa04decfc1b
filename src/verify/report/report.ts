import { arch, hostname, platform, release, uptime } from 'node:os'
import { bundleIdentity } from '../../bundle/identity.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import { redacted } from '../../redact.ts'
import { TOOL } from '../../version.ts'
import type { TrustOptions } from '../authenticate.ts'
import { signerName } from '../authentication.ts'
import { contentSums, type OpenedBundle } from '../opened-bundle.ts'
import { policyFields } from '../policy-evidence.ts'
import { namedProblems } from '../content.ts'
import type { VerifiedSignature } from '../../trust/verified.ts'
import type { Report, ReportedCommand } from './document.ts'
import { rulesOf } from './rules.ts'

/** The beginning of a verification, by both clocks. */
export interface ReportStart {
  /** Milliseconds since 1970. */
  time: number
  /** Milliseconds of a clock that nobody can set. */
  steady: number
}

export interface ReportContext {
  start: ReportStart
  trust: TrustOptions
  command?: ReportedCommand | undefined
  receipt?: { digest: Digest; complete: boolean } | undefined
}

/** What there is to say about a bundle that was verified, with whatever result. */
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
      // The other way round, and never -0, which JSON does not have.
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

/** What is known of the bundle: its digest once the list could be read, the rest once the description could. */
function bundleFields({ bundleDigest, description, entries }: OpenedBundle): Pick<Report, 'bundle'> {
  // No list that was read is empty.
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

/** No flag takes a secret; a URL in one can hold what somebody ought not to have typed. */
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
