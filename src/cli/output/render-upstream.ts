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

/** The line for it among a bundle's fields; none where nothing was asked for. */
export function upstreamField(records: readonly { state: State }[]): [string, string][] {
  return records.length === 0 ? [] : [['upstream', countUpstream(records)]]
}

/**
 * What must not be overlooked of an image's upstream, in a word or two.
 * @param verdicts what was found here; undefined where nobody looked, and only the packer's word is there.
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

/** Images that were packed without a verified signature, as a paragraph of its own; nothing where there is none. */
export function renderUnverified(images: readonly ImageEntry[]): string[] {
  const lines = images.flatMap(({ source, upstream }) =>
    upstream === undefined || upstream.state === 'verified'
      ? []
      : [`upstream ${WORDS[upstream.state]}: ${source}`, ...because(upstream.reason)],
  )
  return lines.length === 0 ? [] : ['', ...lines]
}

/** What came of the upstreams' signatures, image by image, and who says whose they have to be. */
export function renderUpstream(verdicts: readonly UpstreamVerdict[] = []): string[] {
  const [first] = verdicts
  if (!first) return []
  const head =
    first.basis === 'policy'
      ? "The upstreams' signatures, by the policy given:"
      : "The upstreams' signatures, verified with the trusted root given. Whose they have to be is what the packer has recorded; a policy of yours would say so by itself (--upstream-policy):"
  return ['', ...fitted(head, process.stdout).split('\n'), ...verdicts.flatMap(renderVerdict)]
}

function renderVerdict(verdict: UpstreamVerdict): string[] {
  const { image, state, rule, reason, covers, signature } = verdict
  return [
    image,
    ...(signature ? signerLines(signature) : [`    ${WORDS[state]}`, ...because(reason)]),
    ...(covers === 'delivered' ? ['    signed is what is delivered; the source itself is not'] : []),
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

/** What the packer says of an image's upstream, which nobody has checked here: a remark of the image. */
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
