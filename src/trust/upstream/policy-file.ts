import { dirname } from 'node:path'
import { AirgapError, type Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { MAX_YAML_SIZE } from '../../files/yaml.ts'
import {
  attempt,
  type Fault,
  readYamlDocument,
  unusableDocument,
  type YamlPath,
} from '../../files/yaml-document.ts'
import { parsePattern, parseTextPattern } from '../../oci/pattern.ts'
import { type Identity, identityFrom } from '../identity/identity.ts'
import type { PublicKey } from '../keys.ts'
import {
  described,
  identityEntries,
  identityNamedOnce,
  issuerNamedOnce,
  keyEntries,
  KeyFileSchema,
  keyNamedOnce,
  readPolicyKey,
  SHARED_SYNONYMS,
} from '../policy-parts.ts'
import type { NameCheck, UpstreamPolicy, UpstreamRule } from './rule.ts'
import * as v from 'valibot'
import { readableBy, text } from '../../files/yaml-values.ts'

const UPSTREAM_POLICY_TYPE = 'dev.airgap.upstream-policy'
const UPSTREAM_POLICY_VERSION = '1.0'

/** Limited because every image is compared with the rules one by one. */
const MAX_RULES = 1000
const MAX_SIGNERS = 100
/** Maximum length of a reason in the bundle's description. */
const MAX_REASON_TEXT = 500

const pattern = v.pipe(
  text,
  readableBy(parsePattern, ({ hint = '' }) => `is not a pattern. ${hint}`),
)

const KeySchema = v.union([KeyFileSchema, v.pipe(v.strictObject(keyEntries), keyNamedOnce())])

const IdentitySchema = v.pipe(v.strictObject(identityEntries), identityNamedOnce(), issuerNamedOnce())

const listOf = <S extends v.GenericSchema>(item: S) =>
  v.pipe(
    v.array(item),
    v.minLength(1, 'is empty; remove the key'),
    v.maxLength(MAX_SIGNERS, `has more than ${MAX_SIGNERS} items`),
  )

const RuleSchema = v.pipe(
  v.strictObject({
    pattern: v.pipe(
      pattern,
      v.description(
        'Which images the rule is for: compared with the whole reference and with the name alone; * matches any characters, and a pattern that begins with * needs quotes.',
      ),
    ),
    keys: described(listOf(KeySchema), 'Public keys whose signatures count.'),
    identities: described(
      listOf(IdentitySchema),
      'Identities in certificates whose signatures count (keyless). Needs a trusted root.',
    ),
    onFailure: described(
      v.picklist(['fail', 'warn']),
      'What happens to an image without a good signature: fail, the default, or warn, which packs it and records that it was not verified.',
    ),
    dockerReference: described(
      text,
      "How to check the name in cosign's older signatures: ignore, the default, does not check it; match demands the image's own name; anything else is a pattern for it. Sigstore bundles contain no name, so they pass only with ignore.",
    ),
    skip: described(
      v.pipe(text, v.maxLength(MAX_REASON_TEXT, `has more than ${MAX_REASON_TEXT} characters`)),
      'Checks nothing, and records this reason: for images that are known to be unsigned.',
    ),
  }),
  v.check(
    ({ keys, identities, skip }) => skip !== undefined || keys !== undefined || identities !== undefined,
    'says neither who signs (keys, identities) nor that nobody does (skip: REASON)',
  ),
  v.check(
    ({ skip, keys, identities, onFailure, dockerReference }) =>
      skip === undefined || !(keys ?? identities ?? onFailure ?? dockerReference),
    'has skip, but also says what to verify: keep only one',
  ),
)

/**
 * The upstream policy: who must have signed which images. The checks and the published JSON schema come from here, so
 * descriptions are sentences for users.
 */
export const UpstreamPolicySchema = v.strictObject({
  type: v.pipe(v.literal(UPSTREAM_POLICY_TYPE), v.description('The type of this file.')),
  formatVersion: v.pipe(
    v.literal(UPSTREAM_POLICY_VERSION),
    v.description('The version of this file format, as text.'),
  ),
  rules: v.pipe(
    v.array(RuleSchema),
    v.minLength(1, 'is empty'),
    v.maxLength(MAX_RULES, `has more than ${MAX_RULES} rules`),
    v.description(
      'Only the first rule whose pattern matches an image applies to it. An image that no rule matches fails.',
    ),
  ),
})

type RuleDocument = v.InferOutput<typeof UpstreamPolicySchema>['rules'][number]

/** Rules for common upstreams, by a name that can be given instead of a file. */
const PRESETS = {
  // kubernetes.io, "Verify Signed Kubernetes Artifacts". Names are not compared, because promoted images are signed
  // under the names of the registries behind registry.k8s.io, and some of these under other paths.
  kubernetes: {
    pattern: 'registry.k8s.io/*',
    identity: 'krel-trust@k8s-releng-prod.iam.gserviceaccount.com',
    issuer: 'https://accounts.google.com',
  },
} as const

type PresetName = keyof typeof PRESETS

const PRESET_NAMES = Object.keys(PRESETS) as PresetName[]

function isPreset(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name)
}

