import type { ReferencePattern } from '../../oci/pattern.ts'
import { formatReference, nameOf, type Reference } from '../../oci/reference.ts'
import type { Identity } from '../identity/identity.ts'
import type { PublicKey } from '../keys.ts'

/** Who may have signed; one of them is enough. */
export interface AcceptedSigners {
  /** Accepted keys. */
  keys: readonly PublicKey[]
  /** Accepted identities in certificates. */
  identities: readonly Identity[]
}

/** What the name in a signature is compared with: nothing, the image's own name, or a pattern. */
export type NameCheck = 'ignore' | 'match' | { shown: string; matches: (name: string) => boolean }

/** A rule of a policy: which images it is for, and who must have signed them. */
export interface UpstreamRule {
  /** As its author wrote it. */
  pattern: string
  /** The preset that it belongs to; undefined for a rule from a file. */
  preset?: string | undefined
  /** Its place, for messages: `FILE:LINE:COLUMN`, or the preset. */
  place: string
  matches: ReferencePattern
  demand:
    | { kind: 'signature'; by: AcceptedSigners; onFailure: 'fail' | 'warn'; dockerReference: NameCheck }
    /** Nothing is checked, for the given reason. */
    | { kind: 'skip'; reason: string }
}

/** What a caller demands of upstreams' signatures. */
export interface UpstreamPolicy {
  /** The first rule that matches an image applies. An image that no rule matches fails. */
  rules: readonly UpstreamRule[]
}

/** The rule that applies to an image. */
export function ruleFor({ rules }: UpstreamPolicy, image: Reference): UpstreamRule | undefined {
  return rules.find(({ matches }) => matches(image))
}

/** Whether any rule names identities, which need a trusted root. */
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
 * Compares the name in a signature (`docker-reference`) with what a rule demands.
 * @param name undefined for signatures without a name.
 * @returns why it does not match, as a clause about the signature; undefined if it does.
 */
export function nameFault(check: NameCheck, name: string | undefined, image: Reference): string | undefined {
  if (check === 'ignore') return undefined
  if (name === undefined || name === '') return 'it does not name the image, but the rule compares names'
  const bare = withoutHubAlias(name)
  if (check !== 'match') {
    return check.matches(bare) ? undefined : `it was made for the name ${shown(name)}, not ${check.shown}`
  }
  const { registry, repository, tag } = image
  const tagged = tag === undefined ? [] : [formatReference({ registry, repository, tag })]
  const own = [nameOf(image), formatReference(image), ...tagged]
  return own.includes(bare) ? undefined : `it was made for the name ${shown(name)}, not ${nameOf(image)}`
}

/** Tools written in Go use another name for Docker's registry. */
function withoutHubAlias(name: string): string {
  return name.replace(/^index\.docker\.io\//, 'docker.io/')
}

function shown(text: string): string {
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text)
}
