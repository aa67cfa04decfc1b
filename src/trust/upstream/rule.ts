import type { ReferencePattern } from '../../oci/pattern.ts'
import { formatReference, nameOf, type Reference } from '../../oci/reference.ts'
import type { Identity } from '../identity/identity.ts'
import type { PublicKey } from '../keys.ts'

/** Who may have signed; one of them suffices. */
export interface AcceptedSigners {
  /** Holders of these keys. */
  keys: readonly PublicKey[]
  /** Whom a certificate names. */
  identities: readonly Identity[]
}

/** What the name that a signature holds is compared with: nothing, the image's own name, or a pattern. */
export type NameCheck = 'ignore' | 'match' | { shown: string; matches: (name: string) => boolean }

/** One rule of a policy: which images it is for, and who has to have signed these. */
export interface UpstreamRule {
  /** As its author wrote it. */
  pattern: string
  /** The preset that it belongs to; none where it comes from a file. */
  preset?: string | undefined
  /** Where it stands, for messages: `FILE:LINE:COLUMN`, or the preset. */
  place: string
  matches: ReferencePattern
  demand:
    | { kind: 'signature'; by: AcceptedSigners; onFailure: 'fail' | 'warn'; dockerReference: NameCheck }
    /** Nothing is looked at, for a reason that the rule gives. */
    | { kind: 'skip'; reason: string }
}

/** What a caller demands of the upstreams' signatures. */
export interface UpstreamPolicy {
  /** The first one that is for an image applies; an image that none is for fails. */
  rules: readonly UpstreamRule[]
}

/** The rule that applies to an image. */
export function ruleFor({ rules }: UpstreamPolicy, image: Reference): UpstreamRule | undefined {
  return rules.find(({ matches }) => matches(image))
}

/** Whether any rule is about certificates, which are checked with a trusted root. */
export function needsRoot({ rules }: UpstreamPolicy): boolean {
  return rules.some(({ demand }) => demand.kind === 'signature' && demand.by.identities.length > 0)
}

/** Who may have signed, for people. */
export function describeSigners({ keys, identities }: AcceptedSigners): string {
  return [
    ...keys.map(({ fingerprint }) => `key ${fingerprint}`),
    ...identities.map(({ identity, issuer }) => `${identity.shown} (issuer ${issuer.shown})`),
  ].join(', or ')
}

/**
 * Compares the name that a signature holds (`docker-reference`) with what a rule demands.
 * @param name undefined for signatures that hold none.
 * @returns why it does not fit, as a clause about the signature.
 */
export function nameFault(check: NameCheck, name: string | undefined, image: Reference): string | undefined {
  if (check === 'ignore') return undefined
  if (name === undefined || name === '') return 'it does not name the image, and the rule compares names'
  const bare = withoutHubAlias(name)
  if (check !== 'match') {
    return check.matches(bare) ? undefined : `it was made for the name ${shown(name)}, not ${check.shown}`
  }
  const { registry, repository, tag } = image
  const tagged = tag === undefined ? [] : [formatReference({ registry, repository, tag })]
  const own = [nameOf(image), formatReference(image), ...tagged]
  return own.includes(bare) ? undefined : `it was made for the name ${shown(name)}, not ${nameOf(image)}`
}

/** Tools written in Go know Docker's registry by the name of its index. */
function withoutHubAlias(name: string): string {
  return name.replace(/^index\.docker\.io\//, 'docker.io/')
}

function shown(text: string): string {
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text)
}
