/**
 * What a reader can do about a fault, by identifier. The words here are the library's, and name no flag and no command.
 * `cli/words/hints.ts` says the same with those.
 */
export const HINTS = {
  // What to take, and from where
  'exclude-image': () => 'The image can be excluded.',
  'allow-missing-platform': () => 'The platforms that there are can be taken alone.',
  'no-referrers': () => 'Signatures, attestations and SBOMs can be left out.',
  'allow-missing-attestations': (_known: { isPinned: boolean }) =>
    'The attestations that cannot be had can be left out.',
  platforms: ({ platforms }: { platforms: readonly string[]; isAnyLost: boolean; isPinned: boolean }) =>
    `These platforms can be had: ${platforms.join(', ')}.`,
  'go-on-without': ({ images }: { images: readonly string[]; canSkip: boolean }) =>
    `To go on without them, exclude: ${images.join(', ')}`,
  'include-and-exclude': () => 'Look at what is included and excluded, by names as they are in the bundle.',
  'config-flag': () => 'A config is named as one.',
  'lock-flag': () => 'A lock is named as one.',
  'platform-flag': () => 'Platforms are chosen for all images.',
  'kubeadm-list': ({ release }: { release: string }) =>
    `\`kubeadm config images list --kubernetes-version ${release}\` prints a list of images.`,
  'name-images': () => 'Name images, lists of images, or releases of kubeadm.',
  'new-lock': () => 'Make the lock again.',
  'resolve-from-mirror': () => 'Mirrors may resolve tags where that is allowed.',
  reuse: ({ file }: { file: string | undefined }) => `Blobs can be taken from ${file ?? 'it'}.`,
  fresh: () => 'Or start over from nothing.',
  name: () => 'Another name can be given.',
  'config-keys': () => 'A template explains every key.',
  'said-with-each-run': ({ option }: { option: RunOption }) =>
    option === 'other' ? 'It is an option of the run.' : `It is the option ${option} of the run.`,
  mirror: ({ registry }: { registry: string | undefined }) =>
    `A mirror can be named${registry === undefined ? '' : ` for ${registry}`}.`,
  'take-elsewhere': () => 'Take the image from a mirror, or have it pushed there again.',

  // Who one is, and what is allowed
  'log-in': ({ registry }: { registry: string }) =>
    `Log in to ${registry} (what docker login and podman login have stored counts too), or name a credentials file.`,
  'log-in-again': ({ registry }: { registry: string }) =>
    `Log in to ${registry} again, or name another credentials file. Tokens of cloud registries end after hours (ECR: 12).`,
  'login-names': () => 'The user name and the password are given apart from the registry.',
  'auth-file': () => 'A credentials file can be named.',
  'higher-limit': ({ registry }: { registry: string }) =>
    `Wait, log in to ${registry} for a higher limit, or use a mirror.`,
  'other-account': (_place: { registry: string }) =>
    'Wait, use an account with a higher limit, or use a mirror.',
  'token-realm': ({ host }: { host: string }) => `If that is meant to be, allow ${host} as a token service.`,

  // Signatures
  key: () => 'Name the public key.',
  'new-key': () => 'Make a key pair, with airgap or with `cosign generate-key-pair`.',
  password: () => 'Set AIRGAP_PASSWORD or COSIGN_PASSWORD, or give the password.',
  'certificate-identity': () => 'Name the identity, its issuer and the trusted root.',
  'trusted-root': () => 'Name a trusted root, which has to come another way than the bundle.',
  'fetch-trusted-root': () => 'That of the public Sigstore can be fetched.',
  'initial-root': () => 'Name it.',
  'identity-token': () => 'Name the file of the token.',
  'allow-unsigned': () => 'A bundle without a signature has to be allowed by name.',
  'signature-files': () => 'Name their files.',
  'upstream-policy': () => 'Name a policy for upstreams: a file or a preset.',
  'sign-images': () => 'A push can sign images.',
  'signature-format': () => 'The formats of signatures can be chosen.',
  'state-file': () => 'A file for it can be named.',
  'min-sequence': () => 'The least sequence can be given.',
  'allow-rollback': () => 'To go back to it all the same, allow that.',

  // How a host is reached
  'plain-http': ({ host }: { host: string | undefined }) =>
    `If ${host ?? 'the host'} is meant to speak plain HTTP, allow that.`,
  'no-plain-http': ({ host }: { host: string }) => `If ${host} expects TLS, do not allow plain HTTP for it.`,
  'ca-file': ({ host }: { host: string }) =>
    `If you trust it, give its certificate as a PEM file; if one was given, it is another one. ${everyTool(host)}`,
  'fewer-transfers': () => 'Fewer transfers at a time may help.',

  // Names and files
  'shorter-names': () => 'Choose a rule that makes shorter names, or map names.',
  'different-names': () => 'Keep full names, map names, or exclude one of them.',
  'flat-names': () => 'Names of one part each can be made (docker.io_library_nginx).',
  'map-names': () => 'Names can be mapped.',
  'move-tags': () => 'Moving tags can be allowed.',
  'no-sparse-index': () => 'The source index need not be delivered.',
  'create-projects': () => 'Projects can be created by the push.',
  'admission-images': () => 'The images that are packed can be named.',
  'serve-tls': () => 'TLS needs a certificate and its key.',
  force: () => 'It can be replaced by force.',
  'force-link': () => 'By force the link is replaced, never what it points to.',
} satisfies Record<string, (parameters: never) => string>

export type HintId = keyof typeof HINTS

/** What belongs to a single run, by the library's names. */
export type RunOption =
  | 'key'
  | 'password'
  | 'credentials'
  | 'plainHttp'
  | 'insecureSkipTlsVerify'
  | 'caFile'
  | 'allowTokenRealm'
  | 'mirrorsFrom'
  | 'output'
  | 'lock'
  | 'sequence'
  | 'expires'
  | 'other'

/** What a hint's wording needs to know. */
export type HintParameters<I extends HintId> = Parameters<(typeof HINTS)[I]> extends [infer P] ? P : unknown

/** A hint by its identifier, with its parameters beside it. */
export type NamedHint = { [I in HintId]: { id: I } & HintParameters<I> }[HintId]

/** Text that names neither flags nor commands needs no identifier. */
export type Hint = string | NamedHint

/** One or several. */
export type Hints = Hint | readonly Hint[]

/** A wording for every hint. */
export type HintWords = { [I in HintId]: (parameters: HintParameters<I>) => string }

/** Where programs beside airgap look for authorities. */
export function everyTool(host: string): string {
  return `For every tool on this machine: /etc/docker/certs.d/${host}/ca.crt, /etc/containers/certs.d/${host}/ca.crt, or a file named by SSL_CERT_FILE.`
}

/** Hints as one text, by the library's words unless others are given. */
export function hintText(hints: readonly Hint[], words: HintWords = HINTS): string {
  const texts = hints.map((hint) => (typeof hint === 'string' ? hint : sentence(hint, words)))
  // A line break at the beginning or the end of one takes the place of the space.
  const gap = (all: string, text: string): string => (all.endsWith('\n') || text.startsWith('\n') ? '' : ' ')
  return texts.reduce((all, text) => `${all}${gap(all, text)}${text}`, '').trim()
}

function sentence(hint: NamedHint, words: HintWords): string {
  const word = words[hint.id] as (parameters: NamedHint) => string
  return word(hint)
}
