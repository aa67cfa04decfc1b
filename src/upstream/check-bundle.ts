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

/** Who says by whom images have to be signed; without a policy, the packer's records do. */
export interface UpstreamCheck {
  policy: UpstreamPolicy | undefined
  root: Root | undefined
}

/**
 * Verifies upstreams' signatures again, offline, from a bundle's content alone. Whom to trust comes from the caller: by a
 * policy; or, without one, only the trusted root does, and whose the signatures have to be is what the packer has
 * recorded: then every image of a bundle that was not authenticated fails.
 *
 * @param opened without problems, its file open.
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
  // Whoever has made the file could have recorded itself as the upstream of everything, or that nothing was to be checked.
  return {
    image: image.source,
    state: 'failed',
    basis: 'record',
    reason:
      'nobody was asked who has packed the bundle, so that what it records of upstreams is worth nothing; only a policy can say whose signatures count',
  }
}

/** The error for a bundle of which some images failed. */
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
        'The bundle itself is sound. Do not use these images, unless the policy asks for more than their upstreams do.',
      ]
    : [
        "The bundle itself is sound. What its packer has recorded of the upstreams' signatures does not hold, or cannot be checked without a policy.",
        { id: 'upstream-policy' },
      ]
  return new AirgapError(
    'VERIFICATION_FAILED',
    `${path}: ${failed.length} of ${verdicts.length} images are not verified by their upstream's signatures`,
    { problems, hint: [...hint, ...otherImages(verdicts).map((line) => `\n${line}`)] },
  )
}

/** So many images that are as they should be are named beside those that are not. */
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
      throw new AirgapError('INTERNAL', `${digest} is listed and was not read`)
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
  if (!record) return failed('its packer has recorded nothing of its upstream')
  if (record.state !== 'verified') return verdictOf(image, 'record', record)
  const { keyFingerprint, identity, issuer } = record.signature
  if (identity === undefined || issuer === undefined) {
    return failed(
      `its packer has recorded the key ${keyFingerprint}, and whether that is the upstream's only a policy can say`,
    )
  }
  if (!root)
    return failed('its packer has recorded a certificate, and there is no trusted root to check it with')
  const demand: ImageDemand = {
    by: { keys: [], identities: [{ identity: exactly(identity), issuer: exactly(issuer) }] },
    dockerReference: 'ignore',
    root,
  }
  const isRecorded = (found: { subject: Digest; signature: UpstreamSignature }): boolean =>
    found.subject === record.subject && isSame(found.signature, record.signature)
  const verdict = await verifyImage(image, demand, source, isRecorded)
  if (!verdict.ok)
    return failed(`what its packer has recorded does not hold: ${reasonText(image, verdict.reasons)}`)
  const { signature } = verdict.found
  return verdictOf(image, 'record', { ...record, signature })
}

/** The same signature, whatever it was checked with. */
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