/** The rules of a preset. */
export function presetRules(name: PresetName): UpstreamRule[] {
  const { pattern, identity, issuer } = PRESETS[name]
  return [
    {
      pattern,
      preset: name,
      place: `preset ${name}`,
      matches: parsePattern(pattern),
      demand: {
        kind: 'signature',
        by: { keys: [], identities: [identityFrom({ identity, issuer })] },
        onFailure: 'fail',
        dockerReference: 'ignore',
      },
    },
  ]
}

/** Other words for known keys, which are not just misspellings. */
const SYNONYMS: ReadonlyMap<string, string> = new Map<string, string>([
  ...SHARED_SYNONYMS,
  ['images', 'rules'],
  ['image', 'pattern'],
  ['match', 'pattern'],
  ['glob', 'pattern'],
  ['key', 'keys'],
  ['publickey', 'keys'],
  ['authorities', 'identities'],
  ['keyless', 'identities'],
  ['mode', 'onFailure'],
  ['action', 'onFailure'],
  ['unsigned', 'skip'],
  ['reason', 'skip'],
  ['remapidentity', 'dockerReference'],
])

/**
 * Reads several policies as one, with their rules in order.
 * @param names files, or names of presets. For a file with the name of a preset, use `./NAME`.
 * @throws AirgapError `FILE`, `INVALID_POLICY`
 */
export async function readUpstreamPolicies(names: readonly string[]): Promise<UpstreamPolicy> {
  const rules: UpstreamRule[] = []
  for (const name of names) {
    rules.push(...(isPreset(name) ? presetRules(name) : (await readUpstreamPolicy(name)).rules))
  }
  return { rules }
}

async function readUpstreamPolicy(path: string): Promise<UpstreamPolicy> {
  try {
    return await parseUpstreamPolicy(await readSmallFile(path, MAX_YAML_SIZE, 'policy'), path)
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'FILE' || error.hint !== undefined) throw error
    throw new AirgapError('FILE', error.message, {
      hint: `A policy is a file, or the name of a preset: ${PRESET_NAMES.join(', ')}.`,
      cause: error,
    })
  }
}

/**
 * Parses an upstream policy: strict YAML with only known keys, each value with its own parser. Paths in it are relative
 * to its folder.
 *
 * @param path the policy's file, for messages and for relative paths.
 * @throws AirgapError `INVALID_POLICY` naming every fault with line and column.
 */
export async function parseUpstreamPolicy(bytes: Uint8Array, path: string): Promise<UpstreamPolicy> {
  const read = readYamlDocument(bytes, {
    what: path,
    kind: 'policy',
    schema: UpstreamPolicySchema,
    synonyms: SYNONYMS,
  })
  if (!read.ok) throw invalid(path, read.problems)
  const faults: Fault[] = []
  const rules: UpstreamRule[] = []
  for (const [i, document] of read.value.rules.entries()) {
    const at = ['rules', i]
    rules.push({
      pattern: document.pattern,
      place: read.place(at),
      matches: parsePattern(document.pattern),
      demand: await demandOf(document, at, { path, faults }),
    })
  }
  if (faults.length > 0) throw invalid(path, read.problemsOf(faults))
  return { rules }
}

interface Context {
  /** The policy file. */
  path: string
  faults: Fault[]
}

async function demandOf(
  { keys = [], identities = [], onFailure = 'fail', dockerReference = 'ignore', skip }: RuleDocument,
  at: YamlPath,
  { path, faults }: Context,
): Promise<UpstreamRule['demand']> {
  if (skip !== undefined) return { kind: 'skip', reason: skip }
  const by: { keys: PublicKey[]; identities: Identity[] } = { keys: [], identities: [] }
  for (const [i, given] of keys.entries()) {
    await attempt([...at, 'keys', i], faults, async () =>
      by.keys.push(await readPolicyKey(given, dirname(path), path)),
    )
  }
  for (const [i, given] of identities.entries()) {
    await attempt([...at, 'identities', i], faults, () => by.identities.push(identityFrom(given)))
  }
  return { kind: 'signature', by, onFailure, dockerReference: nameCheck(dockerReference) }
}

function nameCheck(text: string): NameCheck {
  if (text === 'ignore' || text === 'match') return text
  return { shown: text, matches: parseTextPattern(text) }
}

function invalid(path: string, found: readonly Problem[]): AirgapError {
  return unusableDocument('INVALID_POLICY', found, {
    one: 'the upstream policy cannot be used: ',
    several: `the upstream policy ${path} cannot be used`,
    hint: `Nothing was verified. docs/trust.md explains every key of such a policy (type: ${UPSTREAM_POLICY_TYPE}).`,
  })
}
