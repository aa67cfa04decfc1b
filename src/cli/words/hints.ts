import type { AirgapError, Problem } from '../../errors.ts'
import { everyTool, hintText, type Hint, type HintWords, type RunOption } from '../../hints.ts'
import { redacted, shellWord } from '../../text.ts'

/** How the options of a single run are given on the command line. */
const RUN_FLAGS: Record<RunOption, string> = {
  key: '--key FILE or --no-sign',
  password: '--password-file FILE or AIRGAP_PASSWORD',
  credentials: '`airgap login`, `docker login`, or --auth-file FILE',
  plainHttp: '--plain-http HOST',
  insecureSkipTlsVerify: '--insecure-skip-tls-verify HOST',
  caFile: '--ca-file FILE',
  allowTokenRealm: '--allow-token-realm HOST',
  mirrorsFrom: '--mirrors-from FILE',
  output: '-o FILE and --force',
  lock: '--lock FILE',
  sequence: '--sequence NUMBER, or leave it out to use the time',
  expires: '--expires DATE',
  other: 'the flag of that name',
}

/** The hints of `src/hints.ts`, worded for the command line. */
const HINTS: HintWords = {
  // What to take, and from where
  'exclude-image': () => 'To leave out an image: --exclude.',
  'allow-missing-platform': () => 'To take the platforms that exist: --allow-missing-platform.',
  'no-referrers': () => 'To leave out signatures, attestations and SBOMs: --referrers none.',
  'allow-missing-attestations': ({ isPinned }) =>
    `To leave out the missing attestations: --allow-missing-attestations${rewriting(isPinned)}`,
  platforms: ({ platforms, isAnyLost, isPinned }) =>
    `To take the available platforms:${platforms.map((platform) => ` --platform '${platform}'`).join('')}${isAnyLost ? ' --allow-missing-attestations' : ''}${rewriting(isPinned)}`,
  'go-on-without': ({ images, canSkip }) =>
    [
      canSkip
        ? '\nTo leave out what cannot be resolved, and record that, add --skip-failed; or exclude each image:'
        : '\nTo continue without what failed, add to the command:',
      ...images.map((image, i) => `  --exclude ${shellWord(image)}${i < images.length - 1 ? ' \\' : ''}`),
    ].join('\n'),
  'include-and-exclude': () =>
    'Check --include and --exclude; `airgap inspect` shows the names that they are compared with.',
  'config-flag': () => 'Give airgap.yaml with --config.',
  'lock-flag': () => 'Give a lock from `airgap resolve -o` with --lock.',
  'platform-flag': () => 'Give --platform to the command; it applies to all images.',
  'kubeadm-list': ({ release }) =>
    `\`kubeadm config images list --kubernetes-version ${release} | airgap list --images-from -\`.`,
  'said-with-each-run': ({ option }) => `Use ${RUN_FLAGS[option]}.`,
  'name-images': () => 'Name images as arguments, with --images-from FILE, or with --kubeadm VERSION.',
  'new-lock': () => 'Make a new lock with `airgap resolve`.',
  'resolve-from-mirror': () => 'To let mirrors resolve tags: --resolve-from mirror.',
  reuse: ({ file }) =>
    `With --reuse ${place(file, 'FILE')} this command reuses its blobs and fetches the rest.`,
  fresh: () => 'To start from scratch: --fresh.',
  name: () => 'To choose another name: --name.',
  'config-keys': () =>
    '`airgap init -o -` prints a config that explains every key. What changes with each run is a flag (`airgap pack --help`).',
  mirror: ({ registry }) => `To use a mirror: --mirror ${place(registry, 'FROM')}=HOST.`,
  'take-elsewhere': () => 'Use a mirror (--mirror FROM=TO), or have the image pushed there again.',

  // Credentials and permissions
  'log-in': ({ registry }) =>
    `Log in with \`airgap login ${shellWord(registry)}\` (docker login and podman login work too), or name a credentials file with --auth-file.`,
  'log-in-again': ({ registry }) =>
    `Log in again with \`airgap login ${shellWord(registry)}\`, or name another credentials file with --auth-file. Tokens of cloud registries expire within hours (ECR: 12).`,
  'login-names': () =>
    'Give the user name with --username. The password is asked for, or read with --password-stdin.',
  'auth-file': () => 'To name a credentials file: --auth-file.',
  'higher-limit': ({ registry }) =>
    `Wait, log in for a higher limit (airgap login ${shellWord(registry)}), or use a mirror (--mirror ${shellWord(registry)}=HOST).`,
  'other-account': ({ registry }) =>
    `Wait, use an account with a higher limit, or use a mirror (--mirror ${shellWord(registry)}=HOST).`,
  'token-realm': ({ host }) => `If this is intended, allow it with --allow-token-realm ${shellWord(host)}`,

  // Signatures
  key: () => 'Give it with --key.',
  'new-key': () => 'Make a key pair with `airgap keygen`, or with `cosign generate-key-pair`.',
  password: () =>
    'Set AIRGAP_PASSWORD or COSIGN_PASSWORD, name a file with --password-file, or run this on a terminal.',
  'certificate-identity': () => 'Give --certificate-identity, --certificate-oidc-issuer and --trusted-root.',
  'trusted-root': () =>
    'Give --trusted-root FILE. `airgap trust-root fetch` gets the one of the public Sigstore. It must come through a different channel than the bundle.',
  'fetch-trusted-root': () => '`airgap trust-root fetch` gets it.',
  'initial-root': () => 'Give it with --root.',
  'identity-token': () => 'Give the file with --identity-token-file, or a key with --key.',
  'allow-unsigned': () => 'For verify, that is --integrity-only; for push and serve, --allow-unsigned.',
  'signature-files': () => 'Give them with --signature FILE.',
  'upstream-policy': () => 'Give a policy with --upstream-policy: FILE, or the name of a preset.',
  'sign-images': () => 'To sign images: push --sign-images KEY.',
  'signature-format': () =>
    'Give --image-signature-format sigstore-bundle, or leave --image-signature-format out.',
  'state-file': () => 'To use another file: --state FILE.',
  'min-sequence': () =>
    'Give the lowest sequence with --min-sequence NUMBER, and who must have signed with --key.',
  'allow-rollback': () => 'To push it anyway: push --allow-rollback',

  // How a host is reached
  'plain-http': ({ host }) =>
    `If ${host ?? 'the host'} is supposed to use plain HTTP, allow that with --plain-http ${place(host, 'HOST')}`,
  'no-plain-http': ({ host }) => `If it expects TLS, leave --plain-http out for ${host}.`,
  'ca-file': ({ host }) =>
    `If you trust it, give its certificate as a PEM file with --ca-file FILE; if you gave one, it is not the right one. ${everyTool(host)}`,
  'fewer-transfers': () => 'Fewer transfers at a time may help: --concurrency 1.',

  // Names and files
  'shorter-names': () => 'For shorter names: --path strip-host, --path flat, or --map FROM=TO.',
  'different-names': () => 'Use --path full, another --map, or leave out one image with --exclude.',
  'flat-names': () => '--path flat makes each name one path component (docker.io_library_nginx).',
  'map-names': () => 'To choose names: --map FROM=TO.',
  'move-tags': () => 'To move tags: --move-tags.',
  'no-sparse-index': () => 'Pack without --platform, or push without --sparse-index.',
  'create-projects': () => 'The flag is --create-projects.',
  'admission-images': () =>
    "Give --images-from with the list that is packed (airgap inspect k8s.tar --json | jq -r '.images[].source'), or --source with registries or repositories.",
  'serve-tls': () => 'For TLS, give --tls-cert and --tls-key; to allow plain HTTP, --plain-http.',
  force: () => 'To replace it: --force.',
  'force-link': () => 'With --force the link is replaced, but not the file that it points to.',
}

/** Taking less of an image changes its digest, which must be allowed for an image named by digest. */
function rewriting(isPinned: boolean): string {
  return isPinned ? ' --rewrite-digests' : ''
}

/** A value for a flag, or a placeholder if it is not known. */
function place(value: string | undefined, name: string): string {
  return value === undefined ? name : shellWord(value)
}

/** Hints in the command line's wording; undefined if there are none. */
export function wordsOf(hints: readonly Hint[]): string | undefined {
  return hints.length === 0 ? undefined : redacted(hintText(hints, HINTS))
}

/** An error's hints in the command line's wording. */
export function hintOf({ hints }: AirgapError): string | undefined {
  return wordsOf(hints)
}

/** A message followed by its hints. */
export function messageWith(message: string, hints: readonly Hint[] = []): string {
  const words = wordsOf(hints)
  return words === undefined ? message : `${message}. ${words}`
}

/** Problems for output, with their hints added to the messages. */
export function worded({ problems }: AirgapError): Omit<Problem, 'hints'>[] {
  return problems.map(({ hints, ...problem }) => ({
    ...problem,
    message: messageWith(problem.message, hints),
  }))
}
