import { nearest } from '../../nearest.ts'
import { CONFIG_KEYS } from './schema.ts'

/** Keys that people may look for here, why a config does not have them, and what does it instead. */
const ELSEWHERE: readonly (readonly [keys: RegExp, why: string])[] = [
  [
    /^(?:no|allow)?(?:un)?sign(?:ed|ing|ature)?s?$|^(?:private|public|sign(?:ing)?|cosign)?keys?(?:file|path|ref)?$/,
    'with which key a bundle is signed, if with any, is said by whoever runs the command: --key FILE or --no-sign',
  ],
  [
    /^pass(?:word|phrase)(?:file)?s?$/,
    'secrets do not belong into a file that others read: --password-file FILE or AIRGAP_PASSWORD',
  ],
  [
    /^(?:registry)?(?:cred(?:ential)?s?|credentialhelpers?|user(?:name)?|token|auths?|authfile|login|secrets?)$/,
    'credentials do not belong into a file that others read: they come from airgap login or docker login, or from --auth-file FILE',
  ],
  [
    /^plainhttp$|^http$/,
    'whether a registry may be spoken to without TLS is said by whoever runs the command: --plain-http HOST',
  ],
  [
    /^insecure|^(?:skip)?tls|^verifytls$|^allowinsecure/,
    'exceptions from TLS are made by whoever runs the command: --insecure-skip-tls-verify HOST',
  ],
  [
    /^ca(?:s|file|cert|certs|certfile|bundle)?$|^certs?$/,
    'whose certificates are trusted is said by whoever runs the command: --ca-file FILE',
  ],
  [
    /^allowtokenrealms?$/,
    'who may see credentials is said by whoever runs the command: --allow-token-realm HOST',
  ],
  [
    /^mirrors?(?:from|files?)$|^(?:certsd|hoststoml|registriesconf)$/,
    'such files can allow connections without TLS, and are named by whoever runs the command: --mirrors-from FILE',
  ],
  [
    /^(?:pre|post|sign|signing)?(?:commands?|exec|hooks?|run|scripts?|shell|args|entrypoint)$/,
    'a config runs nothing',
  ],
  [
    /^out(?:put)?(?:file)?$|^file$|^force$/,
    'where a bundle is written is said with each run: -o FILE, --force',
  ],
  [/^lock(?:file)?$/, 'a lock is made from a config, and named with each run: --lock FILE'],
  [/^sequence$/, 'it is another with every bundle: --sequence NUMBER, or the time'],
  [/^expir(?:es|y|ation)$/, 'it is another with every bundle: --expires DATE'],
  [/^(?:concurrency|dryrun|reuse|quiet|json)$/, 'it belongs to a single run: give the flag of that name'],
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

/** Longer than any key, and than any slip that could be recognised. */
const MAX_COMPARED = 64

/** Why a config cannot have this key, and what to give instead; undefined for keys that are merely unknown. */
export function elsewhere(key: string): string | undefined {
  const folded = fold(key)
  return folded.length > MAX_COMPARED ? undefined : ELSEWHERE.find(([keys]) => keys.test(folded))?.[1]
}

/** The known key that `key` was probably meant to be. */
export function nearestKey(key: string): string | undefined {
  const folded = fold(key)
  return SYNONYMS.get(folded) ?? FOLDED.get(nearest(folded, [...FOLDED.keys()]) ?? '')
}

/** `images-from`, `images_from` and `ImagesFrom` are all `imagesFrom`, misspelt. */
function fold(key: string): string {
  return key.toLowerCase().replaceAll(/[-_. ]/g, '')
}

const FOLDED: ReadonlyMap<string, string> = new Map(CONFIG_KEYS.map((key) => [fold(key), key]))
