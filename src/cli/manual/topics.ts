/** What is to be said beside the commands themselves: for help, the man page and docs/cli.md. */

/** The commands in the order of the job; commands not named here follow at the end. */
export const COMMAND_GROUPS: readonly { heading: string; commands: readonly string[] }[] = [
  { heading: 'Outside, where there is a network', commands: ['list', 'resolve', 'pack'] },
  { heading: 'Anywhere, without a network', commands: ['inspect', 'verify', 'sign'] },
  { heading: 'Inside', commands: ['push', 'serve', 'policy'] },
  { heading: 'Setting up', commands: ['keygen', 'trust-root', 'init', 'login', 'logout', 'completion'] },
]

export const OTHER_COMMANDS = 'Others'

/** The whole job in four commands. */
export const WHOLE_JOB = [
  {
    about: 'Outside: make a key pair, once, and pack what the cluster needs',
    commands: [
      'airgap keygen',
      'airgap pack --kubeadm v1.36.3 --platform linux/amd64 -o k8s.tar --key airgap.key',
    ],
  },
  {
    about: 'Inside: check the file, and put it into the private registry',
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
    'Usage: a mistake in the command, a list, a config, a lock or a policy, or a conflict that a flag has to decide.',
  ],
  [3, 'verification failed', 'Verification failed: do not use the bundle.'],
  [
    4,
    'registry or network',
    'Registry or network: unreachable, not found, or an image without the platform asked for.',
  ],
  [5, 'authentication', "Authentication or permission, a key's password included."],
  [6, 'incomplete', 'Incomplete or interrupted. Run the same command again.'],
  [7, 'file or disk', 'A local file or the disk, an output that exists already included.'],
]

export const ENVIRONMENT: readonly (readonly [names: string, text: string])[] = [
  [
    'AIRGAP_PASSWORD, COSIGN_PASSWORD',
    "The private key's password, where --password-file does not name one; the first that is set. Set but empty is an empty password.",
  ],
  [
    'AIRGAP_SIGN_IMAGES_PASSWORD',
    'The password of the key of push --sign-images, before those; --sign-images-password-file comes first.',
  ],
  [
    'SIGSTORE_ID_TOKEN',
    'The identity token for pack --keyless, where --identity-token-file does not name one.',
  ],
  [
    'ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN',
    'Where a job of GitHub Actions gets its identity token; set for jobs with the permission id-token: write. Used for pack --keyless where SIGSTORE_ID_TOKEN is not set.',
  ],
  [
    'GITHUB_ACTIONS, GITLAB_CI',
    'If true and there is no identity token, the error says how this CI system gives one.',
  ],
  [
    'AIRGAP_REPORT_PASSWORD',
    'The password of the key of verify --report-key, before those; --report-password-file comes first.',
  ],
  [
    'AIRGAP_RECEIPT_PASSWORD',
    'The password of the key of push --receipt-key, before those; --receipt-password-file comes first.',
  ],
  [
    'AIRGAP_REGISTRY, AIRGAP_REGISTRY_USERNAME, AIRGAP_REGISTRY_PASSWORD_FILE',
    'Credentials for one registry: its host, a user name, and a file that holds the password. All three, or none.',
  ],
  [
    'REGISTRY_AUTH_FILE',
    "A file with credentials in Docker's or Podman's format, asked before those under FILES.",
  ],
  ['DOCKER_CONFIG', "The folder of Docker's config.json, instead of ~/.docker."],
  ['XDG_RUNTIME_DIR', "Where Podman's login keeps containers/auth.json."],
  [
    'XDG_STATE_HOME',
    'Where push remembers unfinished uploads and the sequences of bundles, in airgap, instead of in ~/.local/state.',
  ],
  [
    'XDG_CACHE_HOME',
    'Where compiled code is kept for a faster start, in airgap, instead of in ~/.cache; only where nobody else can write.',
  ],
  ['NODE_DISABLE_COMPILE_CACHE', 'Keeps no compiled code, with 1.'],
  [
    'HTTPS_PROXY, HTTP_PROXY, ALL_PROXY',
    'The proxy for registries in HTTPS, for those in plain HTTP, and for what the other two do not say: http://[USER:PASSWORD@]HOST[:PORT], or https://. In lower case too, which comes first.',
  ],
  [
    'NO_PROXY',
    'Hosts that are contacted without the proxy, between commas: example.com (and all below it), .example.com (below it alone), 10.0.0.0/8, HOST:PORT, or * for all. Loopback addresses need not be named.',
  ],
  [
    'REQUEST_METHOD',
    'If set, HTTP_PROXY in capitals is left alone, because a caller of a CGI program can set it.',
  ],
  [
    'AIRGAP_PROXY_LOOPBACK',
    '1: the proxy is used for loopback addresses too, which are then those of the proxy.',
  ],
  [
    'SSL_CERT_FILE',
    'PEM file of certificate authorities to trust besides the usual ones, as with --ca-file. It adds to them and replaces none.',
  ],
  ['NODE_EXTRA_CA_CERTS', 'The same, read by Node.js itself, which warns where it cannot.'],
  ['XDG_CONFIG_HOME', 'Where folders of certificates are looked for first, before ~/.config.'],
  ['HOME', 'The folder that ~ stands for under FILES.'],
  [
    'PATH',
    'Where credential helpers (docker-credential-NAME) are looked for, if a credentials file names one.',
  ],
  [
    'SOURCE_DATE_EPOCH',
    'Seconds since 1970, taken as the creation time of a bundle, so that the same lock gives the same bytes.',
  ],
  ['NO_COLOR', 'If set and not empty: no colours.'],
  ['CI', 'If set: no colours and no live line, as in a pipe.'],
  ['TERM', 'dumb: no colours and no live line.'],
]

