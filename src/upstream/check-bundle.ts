import type { ImageEntry } from '../bundle/description.ts'
import { blobName } from '../bundle/names.ts'
import { reasonOf } from '../bundle/skipped.ts'
import type { UpstreamRecord, UpstreamSignature } from '../bundle/upstream.ts'
import { AirgapError, type Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { canonicalJson } from '../oci/json.ts'
import { exactly } from '../trust/identity/identity.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { UpstreamPolicy } from '../trust/upstream/rule.ts'
import type { Authentication } from '../verify/authenticate.ts'
import type { ImageGraph, OpenedBundle } from '../verify/opened-bundle.ts'
import { readChecked, readDocument } from '../verify/opened-bundle.ts'
import type { OnEvent } from '../content/events.ts'
import { applyPolicy, type ImageDemand, type SignatureSource, verifyImage } from './verify-image.ts'
import { OUTCOMES, reasonText, type UpstreamVerdict } from './verdict.ts'
import type { Hint } from '../hints.ts'

/** Decides who must have signed the images; without a policy, the packer's records decide. */
export interface UpstreamCheck {
  policy: UpstreamPolicy | undefined
  root: Root | undefined
}

/**
 * Verifies upstreams' signatures again, offline, only from the bundle's content. The caller's policy says whom to
 * trust. Without a policy, only the trusted root comes from the caller, and the packer's records say who must have
 * signed. Then every image of a bundle that was not authenticated fails.
 *
 * @param opened a bundle without problems, whose file is open.
 * @returns one verdict for each image, in the bundle's order.
 * @throws AirgapError `FILE`, `USAGE` for a pattern that takes too long; the signal's reason.
 */
export async function checkUpstream(
  opened: OpenedBundle,
  check: UpstreamCheck,
  { signal, onEvent }: { signal?: AbortSignal | undefined; onEvent?: OnEvent | undefined } = {},
): Promise<UpstreamVerdict[]> {
  onEvent?.({ type: 'phase', phase: 'upstream', items: opened.images.length, bytes: 0 })
  const verdicts: UpstreamVerdict[] = []
  for (const graph of opened.images) {
    signal?.throwIfAborted()
    const source = sourceIn(opened, graph)
    const verdict = await verdictFor(graph.image, opened.authentication, check, source)
    verdicts.push(verdict)
    onEvent?.({ type: 'item', name: graph.image.source, bytes: 0, outcome: OUTCOMES[verdict.state] })
  }
  return verdicts
}

async function verdictFor(
  image: ImageEntry,
  { state }: Authentication,
  { policy, root }: UpstreamCheck,
  source: SignatureSource,
): Promise<UpstreamVerdict> {
  if (policy) return byPolicy(image, { policy, root }, source)
  if (state === 'signed') return byRecord(image, root, source)
  // Anybody could have made the file, with records that name themselves as the upstream, or that skip every check.
  return {
    image: image.source,
    state: 'failed',
    basis: 'record',
    reason:
      'it was not checked who packed the bundle, so its records about upstreams cannot be trusted; only a policy can say whose signatures count',
  }
}

/** The error for a bundle in which some images failed; undefined if none did. */
export function upstreamError(path: string, verdicts: readonly UpstreamVerdict[]): AirgapError | undefined {
  const failed = verdicts.filter(({ state }) => state === 'failed')
  if (failed.length === 0) return undefined
  const problems = failed.map(({ image, reason = '' }): Problem => ({
    entry: image,
    message: reason,
    code: 'UPSTREAM_NOT_VERIFIED',
  }))
  const isByPolicy = failed.some(({ basis }) => basis === 'policy')
  const hint: Hint[] = isByPolicy
    ? [
        'The bundle itself is sound. Do not use these images, unless the policy demands more than their upstreams do.',
      ]
    : [
        "The bundle itself is sound. What its packer recorded about the upstreams' signatures is wrong, or cannot be checked without a policy.",
        { id: 'upstream-policy' },
      ]
  return new AirgapError(
    'VERIFICATION_FAILED',
    `${path}: the upstream signatures of ${failed.length} of ${verdicts.length} images were not verified`,
    { problems, hint: [...hint, ...otherImages(verdicts).map((line) => `\n${line}`)] },
  )
}

/** At most this many other images are named. */
const MOST_NAMED = 20

function otherImages(verdicts: readonly UpstreamVerdict[]): string[] {
  return (['verified', 'warned', 'skipped'] as const).flatMap((state) => {
    const images = verdicts.filter((one) => one.state === state).map(({ image }) => image)
    const left = images.length - MOST_NAMED
    const named = images.slice(0, MOST_NAMED).join(', ')
    return images.length === 0 ? [] : [`${WORDS[state]}: ${named}${left > 0 ? ` and ${left} more` : ''}`]
  })
}

const WORDS = { verified: 'Verified', warned: 'Not verified, as the policy allows', skipped: 'Skipped' }

function sourceIn(opened: OpenedBundle, { image, referrers }: ImageGraph): SignatureSource {
  return {
    referrers: image.referrers ?? [],
    document: async ({ digest }) => {
      const found = referrers.find(({ entry }) => entry.digest === digest)?.closure.documents.get(digest)
      if (found) return readDocument(opened, found)
      throw new AirgapError('INTERNAL', `${digest} is listed but was not read`)
    },
    blob: async ({ digest }, maxBytes) => {
      const bytes = await readChecked(opened, blobName(digest), maxBytes)
      if (bytes) return bytes
      throw new AirgapError('INVALID_CONTENT', `${blobName(digest)} cannot be read`)
    },
  }
}

async function byPolicy(
  image: ImageEntry,
  check: { policy: UpstreamPolicy; root: Root | undefined },
  source: SignatureSource,
): Promise<UpstreamVerdict> {
  try {
    const { record } = await applyPolicy(image, check, (demand) => verifyImage(image, demand, source))
    return verdictOf(image, 'policy', record)
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'UPSTREAM_NOT_VERIFIED') throw error
    return { image: image.source, state: 'failed', basis: 'policy', reason: reasonOf(error.reason) }
  }
}

