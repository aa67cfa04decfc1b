import * as v from 'valibot'
import { isMap, isScalar, isSeq, type ParsedNode } from 'yaml'
import type { AirgapError, Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { describeNode, MAX_YAML_SIZE, quote, readYaml, type YamlText } from '../../files/yaml.ts'
import { unusableDocument } from '../../files/yaml-faults.ts'
import type { Hint, RunOption } from '../../hints.ts'
import { type Config, CONFIG_KEYS, CONFIG_VERSION, type ConfigKey, ConfigSchema } from './schema.ts'
import { nearest } from '../../nearest.ts'

/** Keys that people may expect in a config, why it does not have them, and what to use instead. */
const ELSEWHERE: readonly (readonly [keys: RegExp, why: string, option?: RunOption])[] = [
  [
    /^(?:no|allow)?(?:un)?sign(?:ed|ing|ature)?s?$|^(?:private|public|sign(?:ing)?|cosign)?keys?(?:file|path|ref)?$/,
    'the key that signs a bundle is chosen when the command is run',
    'key',
  ],
  [/^pass(?:word|phrase)(?:file)?s?$/, 'secrets do not belong in a file that others read', 'password'],
  [
    /^(?:registry)?(?:cred(?:ential)?s?|credentialhelpers?|user(?:name)?|token|auths?|authfile|login|secrets?)$/,
    'credentials do not belong in a file that others read',
    'credentials',
  ],
  [/^plainhttp$|^http$/, 'plain HTTP is allowed only when the command is run', 'plainHttp'],
  [
    /^insecure|^(?:skip)?tls|^verifytls$|^allowinsecure/,
    'exceptions from TLS are made only when the command is run',
    'insecureSkipTlsVerify',
  ],
  [
    /^ca(?:s|file|cert|certs|certfile|bundle)?$|^certs?$/,
    'trusted certificates are chosen when the command is run',
    'caFile',
  ],
  [/^allowtokenrealms?$/, 'who may see credentials is decided when the command is run', 'allowTokenRealm'],
  [
    /^mirrors?(?:from|files?)$|^(?:certsd|hoststoml|registriesconf)$/,
    'such files can allow connections without TLS, so they are named only when the command is run',
    'mirrorsFrom',
  ],
  [
    /^(?:pre|post|sign|signing)?(?:commands?|exec|hooks?|run|scripts?|shell|args|entrypoint)$/,
    'a config cannot run commands',
  ],
  [/^out(?:put)?(?:file)?$|^file$|^force$/, 'where a bundle is written is chosen for each run', 'output'],
  [/^lock(?:file)?$/, 'a lock is made from a config, and named for each run', 'lock'],
  [/^sequence$/, 'each bundle has its own', 'sequence'],
  [/^expir(?:es|y|ation)$/, 'each bundle has its own', 'expires'],
  [/^(?:concurrency|dryrun|reuse|quiet|json)$/, 'it belongs to a single run', 'other'],
]

/** Other words for known keys, which are not just misspellings. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['version', 'bundleVersion'],
  ['tag', 'bundleVersion'],
  ['apiversion', 'configVersion'],
  ['formatversion', 'configVersion'],
  ['bundlename', 'name'],
  ['bundle', 'name'],
  ['lists', 'imagesFrom'],
  ['imagelists', 'imagesFrom'],
  ['include', 'images'],
  ['kubernetes', 'kubeadm'],
  ['kubernetesversion', 'kubeadm'],
  ['imagerepository', 'kubeadmRepository'],
  ['arch', 'platforms'],
  ['architectures', 'platforms'],
])

/** Longer than any key, and than any misspelling that could be recognised. */
const MAX_COMPARED = 64

/** Why a config cannot have this key, and what to use instead; undefined for other unknown keys. */
export function elsewhere(key: string): (typeof ELSEWHERE)[number] | undefined {
  const folded = fold(key)
  return folded.length > MAX_COMPARED ? undefined : ELSEWHERE.find(([keys]) => keys.test(folded))
}

/** The known key that was probably meant by `key`. */
export function nearestKey(key: string): string | undefined {
  const folded = fold(key)
  return SYNONYMS.get(folded) ?? FOLDED.get(nearest(folded, [...FOLDED.keys()]) ?? '')
}

/** Folds `images-from`, `images_from` and `ImagesFrom` to the same text as `imagesFrom`. */
function fold(key: string): string {
  return key.toLowerCase().replaceAll(/[-_. ]/g, '')
}

const FOLDED: ReadonlyMap<string, string> = new Map(CONFIG_KEYS.map((key) => [fold(key), key]))

/** A config file that was read. */
export interface ConfigFile {
  /** The path as given. */
  path: string
  config: Config
  /** `FILE:LINE:COLUMN` of a key's value, or of an item of its list. */
  place: (key: ConfigKey, index?: number) => string
}

/**
 * Reads a config file.
 * @throws AirgapError `FILE`; `INVALID_CONFIG` as {@link parseConfig}
 */
export async function readConfig(path: string): Promise<ConfigFile> {
  return parseConfig(await readSmallFile(path, MAX_YAML_SIZE), path)
}

/**
 * Parses a config: strict YAML with only known keys, each value with the same parser as its flag.
 *
 * @param path the file's name, for errors; no file is opened.
 * @throws AirgapError `INVALID_CONFIG` naming every fault with line and column.
 */
export function parseConfig(bytes: Uint8Array, path: string): ConfigFile {
  const yaml = readYaml(bytes, path)
  if (yaml.root === undefined) throw invalid(path, yaml.problems)
  const faults: Fault[] = []
  const nodes = topLevel(yaml, faults)
  if (!nodes) {
    const { range } = yaml.root as ParsedNode
    const message = `a config must be a mapping of keys, but this is ${describeNode(yaml.root)}`
    throw invalid(path, [{ entry: yaml.place(range[0]), message }])
  }
  const values = Object.fromEntries([...nodes].map(([key, { value }]) => [key, plain(value)]))
  const offsetOf = (key: ConfigKey, index?: number): number =>
    nodeAt(nodes, key, index)?.range[0] ?? nodes.get(key)?.offset ?? 0

  const result = v.safeParse(ConfigSchema, values)
  for (const issue of result.issues ?? []) {
    const [key, index] = (issue.path ?? []).map((item) => item.key) as [ConfigKey, number?]
    const node = nodeAt(nodes, key, index)
    faults.push({ offset: offsetOf(key, index), message: describeIssue(issue, key, index, node) })
  }
  if (faults.length > 0 || !result.success) {
    const inOrder = faults.toSorted((a, b) => a.offset - b.offset)
    throw invalid(
      path,
      inOrder.map(({ offset, message, hints = [] }) => ({ entry: yaml.place(offset), message, hints })),
    )
  }
  return { path, config: result.output, place: (key, index) => yaml.place(offsetOf(key, index)) }
}

interface Fault {
  offset: number
  message: string
  hints?: readonly Hint[]
}

type TopLevel = Map<ConfigKey, { value: ParsedNode | null; offset: number }>

/** The known keys of the file's mapping; undefined if it is not a mapping. Unknown and duplicate keys are faults. */
function topLevel({ root, place }: YamlText, faults: Fault[]): TopLevel | undefined {
  const nodes: TopLevel = new Map()
  if (!root || (isScalar(root) && root.value === null)) return nodes
  if (!isMap(root)) return undefined
  const seen = new Map<string, string>()
  for (const pair of root.items) {
    const { key: keyNode, value } = pair as { key: ParsedNode; value: ParsedNode | null }
    const offset = keyNode.range[0]
    if (!isScalar(keyNode) || typeof keyNode.value !== 'string') {
      faults.push({ offset, message: `a key must be a word, but this is ${describeNode(keyNode)}` })
      continue
    }
    const key = keyNode.value
    const first = seen.get(key)
    if (first !== undefined) {
      faults.push({ offset, message: `the key ${quote(key)} is given twice, first in ${first}` })
      continue
    }
    seen.set(key, place(offset))
    if (isConfigKey(key)) nodes.set(key, { value, offset })
    else faults.push({ offset, ...describeUnknown(key, faults.length < MAX_EXPLAINED) })
  }
  return nodes
}

function isConfigKey(key: string): key is ConfigKey {
  return (CONFIG_KEYS as string[]).includes(key)
}

/** Limits the search for similar keys, which takes time. Nobody reads the hundredth suggestion. */
const MAX_EXPLAINED = 100

function describeUnknown(key: string, isExplained: boolean): Omit<Fault, 'offset'> {
  if (!isExplained) return { message: `there is no key ${quote(key)}` }
  if (key === '<<') return { message: 'merge keys (<<) are not supported' }
  const found = elsewhere(key)
  if (found) {
    const [, why, option] = found
    const message = `${quote(key)} cannot be set in a config: ${why}`
    return option === undefined ? { message } : { message, hints: [{ id: 'said-with-each-run', option }] }
  }
  const nearest = nearestKey(key)
  return {
    message:
      nearest === undefined
        ? `there is no key ${quote(key)}`
        : `there is no key ${quote(key)}; did you mean ${nearest}?`,
  }
}

/** A node as a plain value for the schema. No key takes a mapping, so the content of one does not matter. */
function plain(node: ParsedNode | null): unknown {
  if (isScalar(node)) return node.value
  if (isSeq(node)) return node.items.map((item) => plain(item as ParsedNode | null))
  return node === null ? null : {}
}

function nodeAt(nodes: TopLevel, key: ConfigKey, index: number | undefined): ParsedNode | undefined {
  const value = nodes.get(key)?.value
  if (index === undefined || !isSeq(value)) return value ?? undefined
  return value.items[index] ?? undefined
}

/**
 * What is wrong with values that do not come from a file.
 * @param config like {@link Config}, but only the keys are known to be right.
 */
export function checkConfig(config: Record<string, unknown>): { key: ConfigKey; message: string }[] {
  return (v.safeParse(ConfigSchema, config).issues ?? []).map((issue) => {
    const [key, index] = (issue.path ?? []).map((item) => item.key) as [ConfigKey, number?]
    const message = issue.type === 'raw_check' ? issue.message : `${nameOf(key, index)} ${issue.message}`
    return { key, message }
  })
}

function nameOf(key: ConfigKey, index: number | undefined): string {
  return index === undefined ? key : `item ${index + 1} of ${key}`
}

const EXPECTED: Record<string, string> = {
  string: 'text',
  array: 'a list',
  boolean: 'true or false',
  picklist: 'source or mirror',
  literal: String(CONFIG_VERSION),
}

function describeIssue(
  issue: v.BaseIssue<unknown>,
  key: ConfigKey,
  index: number | undefined,
  node: ParsedNode | undefined,
): string {
  const what = nameOf(key, index)
  if (issue.kind !== 'schema') {
    // Messages of the parsers are sentences that quote the value; ours continue after the name of the key.
    return issue.type === 'raw_check' ? `${key}: ${issue.message}` : `${what} ${issue.message}`
  }
  if (!node) {
    return key === 'configVersion' && issue.received === 'undefined'
      ? `the key configVersion is missing; this release reads configVersion: ${CONFIG_VERSION}`
      : `${what} has no value; fill it in, or remove the key`
  }
  if (isScalar(node) && node.value === null)
    return index === undefined ? `${key} has no value; fill it in, or remove the key` : `${what} has no value`
  const message = `${what} must be ${EXPECTED[issue.type] ?? issue.expected}, but is ${describeNode(node)}`
  if (key === 'configVersion') {
    return isScalar(node) && typeof node.value === 'number' && node.value > CONFIG_VERSION
      ? `configVersion is ${node.value}, but this release of airgap reads ${CONFIG_VERSION}`
      : message
  }
  if (issue.type === 'string' && isScalar(node)) {
    return `${message}; in quotes it is text: "${node.source ?? String(node.value)}"`
  }
  if (issue.type === 'string' && isMap(node)) {
    return `${message}; a colon before a space or at the end of a line makes a mapping, unless the text is in quotes`
  }
  if (issue.type === 'array' && isScalar(node) && typeof node.value === 'string') {
    return `${message}; a list has one item per line, each after "- "`
  }
  return message
}

function invalid(path: string, found: readonly Problem[]): AirgapError {
  return unusableDocument('INVALID_CONFIG', found, {
    one: '',
    several: path,
    hint: { id: 'config-keys' },
  })
}