export const FILES: readonly (readonly [path: string, text: string])[] = [
  [
    '~/.docker/config.json',
    'Credentials that docker login has stored, and the credential helpers that it names.',
  ],
  ['$XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json', 'The same from podman login.'],
  [
    '~/.config/containers/certs.d, ~/.config/docker/certs.d, /etc/containers/certs.d, /etc/docker/certs.d',
    'For each registry a folder HOST[:PORT]: *.crt are authorities to trust for this host alone, NAME.cert with NAME.key is the client certificate for it. The first folder that there is counts.',
  ],
  [
    'NAME.TIME.receipt.json',
    'The receipt of a push, in the present folder unless --receipt names another; in `~/.local/state/airgap/receipts` where that cannot be written; .incomplete is appended where the push was not completed.',
  ],
  [
    'NAME.TIME.report.json',
    'What a push has verified, beside its receipt unless --report names another; .incomplete is appended in the same way.',
  ],
  [
    'FILE.sigstore.json, FILE.sig',
    'With --report-key or --receipt-key: the signature over FILE, for cosign verify-blob --bundle and for openssl dgst -verify.',
  ],
  [
    '~/.local/state/airgap/uploads',
    'Where unfinished uploads of a push are, for the same push to go on with after it was killed. Removed when it is complete; harmless to delete.',
  ],
  [
    '~/.local/state/airgap/sequences.json',
    'The last sequence of each bundle name and signer that push has accepted, unless --state names another file. Without it an older bundle passes unnoticed.',
  ],
  [
    'FILE.partial',
    'A bundle that is being written. It gets its name when it is complete. After an interruption the same command goes on with it.',
  ],
  [
    'FILE.partial.journal',
    'What that unfinished bundle is made from, and how far it is. Without it the bundle is begun anew.',
  ],
  [
    'FILE.earlier.partial',
    'An unfinished bundle that a run with other inputs takes blobs from. It is removed when that one is complete.',
  ],
]

export const HABITS: readonly string[] = [
  'Results go to standard output, everything else to standard error. --json gives one document on standard output, errors included: {"error": {"code", "message", "hint"}}.',
  'On a terminal, progress is one live line. In a pipe and in CI it is one line for each image whose bytes have moved, and one every 15 seconds while nothing ends; no control codes. --quiet leaves out all but results, warnings and errors.',
  'An existing output is not overwritten without --force. What is not complete never has the name of something complete.',
  'Flags take their value after a space or after =. A flag that may be repeated takes one value each time. After -- everything is an argument.',
  'Ctrl-C ends a command in good order, with exit code 6; a second one ends it at once, with 130.',
  'Text that comes from outside (annotations, names, answers of registries) is printed with control characters escaped.',
]
