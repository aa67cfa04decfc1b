import { dirname } from 'node:path'
import { AirgapError, type Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { MAX_YAML_SIZE } from '../../files/yaml.ts'
import { type Fault, readYamlDocument, unusableDocument, type YamlPath } from '../../files/yaml-document.ts'
import { digestOf } from '../../oci/digest.ts'
import { formatPlatform, parsePlatform } from '../../oci/platform.ts'
import type { Root } from '../identity/trusted-root.ts'
import { beside, SHARED_SYNONYMS } from '../policy-parts.ts'
import type { BundleRules, IdentityCredential, Policy, PolicySigner, SignerRule } from './policy.ts'
import { type PolicyDocument, PolicySchema } from './schema.ts'
import { type ReadCredential, readSigner } from './signers.ts'
import { parseAge } from './times.ts'
import type { PublicKey } from '../keys.ts'
import { nearest } from '../../nearest.ts'
import { parseRequirement } from './requirement.ts'

/** The rules of who has to have signed, with groups resolved into people. What cannot hold at all is a fault. */
function signerRules(
  { groups = {}, require }: PolicyDocument,
  signers: readonly PolicySigner[],
  faults: Fault[],
): SignerRule[] {
  const people = new Set(signers.map(({ name }) => name))
  checkGroups(groups, people, faults)
  // A signer whose keys could not be read has been reported, and is not to be called revoked.
  const isRead = signers.every(({ credentials }) => credentials.length > 0)
  const active = new Set(
    signers.filter(({ credentials }) => credentials.some(({ revoked }) => !revoked)).map(({ name }) => name),
  )
  const check = (rule: SignerRule, path: Fault['path']): SignerRule => {
    const able = rule.members.filter((name) => active.has(name))
    if (rule.count > rule.members.length) {
      faults.push({
        path,
        message: `${rule.text}: asks for ${rule.count}, and these are ${rule.members.length}`,
      })
    } else if (rule.count > able.length && isRead) {
      const gone = rule.members.filter((name) => !active.has(name))
      faults.push({
        path,
        message: `${rule.text}: can never hold, because ${gone.join(', ')} ${gone.length === 1 ? 'is' : 'are'} revoked`,
      })
    }
    return rule
  }
  if (require === undefined) {
    return [check({ text: 'any one signer', count: 1, members: [...people] }, ['signers'])]
  }
  const texts = typeof require === 'string' ? [require] : require
  return texts.map((text, i) => {
    const path = typeof require === 'string' ? ['require'] : ['require', i]
    const { count, names } = parseRequirement(text)
    const members = names.flatMap((name) => {
      if (Object.hasOwn(groups, name)) return groups[name] ?? []
      if (people.has(name)) return [name]
      faults.push({
        path,
        message: unknownName(name, [...people, ...Object.keys(groups)], 'signer or group', faults),
      })
      return []
    })
    const unique = [...new Set(members)]
    const rule = { text, count: count === 'all' ? unique.length : count, members: unique }
    // With unknown names in it, how many there are says nothing.
    return names.every((name) => Object.hasOwn(groups, name) || people.has(name)) ? check(rule, path) : rule
  })
}

function checkGroups(
  groups: Record<string, readonly string[]>,
  people: ReadonlySet<string>,
  faults: Fault[],
): void {
  const known = [...people]
  const lower = new Map(known.map((name) => [name.toLowerCase(), name]))
  for (const [group, members] of Object.entries(groups)) {
    const twin = lower.get(group.toLowerCase())
    if (twin !== undefined) {
      const message = `there is ${twin} already: a group needs a name of its own`
      faults.push({ path: ['groups', group], message, atKey: true })
    }
    lower.set(group.toLowerCase(), group)
    const seen = new Set<string>()
    for (const [i, member] of members.entries()) {
      const path = ['groups', group, i]
      const isAgain = seen.has(member)
      seen.add(member)
      if (isAgain) faults.push({ path, message: `${member} is in ${group} twice; everybody counts once` })
      else if (Object.hasOwn(groups, member))
        faults.push({ path, message: `${member} is a group, and groups hold signers only` })
      else if (!people.has(member))
        faults.push({ path, message: unknownName(member, known, 'signer', faults) })
    }
  }
}

/** Looking for what was meant has its price, and nobody reads the hundredth explanation. */
const MAX_EXPLAINED = 100

function unknownName(
  name: string,
  known: readonly string[],
  what: string,
  { length }: readonly Fault[],
): string {
  const message = `there is no ${what} ${JSON.stringify(name.slice(0, 80))}`
  if (length >= MAX_EXPLAINED) return message
  const meant = nearest(
    name,
    known.map((each) => each.toLowerCase()),
  )
  const found = known.find((each) => each.toLowerCase() === meant)
  return found === undefined ? message : `${message}; did you mean ${found}?`
}

/** More than any team has; every exact identity is compared with every pattern. */
const MAX_CREDENTIALS = 1000

/**
 * What would let one person count as two: a key given twice, in whatever encoding; an identity that is another signer's,
 * too; names that only look different.
 */
export function overlapFaults(names: readonly string[], credentials: readonly ReadCredential[]): Fault[] {
  const total = credentials.length
  if (total > MAX_CREDENTIALS) {
    const message = `signers have ${total} keys and identities, but at most ${MAX_CREDENTIALS} are allowed`
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

/** Words for a known key that are further from it than a slip of the pen. */
const SYNONYMS: ReadonlyMap<string, string> = new Map<string, string>([
  ...SHARED_SYNONYMS,
  ['people', 'signers'],
  ['persons', 'signers'],
  ['rules', 'require'],
  ['threshold', 'require'],
  ['root', 'trustedRoot'],
  ['publickey', 'pem'],
  ['expires', 'notAfter'],
  ['validuntil', 'notAfter'],
  ['validfrom', 'notBefore'],
  ['registries', 'sources'],
  ['include', 'sources'],
  ['resolvedfrom', 'allowMirrorDigests'],
  ['skipped', 'allowSkipped'],
])

/**
 * Reads a policy file, with the keys and the trusted root that it names.
 * @throws AirgapError `FILE`; `INVALID_POLICY` as {@link parsePolicy}
 */
export async function readPolicy(path: string): Promise<Policy> {
  return parsePolicy(await readSmallFile(path, MAX_YAML_SIZE), path)
}

/**
 * Reads a policy: strict YAML, known keys only, each value by its own parser. Files that it names lie relative to its
 * own folder.
 *
 * @param path the file's name; what it names is looked for from there.
 * @throws AirgapError `INVALID_POLICY` naming every fault with line and column.
 */
export async function parsePolicy(bytes: Uint8Array, path: string): Promise<Policy> {
  const read = readYamlDocument(bytes, {
    what: path,
    kind: 'policy',
    schema: PolicySchema,
    synonyms: SYNONYMS,
  })
  if (!read.ok) throw invalid(path, read.problems)
  const document = read.value
  const faults: Fault[] = []
  const folder = dirname(path)

  const credentials: ReadCredential[] = []
  for (const [name, signer] of Object.entries(document.signers)) {
    credentials.push(...(await readSigner(name, signer, { folder, source: path, faults })))
  }
  const signers = Object.keys(document.signers).map((name): PolicySigner => {
    const own = credentials.filter((each) => each.name === name)
    return { name, credentials: own.map(({ credential }) => credential) }
  })
  faults.push(...overlapFaults(Object.keys(document.signers), credentials))
  const require = signerRules(document, signers, faults)
  const trustedRoot =
    document.trustedRoot === undefined
      ? undefined
      : await readRoot(beside(folder, document.trustedRoot), ['trustedRoot'], faults)
  if (faults.length > 0) throw invalid(path, read.problemsOf(faults))
  return {
    source: path,
    digest: digestOf(bytes),
    signers,
    require,
    trustedRoot,
    bundle: bundleRules(document),
  }
}

async function readRoot(file: string, path: YamlPath, faults: Fault[]): Promise<Root | undefined> {
  const { readTrustedRoot } = await import('../identity/trusted-root.ts')
  try {
    return await readTrustedRoot(file)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    faults.push({ path, message: `trustedRoot: ${error.message}` })
    return undefined
  }
}

function bundleRules({ bundle = {}, images = {} }: PolicyDocument): BundleRules {
  const { name, minSequence, maxAge, requireExpiry } = bundle
  const { sources, platforms, allowMirrorDigests, allowChangedDigests, allowSkipped } = images
  return {
    names: typeof name === 'string' ? [name] : name,
    minSequence,
    maxAge: maxAge === undefined ? undefined : { milliseconds: parseAge(maxAge), text: maxAge },
    requireExpiry,
    sources,
    platforms: platforms?.map((platform) => formatPlatform(parsePlatform(platform))),
    allowMirrorDigests,
    allowChangedDigests,
    allowSkipped,
  }
}

function invalid(path: string, found: readonly Problem[]): AirgapError {
  return unusableDocument('INVALID_POLICY', found, {
    one: 'the policy cannot be used: ',
    several: `the policy ${path} cannot be used`,
    hint: 'Nothing was checked. docs/trust.md explains every key of a policy.',
  })
}
