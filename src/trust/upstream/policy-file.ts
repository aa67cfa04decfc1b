import { dirname } from 'node:path'
import { AirgapError, type Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { MAX_YAML_SIZE } from '../../files/yaml.ts'
import { readYamlDocument, type YamlPath } from '../../files/yaml-document.ts'
import { attempt, unusableDocument, type Fault } from '../../files/yaml-faults.ts'
import { parsePattern, parseTextPattern } from '../../oci/pattern.ts'
import { identityFrom, type Identity } from '../identity/identity.ts'
import type { PublicKey } from '../keys.ts'
import { readPolicyKey } from '../policy-parts/keys.ts'
import { SHARED_SYNONYMS } from '../policy-parts/schema.ts'
import { isPreset, PRESET_NAMES, presetRules } from './presets.ts'
import type { NameCheck, UpstreamPolicy, UpstreamRule } from './rule.ts'
import { UPSTREAM_POLICY_TYPE, UpstreamPolicySchema, type RuleDocument } from './schema.ts'

/** Words for a known key that are further from it than a slip of the pen. */
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
 * Reads the policies that a caller names, as one: their rules, one policy's after the other's.
 * @param names files, or names of presets; a file that has the name of a preset is meant by `./NAME`.
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
 * Reads a policy for upstreams' signatures: strict YAML, known keys only, each value by its own parser. Files that it
 * names lie relative to its own folder.
 *
 * @param path the file's name; what it names is looked for from there.
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
    hint: `Nothing was verified. docs/upstream.md explains every key of such a policy (type: ${UPSTREAM_POLICY_TYPE}).`,
  })
}
