import { dirname } from 'node:path'
import { AirgapError, type Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { MAX_YAML_SIZE } from '../../files/yaml.ts'
import { readYamlDocument, type YamlPath } from '../../files/yaml-document.ts'
import { unusableDocument, type Fault } from '../../files/yaml-faults.ts'
import { digestOf } from '../../oci/digest.ts'
import { formatPlatform, parsePlatform } from '../../oci/platform.ts'
import type { Root } from '../identity/trusted-root.ts'
import { beside } from '../policy-parts/keys.ts'
import { SHARED_SYNONYMS } from '../policy-parts/schema.ts'
import { overlapFaults } from './overlaps.ts'
import type { BundleRules, Policy, PolicySigner } from './policy.ts'
import { signerRules } from './rules.ts'
import { PolicySchema, type PolicyDocument } from './schema.ts'
import { readSigner, type ReadCredential } from './signers.ts'
import { parseAge } from './times.ts'

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
    hint: 'Nothing was checked. docs/policy.md explains every key of a policy.',
  })
}
