import type { ImageEntry, UpstreamRecord, UpstreamSignature, UpstreamVerdict } from '../../index.ts'
import { labelled } from './format.ts'
import { escapeLine } from '../../text.ts'
import { fitted } from './wrap.ts'

type State = UpstreamVerdict['state']

const STATES: readonly State[] = ['verified', 'warned', 'skipped', 'failed']

const WORDS: Record<State, string> = {
  verified: 'verified',
  warned: 'not verified, as the policy allows',
  skipped: 'skipped',
  failed: 'failed',
}

/** `3 verified, 1 skipped`. */
export function countUpstream(all: readonly { state: State }[]): string {
  const counts = STATES.map((state) => ({ state, count: all.filter((one) => one.state === state).length }))
  return counts
    .filter(({ count }) => count > 0)
    .map(({ state, count }) => `${count} ${state === 'warned' ? 'not verified' : state}`)
    .join(', ')
}

/** The field for it; none if upstreams were not verified. */
export function upstreamField(records: readonly { state: State }[]): [string, string][] {
  return records.length === 0 ? [] : [['upstream', countUpstream(records)]]
}

/**
 * Marks for images whose upstream was not verified.
 * @param verdicts what was found here; undefined if nothing was checked here, and only the packer's records are known.
 */
export function upstreamMarks(
  verdicts: readonly UpstreamVerdict[] | undefined,
): (image: ImageEntry) => string[] {
  const states = new Map(verdicts?.map(({ image, state }) => [image, state]))
  return ({ source, upstream }) => {
    const state = verdicts ? states.get(source) : upstream?.state
    if (state === undefined || state === 'verified') return []
    return [`upstream ${state === 'warned' ? 'not verified' : state}`]
  }
}

/** A paragraph about images packed without a verified upstream signature; empty if there are none. */
export function renderUnverified(images: readonly ImageEntry[]): string[] {
  const lines = images.flatMap(({ source, upstream }) =>
    upstream === undefined || upstream.state === 'verified'
      ? []
      : [`upstream ${WORDS[upstream.state]}: ${source}`, ...because(upstream.reason)],
  )
  return lines.length === 0 ? [] : ['', ...lines]
}

/** The result for the upstreams' signatures, image by image, and whose policy they were verified by. */
export function renderUpstream(verdicts: readonly UpstreamVerdict[] = []): string[] {
  const [first] = verdicts
  if (!first) return []
  const head =
    first.basis === 'policy'
      ? "The upstreams' signatures, verified by the given policy:"
      : "The upstreams' signatures, verified with the given trusted root. The packer recorded who must have signed; to decide that yourself, give a policy (--upstream-policy):"
  return ['', ...fitted(head, process.stdout).split('\n'), ...verdicts.flatMap(renderVerdict)]
}

function renderVerdict(verdict: UpstreamVerdict): string[] {
  const { image, state, rule, reason, covers, signature } = verdict
  return [
    image,
    ...(signature ? signerLines(signature) : [`    ${WORDS[state]}`, ...because(reason)]),
    ...(covers === 'delivered' ? ['    the delivered image is signed; the source itself is not'] : []),
    ...(rule ? labelled('rule', ruleText(rule), 4) : []),
  ]
}

function signerLines({
  keyFingerprint,
  identity,
  issuer,
  signedAt,
  logEntries = [],
}: UpstreamSignature): string[] {
  if (keyFingerprint !== undefined) return labelled('verified: signed with the key', keyFingerprint, 4)
  const entries = logEntries.map(({ logIndex }) => `log entry ${logIndex}`)
  const when = [...(signedAt === undefined ? [] : [`on ${signedAt}`]), ...entries].join(', ')
  return [
    ...labelled('verified: signed by', escapeLine(identity ?? ''), 4),
    ...labelled('vouched for by', escapeLine(issuer ?? ''), 4),
    ...(when === '' ? [] : [`    ${when}`]),
  ]
}

/** A remark about what the packer recorded of an image's upstream, which is not checked here. */
export function upstreamRemark(record: UpstreamRecord): string[] {
  if (record.state !== 'verified') {
    const words =
      record.state === 'warned' ? 'upstream not verified by the packer:' : 'upstream skipped by the packer:'
    return labelled(words, escapeLine(record.reason), 4)
  }
  const { keyFingerprint, identity } = record.signature
  return labelled('upstream verified by the packer:', escapeLine(identity ?? `key ${keyFingerprint}`), 4)
}

function ruleText({ pattern, preset }: UpstreamRecord['rule']): string {
  return escapeLine(preset === undefined ? pattern : `${pattern} (preset ${preset})`)
}

function because(reason: string | undefined): string[] {
  return reason === undefined ? [] : [`    ${fitted(`because ${escapeLine(reason)}`, process.stdout, 4)}`]
}
