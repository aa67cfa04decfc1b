import * as v from 'valibot'
import type { AirgapError, Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { isSentence, issueOf } from '../../files/yaml-values.ts'
import { MAX_YAML_SIZE, quote } from '../../files/yaml.ts'
import { pathInWords, readYamlDocument, unusableDocument, type YamlPath } from '../../files/yaml-document.ts'
import type { RunOption } from '../../hints.ts'
import { type Config, type ConfigKey, ConfigSchema } from './schema.ts'

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

/** Why a config cannot have this key, and what to use instead; undefined for other unknown keys. */
function elsewhere(folded: string, key: string): Omit<Problem, 'entry'> | undefined {
  const found = ELSEWHERE.find(([keys]) => keys.test(folded))
  if (!found) return undefined
  const [, why, option] = found
  const message = `${quote(key)} cannot be set in a config: ${why}`
  return option === undefined ? { message } : { message, hints: [{ id: 'said-with-each-run', option }] }
}

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
  const document = readYamlDocument(bytes, {
    what: path,
    kind: 'config',
    schema: ConfigSchema,
    synonyms: SYNONYMS,
    explain: elsewhere,
  })
  if (!document.ok) throw invalid(path, document.problems)
  const { value: config, place } = document
  return { path, config, place: (key, index) => place(index === undefined ? [key] : [key, index]) }
}

/**
 * What is wrong with values that do not come from a file.
 * @param config like {@link Config}, but only the keys are known to be right.
 */
export function checkConfig(config: Record<string, unknown>): { key: ConfigKey; message: string }[] {
  return (v.safeParse(ConfigSchema, config).issues ?? []).map((issue) => {
    const path = (issue.path ?? []).map((item) => item.key) as [ConfigKey, number?]
    // A sentence quotes the value, so it needs no name.
    const message = isSentence(issue)
      ? issue.message
      : issueOf(pathInWords(path as YamlPath, 'config'), issue)
    return { key: path[0], message }
  })
}

function invalid(path: string, found: readonly Problem[]): AirgapError {
  return unusableDocument('INVALID_CONFIG', found, {
    one: '',
    several: path,
    hint: { id: 'config-keys' },
  })
}
