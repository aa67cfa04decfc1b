/**
 * What a reader can do about a fault, by identifier. This wording is for the library and names no flags or commands.
 * `cli/words/hints.ts` has the wording for the command line.
 */
export const HINTS = {
  // What to take, and from where
  'exclude-image': () => 'You can exclude the image.',
  'allow-missing-platform': () => 'You can take only the platforms that exist.',
  'no-referrers': () => 'You can leave out signatures, attestations and SBOMs.',
  'allow-missing-attestations': (_known: { isPinned: boolean }) =>
    'You can leave out the attestations that cannot be fetched.',
  platforms: ({ platforms }: { platforms: readonly string[]; isAnyLost: boolean; isPinned: boolean }) =>
    `Available platforms: ${platforms.join(', ')}.`,
  'go-on-without': ({ images }: { images: readonly string[]; canSkip: boolean }) =>
    `To continue without them, exclude: ${images.join(', ')}`,
  'include-and-exclude': () =>
    'Check the patterns to include and exclude. They are compared with the names in the bundle.',
  'config-flag': () => 'Give a config as a config, not as a list.',
  'lock-flag': () => 'Give a lock as a lock, not as a list.',
  'platform-flag': () => 'The platforms apply to all images.',
  'kubeadm-list': ({ release }: { release: string }) =>
    `\`kubeadm config images list --kubernetes-version ${release}\` prints a list of images.`,
  'name-images': () => 'Name images, lists of images, or releases of kubeadm.',
  'new-lock': () => 'Make a new lock.',
  'resolve-from-mirror': () => 'You can allow mirrors to resolve tags.',
  reuse: ({ file }: { file: string | undefined }) => `You can reuse the blobs of ${file ?? 'it'}.`,
  fresh: () => 'Or start from scratch.',
  name: () => 'You can give another name.',
  'config-keys': () => 'A template explains every key.',
  'said-with-each-run': ({ option }: { option: RunOption }) =>
    option === 'other' ? 'Give it as an option of the run.' : `Give it as the option ${option} of the run.`,
  mirror: ({ registry }: { registry: string | undefined }) =>
    `You can name a mirror${registry === undefined ? '' : ` for ${registry}`}.`,
  'take-elsewhere': () => 'Use a mirror, or have the image pushed there again.',

  // Credentials and permissions
  'log-in': ({ registry }: { registry: string }) =>
    `Log in to ${registry} (docker login and podman login work too), or name a credentials file.`,
  'log-in-again': ({ registry }: { registry: string }) =>
    `Log in to ${registry} again, or name another credentials file. Tokens of cloud registries expire within hours (ECR: 12).`,
  'login-names': () => 'Give user name and password separately from the registry.',
  'auth-file': () => 'You can name a credentials file.',
  'higher-limit': ({ registry }: { registry: string }) =>
    `Wait, log in to ${registry} for a higher limit, or use a mirror.`,
  'other-account': (_place: { registry: string }) =>
    'Wait, use an account with a higher limit, or use a mirror.',
  'token-realm': ({ host }: { host: string }) => `If this is intended, allow ${host} as a token service.`,

  // Signatures
  key: () => 'Name the public key.',
  'new-key': () => 'Make a key pair with airgap, or with `cosign generate-key-pair`.',
  password: () => 'Set AIRGAP_PASSWORD or COSIGN_PASSWORD, or give the password.',
  'certificate-identity': () => 'Name the identity, its issuer and the trusted root.',
  'trusted-root': () => 'Name a trusted root. It must come through a different channel than the bundle.',
  'fetch-trusted-root': () => 'You can fetch that of the public Sigstore.',
  'initial-root': () => 'Name it.',
  'identity-token': () => 'Name the file of the token.',
  'allow-unsigned': () => 'You can explicitly accept a bundle without a signature.',
  'signature-files': () => 'Name their files.',
  'upstream-policy': () => 'Name an upstream policy: a file or a preset.',
  'sign-images': () => 'A push can sign the images.',
  'signature-format': () => 'You can choose the signature formats.',
  'state-file': () => 'You can name a file for it.',
  'min-sequence': () => 'You can give a lowest sequence.',
  'allow-rollback': () => 'To push it anyway, allow the rollback.',

  // How a host is reached
  'plain-http': ({ host }: { host: string | undefined }) =>
    `If ${host ?? 'the host'} is supposed to use plain HTTP, allow that.`,
  'no-plain-http': ({ host }: { host: string }) => `If ${host} expects TLS, do not allow plain HTTP for it.`,
  'ca-file': ({ host }: { host: string }) =>
    `If you trust it, give its certificate as a PEM file; if you gave one, it is not the right one. ${everyTool(host)}`,
  'fewer-transfers': () => 'Fewer transfers at a time may help.',

  // Names and files
  'shorter-names': () => 'Choose a naming rule with shorter names, or map names.',
  'different-names': () => 'Use full names, map names, or exclude one of the images.',
  'flat-names': () => 'You can make each name a single path component (docker.io_library_nginx).',
  'map-names': () => 'You can map names.',
  'move-tags': () => 'You can allow moving tags.',
  'no-sparse-index': () => 'You can leave out the source index.',
  'create-projects': () => 'The push can create projects.',
  'admission-images': () => 'You can name the images that are packed.',
  'serve-tls': () => 'TLS needs a certificate and its key.',
  force: () => 'You can force replacing it.',
  'force-link': () => 'You can force replacing the link. The file that it points to is not touched.',
} satisfies Record<string, (parameters: never) => string>

export type HintId = keyof typeof HINTS

/** Options that belong to a single run, by their names in the library. */
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

/** The parameters of a hint. */
export type HintParameters<I extends HintId> = Parameters<(typeof HINTS)[I]> extends [infer P] ? P : unknown

/** A hint by its identifier, with its parameters. */
export type NamedHint = { [I in HintId]: { id: I } & HintParameters<I> }[HintId]

/** Plain text, which must name no flag or command, or a hint by its identifier. */
export type Hint = string | NamedHint

/** One or several. */
export type Hints = Hint | readonly Hint[]

/** A wording for every hint. */
export type HintWords = { [I in HintId]: (parameters: HintParameters<I>) => string }

/** Where to put an authority so that other programs trust it too. */
export function everyTool(host: string): string {
  return `For every tool on this machine: /etc/docker/certs.d/${host}/ca.crt, /etc/containers/certs.d/${host}/ca.crt, or a file named by SSL_CERT_FILE.`
}

/** Joins hints into one text, by default in the library's wording. */
export function hintText(hints: readonly Hint[], words: HintWords = HINTS): string {
  const texts = hints.map((hint) => (typeof hint === 'string' ? hint : sentence(hint, words)))
  // No space next to a line break.
  const gap = (all: string, text: string): string => (all.endsWith('\n') || text.startsWith('\n') ? '' : ' ')
  return texts.reduce((all, text) => `${all}${gap(all, text)}${text}`, '').trim()
}

function sentence(hint: NamedHint, words: HintWords): string {
  const word = words[hint.id] as (parameters: NamedHint) => string
  return word(hint)
}
