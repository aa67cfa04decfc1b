import * as v from 'valibot'
import type { AirgapError, Problem } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { isSentence, issueOf } from '../../files/yaml-values.ts'
import { MAX_YAML_SIZE, quote } from '../../files/yaml.ts'
import { pathInWords, readYamlDocument, unusableDocument, type YamlPath } from '../../files/yaml-document.ts'
import type { RunOption } from '../../hints.ts'
import { type Config, type ConfigKey, ConfigSchema } from './schema.ts'

/** Keys that people may look for here, why a config does not have them, and what does it instead. */
const ELSEWHERE: readonly (readonly [keys: RegExp, why: string, option?: RunOption])[] = [
  [
    /^(?:no|allow)?(?:un)?sign(?:ed|ing|ature)?s?$|^(?:private|public|sign(?:ing)?|cosign)?keys?(?:file|path|ref)?$/,
    'whoever runs the command says with which key a bundle is signed, if with any',
    'key',
  ],
  [/^pass(?:word|phrase)(?:file)?s?$/, 'secrets do not belong into a file that others read', 'password'],
  [
    /^(?:registry)?(?:cred(?:ential)?s?|credentialhelpers?|user(?:name)?|token|auths?|authfile|login|secrets?)$/,
    'credentials do not belong into a file that others read',
    'credentials',
  ],
  [
    /^plainhttp$|^http$/,
    'whoever runs the command says whether a registry may be spoken to without TLS',
    'plainHttp',
  ],
  [
    /^insecure|^(?:skip)?tls|^verifytls$|^allowinsecure/,
    'whoever runs the command makes exceptions from TLS',
    'insecureSkipTlsVerify',
  ],
  [
    /^ca(?:s|file|cert|certs|certfile|bundle)?$|^certs?$/,
    'whoever runs the command says whose certificates are trusted',
    'caFile',
  ],
  [/^allowtokenrealms?$/, 'whoever runs the command says who may see credentials', 'allowTokenRealm'],
  [
    /^mirrors?(?:from|files?)$|^(?:certsd|hoststoml|registriesconf)$/,
    'such files can allow connections without TLS, so whoever runs the command names them',
    'mirrorsFrom',
  ],
  [
    /^(?:pre|post|sign|signing)?(?:commands?|exec|hooks?|run|scripts?|shell|args|entrypoint)$/,
    'a config runs nothing',
  ],
  [/^out(?:put)?(?:file)?$|^file$|^force$/, 'where a bundle is written is said with each run', 'output'],
  [/^lock(?:file)?$/, 'a lock is made from a config, and named with each run', 'lock'],
  [/^sequence$/, 'each bundle has another one', 'sequence'],
  [/^expir(?:es|y|ation)$/, 'each bundle has another one', 'expires'],
  [/^(?:concurrency|dryrun|reuse|quiet|json)$/, 'it belongs to a single run', 'other'],
]

/** Words for a known key that are further from it than a slip of the pen. */
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

/** Why a config cannot have this key, and what to give instead; undefined for keys that are merely unknown. */
function elsewhere(folded: string, key: string): Omit<Problem, 'entry'> | undefined {
  const found = ELSEWHERE.find(([keys]) => keys.test(folded))
  if (!found) return undefined
  const [, why, option] = found
  const message = `${quote(key)} cannot be set in a config: ${why}`
  return option === undefined ? { message } : { message, hints: [{ id: 'said-with-each-run', option }] }
}

/** A config file that was read. */
export interface ConfigFile {
  /** The path as it was given. */
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
 * Reads a config: strict YAML, known keys only, each value by the parser that also reads its flag.
 *
 * @param path the file's name, for errors; nothing is opened.
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
 * What is wrong with values that come from elsewhere than a file.
 * @param config as {@link Config}, with nothing certain about it but its keys.
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
