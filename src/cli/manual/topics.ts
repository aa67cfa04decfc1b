/** What help, the man page and docs/cli.md say in addition to the commands themselves. */

/** The commands in the order of the job; commands not named here follow at the end. */
export const COMMAND_GROUPS: readonly { heading: string; commands: readonly string[] }[] = [
  { heading: 'Outside, with a network', commands: ['list', 'resolve', 'pack'] },
  { heading: 'Anywhere, without a network', commands: ['inspect', 'verify', 'sign'] },
  { heading: 'Inside', commands: ['push', 'serve', 'policy'] },
  { heading: 'Setting up', commands: ['keygen', 'trust-root', 'init', 'login', 'logout', 'completion'] },
]

export const OTHER_COMMANDS = 'Others'

/** The whole job in four commands. */
export const WHOLE_JOB = [
  {
    about: 'Outside: make a key pair once, and pack what the cluster needs',
    commands: [
      'airgap keygen',
      'airgap pack --kubeadm v1.36.3 --platform linux/amd64 -o k8s.tar --key airgap.key',
    ],
  },
  {
    about: 'Inside: verify the bundle, and push it to the private registry',
    commands: [
      'airgap verify k8s.tar --key airgap.pub',
      'airgap push k8s.tar registry.internal:5000 --key airgap.pub',
    ],
  },
]

export const EXIT_STATUS: readonly (readonly [code: number, short: string, meaning: string])[] = [
  [0, 'done', 'Done.'],
  [1, 'a fault in airgap', 'An unexpected fault in airgap itself.'],
  [
    2,
    'usage',
    'Usage: a mistake in the command, a list, a config, a lock or a policy, or a conflict that a flag must decide.',
  ],
  [3, 'verification failed', 'Verification failed: do not use the bundle.'],
  [
    4,
    'registry or network',
    'Registry or network: unreachable, not found, or an image that lacks a requested platform.',
  ],
  [5, 'authentication', "Authentication or permission, including a key's password."],
  [6, 'incomplete', 'Incomplete or interrupted. Run the same command again.'],
  [7, 'file or disk', 'A local file or the disk, including an output that already exists.'],
]

export const ENVIRONMENT: readonly (readonly [names: string, text: string])[] = [
  [
    'AIRGAP_PASSWORD, COSIGN_PASSWORD',
    'Password of the private key, if --password-file is not given; the first one set is used. A variable that is set but empty is an empty password.',
  ],
  [
    'AIRGAP_SIGN_IMAGES_PASSWORD',
    'Password of the key of push --sign-images; takes precedence over those, but not over --sign-images-password-file.',
  ],
  ['SIGSTORE_ID_TOKEN', 'Identity token for pack --keyless, if --identity-token-file is not given.'],
  [
    'ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN',
    'Where a GitHub Actions job gets its identity token; set for jobs with the permission id-token: write. Used for pack --keyless if SIGSTORE_ID_TOKEN is not set.',
  ],
  [
    'GITHUB_ACTIONS, GITLAB_CI',
    'If true and there is no identity token, the error says how to get one from this CI system.',
  ],
  [
    'AIRGAP_REPORT_PASSWORD',
    'Password of the key of verify --report-key, in the same way; --report-password-file comes first.',
  ],
  [
    'AIRGAP_RECEIPT_PASSWORD',
    'Password of the key of push --receipt-key, in the same way; --receipt-password-file comes first.',
  ],
  [
    'AIRGAP_REGISTRY, AIRGAP_REGISTRY_USERNAME, AIRGAP_REGISTRY_PASSWORD_FILE',
    'Credentials for one registry: its host, a user name, and a file with the password. Set all three or none.',
  ],
  [
    'REGISTRY_AUTH_FILE',
    "File with credentials in Docker's or Podman's format, read before those under FILES.",
  ],
  ['DOCKER_CONFIG', "Folder of Docker's config.json, instead of ~/.docker."],
  ['XDG_RUNTIME_DIR', 'Folder in which podman login keeps containers/auth.json.'],
  [
    'XDG_STATE_HOME',
    'The state folder, instead of ~/.local/state. In its folder airgap, push keeps unfinished uploads and the sequences of bundles.',
  ],
  [
    'XDG_CACHE_HOME',
    'Where compiled code is kept for a faster start, in airgap, instead of in ~/.cache; only where nobody else can write.',
  ],
  ['NODE_DISABLE_COMPILE_CACHE', 'Keeps no compiled code, with 1.'],
  [
    'HTTPS_PROXY, HTTP_PROXY, ALL_PROXY',
    'The proxy for HTTPS, for plain HTTP, and for whichever of these is not set: http://[USER:PASSWORD@]HOST[:PORT], or https://. Lower case works too, and comes first.',
  ],
  [
    'NO_PROXY',
    'Hosts to contact without the proxy, separated by commas: example.com (and its subdomains), .example.com (only its subdomains), 10.0.0.0/8, HOST:PORT, or * for all. Loopback addresses need not be listed.',
  ],
  [
    'REQUEST_METHOD',
    'If set, HTTP_PROXY in capitals is ignored, because a caller of a CGI program can set it.',
  ],
  [
    'AIRGAP_PROXY_LOOPBACK',
    '1: use the proxy for loopback addresses too, which are then those of the proxy.',
  ],
  [
    'SSL_CERT_FILE',
    'PEM file of certificate authorities to trust in addition to the usual ones, as with --ca-file.',
  ],
  ['NODE_EXTRA_CA_CERTS', 'The same, read by Node.js itself, which warns if it cannot read it.'],
  ['XDG_CONFIG_HOME', 'Where to look for certificate folders first, before ~/.config.'],
  ['HOME', 'The folder that ~ stands for under FILES.'],
  ['PATH', 'Where to look for credential helpers (docker-credential-NAME) that a credentials file names.'],
  [
    'SOURCE_DATE_EPOCH',
    'Creation time of a bundle, in seconds since 1970, so that the same lock gives the same bytes.',
  ],
  ['NO_COLOR', 'If set and not empty: no colours.'],
  ['CI', 'If set: no colours and no live progress line, as in a pipe.'],
  ['TERM', 'dumb: no colours and no live progress line.'],
]