async function byRecord(
  image: ImageEntry,
  root: Root | undefined,
  source: SignatureSource,
): Promise<UpstreamVerdict> {
  const { upstream: record } = image
  const failed = (reason: string): UpstreamVerdict => ({
    image: image.source,
    state: 'failed',
    basis: 'record',
    ...(record ? { rule: record.rule } : {}),
    reason: reasonOf(reason),
  })
  if (!record) return failed('its packer recorded nothing about its upstream')
  if (record.state !== 'verified') return verdictOf(image, 'record', record)
  const { keyFingerprint, identity, issuer } = record.signature
  if (identity === undefined || issuer === undefined) {
    return failed(
      `its packer recorded the key ${keyFingerprint}, but only a policy can say whether that is the upstream's`,
    )
  }
  if (!root)
    return failed('its packer recorded a certificate, but there is no trusted root to verify it with')
  const demand: ImageDemand = {
    by: { keys: [], identities: [{ identity: exactly(identity), issuer: exactly(issuer) }] },
    dockerReference: 'ignore',
    root,
  }
  const isRecorded = (found: { subject: Digest; signature: UpstreamSignature }): boolean =>
    found.subject === record.subject && isSame(found.signature, record.signature)
  const verdict = await verifyImage(image, demand, source, isRecorded)
  if (!verdict.ok) return failed(`the record of its packer is wrong: ${reasonText(image, verdict.reasons)}`)
  const { signature } = verdict.found
  return verdictOf(image, 'record', { ...record, signature })
}

/** Whether it is the same signature, whatever trusted root it was verified with. */
function isSame(a: UpstreamSignature, b: UpstreamSignature): boolean {
  const of = (signature: UpstreamSignature): Buffer => canonicalJson({ ...signature, trustedRoot: undefined })
  return of(a).equals(of(b))
}

function verdictOf(
  image: ImageEntry,
  basis: UpstreamVerdict['basis'],
  record: UpstreamRecord,
): UpstreamVerdict {
  const { state, rule } = record
  const common = { image: image.source, state, basis, rule }
  if (record.state !== 'verified') return { ...common, reason: record.reason }
  const { subject, signature } = record
  return { ...common, subject, covers: subject === image.sourceDigest ? 'source' : 'delivered', signature }
}
