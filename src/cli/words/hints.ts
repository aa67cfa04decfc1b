import type { AirgapError, Problem } from '../../errors.ts'
import { everyTool, hintText, type Hint, type HintWords, type RunOption } from '../../hints.ts'
import { redacted, shellWord } from '../../text.ts'

/** What belongs to a single run, as it is given. */
const RUN_FLAGS: Record<RunOption, string> = {
  key: '--key FILE or --no-sign',
  password: '--password-file FILE or AIRGAP_PASSWORD',
  credentials: '`airgap login`, `docker login`, or --auth-file FILE',
  plainHttp: '--plain-http HOST',
  insecureSkipTlsVerify: '--insecure-skip-tls-verify HOST',
  caFile: '--ca-file FILE',
  allowTokenRealm: '--allow-token-realm HOST',
  mirrorsFrom: '--mirrors-from FILE',
  output: '-o FILE, and --force',
  lock: '--lock FILE',
  sequence: '--sequence NUMBER, or leave it to the time',
  expires: '--expires DATE',
  other: 'the flag of that name',
}

/** What the reader of a terminal can do about a fault: the hints of `src/hints.ts` with flags and commands. */
const HINTS: HintWords = {
  // What to take, and from where
  'exclude-image': () => 'An image is left out with --exclude.',
  'allow-missing-platform': () => 'To take what there is: --allow-missing-platform.',
  'no-referrers': () => 'To go without signatures, attestations and SBOMs: --referrers none.',
  'allow-missing-attestations': ({ isPinned }) =>
    `To leave out the attestations that cannot: --allow-missing-attestations${rewriting(isPinned)}`,
  platforms: ({ platforms, isAnyLost, isPinned }) =>
    `These platforms can be had:${platforms.map((platform) => ` --platform '${platform}'`).join('')}${isAnyLost ? ' --allow-missing-attestations' : ''}${rewriting(isPinned)}`,
  'go-on-without': ({ images, canSkip }) =>
    [
      canSkip
        ? '\nTo leave out what cannot be resolved, and have that recorded, add --skip-failed; or name each:'
        : '\nTo go on without what failed, add to the command:',
      ...images.map((image, i) => `  --exclude ${shellWord(image)}${i < images.length - 1 ? ' \\' : ''}`),
    ].join('\n'),
  'include-and-exclude': () =>
    'Look at --include and --exclude; `airgap inspect` shows the names that they are compared with.',
  'config-flag': () => 'airgap.yaml is given with --config.',
  'lock-flag': () => 'A lock that `airgap resolve -o` has written is given with --lock.',
  'platform-flag': () => '--platform is given to the command, and holds for all images.',
  'kubeadm-list': ({ release }) =>
    `\`kubeadm config images list --kubernetes-version ${release} | airgap list --images-from -\`.`,
  'said-with-each-run': ({ option }) => `Use ${RUN_FLAGS[option]}.`,
  'name-images': () => 'Name images as arguments, by --images-from FILE, or by --kubeadm VERSION.',
  'new-lock': () => 'Make the lock again with `airgap resolve`.',
  'resolve-from-mirror': () => 'Mirrors resolve tags with --resolve-from mirror.',
  reuse: ({ file }) =>
    `With --reuse ${place(file, 'FILE')} this command takes from it what fits, and fetches the rest.`,
  fresh: () => 'With --fresh it starts over from nothing.',
  name: () => '--name gives another.',
  'config-keys': () =>
    '`airgap init -o -` prints a config with every key explained; what is said with each run is a flag (`airgap pack --help`).',
  mirror: ({ registry }) => `A mirror is named with --mirror ${place(registry, 'FROM')}=HOST.`,
  'take-elsewhere': () => 'Take the image from a mirror (--mirror FROM=TO), or have it pushed there again.',

  // Who one is, and what is allowed
  'log-in': ({ registry }) =>
    `Log in with \`airgap login ${shellWord(registry)}\` (what docker login and podman login have stored counts too), or name a credentials file with --auth-file.`,
  'log-in-again': ({ registry }) =>
    `Log in again with \`airgap login ${shellWord(registry)}\`, or name another credentials file with --auth-file. Tokens of cloud registries end after hours (ECR: 12).`,
  'login-names': () =>
    'Give the user name with --username; the password is asked for, or read with --password-stdin.',
  'auth-file': () => 'A credentials file is named with --auth-file.',
  'higher-limit': ({ registry }) =>
    `Wait, log in for a higher limit (airgap login ${shellWord(registry)}), or use a mirror (--mirror ${shellWord(registry)}=HOST).`,
  'other-account': ({ registry }) =>
    `Wait, use an account with a higher limit, or use a mirror (--mirror ${shellWord(registry)}=HOST).`,
  'token-realm': ({ host }) => `If that is meant to be, allow it with --allow-token-realm ${shellWord(host)}`,

  // Signatures
  key: () => 'It is given with --key.',
  'new-key': () => 'Make a key pair with `airgap keygen`, or with `cosign generate-key-pair`.',
  password: () =>
    'Set AIRGAP_PASSWORD or COSIGN_PASSWORD, name a file with --password-file, or run this on a terminal.',
  'certificate-identity': () =>
    'That takes --certificate-identity, --certificate-oidc-issuer and --trusted-root.',
  'trusted-root': () =>
    'Give --trusted-root FILE. `airgap trust-root fetch` brings the one of the public Sigstore; it has to come another way than the bundle.',
  'fetch-trusted-root': () => '`airgap trust-root fetch` brings it.',
  'initial-root': () => 'It is given with --root.',
  'identity-token': () => 'The file is given with --identity-token-file, a key with --key.',
  'allow-unsigned': () => 'verify takes --integrity-only, push and serve take --allow-unsigned.',
  'signature-files': () => 'They are given with --signature FILE.',
  'upstream-policy': () => 'A policy is given with --upstream-policy: FILE, or the name of a preset.',
  'sign-images': () => 'push signs images with --sign-images KEY.',
  'signature-format': () =>
    'Give --image-signature-format sigstore-bundle, or leave --image-signature-format out.',
  'state-file': () => 'Another file is named with --state FILE.',
  'min-sequence': () => 'That is --min-sequence NUMBER; who has to have signed, --key.',
  'allow-rollback': () => 'To take it all the same: push --allow-rollback',

  // How a host is reached
  'plain-http': ({ host }) =>
    `If ${host ?? 'the host'} is meant to speak plain HTTP, allow that with --plain-http ${place(host, 'HOST')}`,
  'no-plain-http': ({ host }) => `If it expects TLS, leave --plain-http out for ${host}.`,
  'ca-file': ({ host }) =>
    `If you trust it, give its certificate as a PEM file with --ca-file FILE; if one was given, it is another one. ${everyTool(host)}`,
  'fewer-transfers': () => 'Fewer transfers at a time may help: --concurrency 1.',

  // Names and files
  'shorter-names': () => 'Shorter names come of --path strip-host, --path flat, or --map FROM=TO.',
  'different-names': () => 'Use --path full, another --map, or leave one out with --exclude.',
  'flat-names': () => '--path flat makes one part of each name (docker.io_library_nginx).',
  'map-names': () => '--map FROM=TO chooses names.',
  'move-tags': () => 'Tags are moved with --move-tags.',
  'no-sparse-index': () => 'Pack without --platform, or push without --sparse-index.',
  'create-projects': () => 'That is --create-projects.',
  'admission-images': () =>
    "Give --images-from with the list that is packed (airgap inspect k8s.tar --json | jq -r '.images[].source'), or --source with registries or repositories.",
  'serve-tls': () => 'TLS takes --tls-cert and --tls-key; plain HTTP is allowed with --plain-http.',
  force: () => 'To replace it: --force.',
  'force-link': () => 'With --force the link is replaced, never what it points to.',
}

/** Another selection changes the digest that the image is named by. */
function rewriting(isPinned: boolean): string {
  return isPinned ? ' --rewrite-digests' : ''
}

/** A value for a flag, or what stands for it where it is not known. */
function place(value: string | undefined, name: string): string {
  return value === undefined ? name : shellWord(value)
}

/** Hints as the command line says them; undefined where there are none. */
export function wordsOf(hints: readonly Hint[]): string | undefined {
  return hints.length === 0 ? undefined : redacted(hintText(hints, HINTS))
}

/** What to do about an error, in the command line's words. */
export function hintOf({ hints }: AirgapError): string | undefined {
  return wordsOf(hints)
}

/** A message and its hints in one text. */
export function messageWith(message: string, hints: readonly Hint[] = []): string {
  const words = wordsOf(hints)
  return words === undefined ? message : `${message}. ${words}`
}

/** Problems as they are printed, with their hints in the message. */
export function problemsOf({ problems }: AirgapError): Omit<Problem, 'hints'>[] {
  return problems.map(({ hints, ...problem }) => ({
    ...problem,
    message: messageWith(problem.message, hints),
  }))
}