export const FILES: readonly (readonly [path: string, text: string])[] = [
  ['~/.docker/config.json', 'Credentials that docker login stored, and credential helpers.'],
  ['$XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json', 'The same from podman login.'],
  [
    '~/.config/containers/certs.d, ~/.config/docker/certs.d, /etc/containers/certs.d, /etc/docker/certs.d',
    'A folder HOST[:PORT] for each registry: *.crt are authorities to trust for this host only, NAME.cert with NAME.key is the client certificate for it. Only the first folder that exists is used.',
  ],
  [
    'NAME.TIME.receipt.json',
    'The receipt of a push, in the current folder unless --receipt names another file, or in `~/.local/state/airgap/receipts` if the current folder is not writable. After an incomplete push, .incomplete is appended.',
  ],
  [
    'NAME.TIME.report.json',
    'What a push verified, next to its receipt unless --report names another file. .incomplete is appended in the same way.',
  ],
  [
    'FILE.sigstore.json, FILE.sig',
    'The signature over FILE, with --report-key or --receipt-key, for cosign verify-blob --bundle and for openssl dgst -verify.',
  ],
  [
    '~/.local/state/airgap/uploads',
    'Unfinished uploads of a push, so that it can resume after it was killed. Removed when the push is complete; safe to delete.',
  ],
  [
    '~/.local/state/airgap/sequences.json',
    'The last sequence that push accepted for each bundle name and signer, unless --state names another file. Without this file, an older bundle is not noticed.',
  ],
  [
    'FILE.partial',
    'A bundle that is being written. It gets its final name when it is complete. After an interruption, the same command resumes it.',
  ],
  [
    'FILE.partial.journal',
    'What the unfinished bundle is made from, and how far it is. Without it, packing starts again.',
  ],
  [
    'FILE.earlier.partial',
    'An unfinished bundle from which a run with other inputs takes blobs. Removed when that run is complete.',
  ],
]

export const HABITS: readonly string[] = [
  'Results go to standard output, everything else to standard error. With --json, standard output is one document, also for an error: {"error": {"code", "message", "hint"}}.',
  'On a terminal, progress is one live line. In a pipe and in CI it is one line for each image that was transferred, and one every 15 seconds in between, without control codes. --quiet prints only results, warnings and errors.',
  'An existing output is not overwritten without --force. An incomplete file never has the final name.',
  'A value follows its flag after a space or =. A repeatable flag takes one value each time. Everything after -- is an argument.',
  'Ctrl-C stops a command cleanly, with exit code 6; a second Ctrl-C stops it at once, with exit code 130.',
  'In text from outside (annotations, names, answers of registries), control characters are printed escaped.',
]
