import type { Fault } from '../../files/yaml-faults.ts'
import type { PublicKey } from '../keys.ts'
import type { IdentityCredential } from './policy.ts'
import type { ReadCredential } from './signers.ts'

/** More than any team has; every exact identity is compared with every pattern. */
const MAX_CREDENTIALS = 1000

/**
 * What would let one person count as two: a key given twice, in whatever encoding; an identity that is another signer's,
 * too; names that only look different.
 */
export function overlapFaults(names: readonly string[], credentials: readonly ReadCredential[]): Fault[] {
  const total = credentials.length
  if (total > MAX_CREDENTIALS) {
    const message = `signers have ${total} keys and identities, and ${MAX_CREDENTIALS} are the most`
    return [{ path: ['signers'], message }]
  }
  return [...sameNames(names), ...sameKeys(credentials), ...sameIdentities(credentials)]
}

function sameNames(names: readonly string[]): Fault[] {
  const seen = new Map<string, string>()
  return names.flatMap((name) => {
    const twin = seen.get(name.toLowerCase())
    seen.set(name.toLowerCase(), twin ?? name)
    if (twin === undefined) return []
    const message = `${name} and ${twin} differ only in case, and are two signers: give one of them another name`
    return [{ path: ['signers', name], message, atKey: true }]
  })
}

function sameKeys(all: readonly ReadCredential[]): Fault[] {
  const seen = new Map<string, string>()
  return all.flatMap(({ name, path, credential }) => {
    if (credential.kind !== 'key') return []
    const { key } = credential
    const point = pointOf(key)
    const owner = seen.get(point)
    seen.set(point, owner ?? name)
    if (owner === undefined) return []
    const message =
      owner === name
        ? `${name} has the key ${key.fingerprint} twice (${key.source})`
        : `${name} has the key of ${owner} (${key.source}, ${key.fingerprint}): one key would count as two people`
    return [{ path, message }]
  })
}

/** What makes two keys one, however they are encoded: the curve's point, or the modulus. */
function pointOf({ keyObject, fingerprint }: PublicKey): string {
  // Such keys have no JWK; their DER tells them.
  if (keyObject.asymmetricKeyType === 'rsa-pss') return fingerprint
  const { kty, crv, x, y, n } = keyObject.export({ format: 'jwk' })
  return JSON.stringify([kty, crv, x, y, n])
}

interface Named extends ReadCredential {
  credential: ReadCredential['credential'] & IdentityCredential
}

function sameIdentities(credentials: readonly ReadCredential[]): Fault[] {
  const all = credentials.filter((each): each is Named => each.credential.kind === 'identity')
  const seen = new Map<string, string>()
  return all.flatMap(({ name, path, credential }) => {
    const { written } = credential
    const { identity, identityRegexp, issuer, issuerRegexp } = written
    const key = JSON.stringify([identity, identityRegexp, issuer, issuerRegexp].map((text) => text ?? null))
    const owner = seen.get(key)
    seen.set(key, owner ?? name)
    const what = `the identity ${shownIdentity(credential)}`
    if (owner === name) return [{ path, message: `${name} has ${what} twice` }]
    if (owner !== undefined) {
      const message = `${name} has ${what}, and so has ${owner}: one identity would count as two people`
      return [{ path, message }]
    }
    const wider = all.find((other) => other.name !== name && fits(other.credential, written))
    if (!wider) return []
    const message = `${name} has ${what}, and ${wider.name} has ${shownIdentity(wider.credential)}, which fits it, too: one identity would count as two people`
    return [{ path, message }]
  })
}

/** Whether an identity that is written exactly is one that a credential takes. */
function fits({ identity }: IdentityCredential, written: IdentityCredential['written']): boolean {
  if (written.identity === undefined || written.issuer === undefined) return false
  return identity.identity.matches(written.identity) && identity.issuer.matches(written.issuer)
}

function shownIdentity({ identity: { identity, issuer } }: IdentityCredential): string {
  return `${identity.shown} (issuer ${issuer.shown})`
}
