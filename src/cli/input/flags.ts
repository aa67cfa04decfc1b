import { Args, Flags } from '@oclif/core'
import { REFERRER_CHOICES } from '../../oci/manifest.ts'

/** Flags of several commands, under their contractual names. */

const many = { multiple: true, multipleNonGreedy: true } as const

const configFlag = {
  config: Flags.string({
    description:
      'An airgap.yaml with inputs, platforms, mirrors and names; a flag replaces the key of its name, image arguments replace images',
    helpValue: 'FILE',
    helpGroup: 'INPUT',
  }),
}

const sourceFlags = {
  'images-from': Flags.string({
    ...many,
    description: 'File with one image reference a line; - is standard input',
    helpValue: 'FILE',
    helpGroup: 'INPUT',
  }),
  kubeadm: Flags.string({
    ...many,
    description: "kubeadm's own images for a Kubernetes release",
    helpValue: 'VERSION',
    helpGroup: 'INPUT',
  }),
  'kubeadm-repository': Flags.string({
    description: "Registry and path of kubeadm's images, where they are not the release's own",
    helpValue: 'REPOSITORY',
    helpGroup: 'INPUT',
  }),
  exclude: Flags.string({
    ...many,
    description: 'Leave out references that match; * stands for any characters',
    helpValue: 'PATTERN',
    helpGroup: 'INPUT',
  }),
}

export const inputFlags = { ...configFlag, ...sourceFlags }

const platformFlags = {
  platform: Flags.string({
    ...many,
    description: 'Platform to take, OS/ARCH[/VARIANT]; all platforms unless given',
    helpValue: 'PLATFORM',
    helpGroup: 'PLATFORM',
  }),
  'rewrite-digests': Flags.boolean({
    allowNo: true,
    description: 'Take only these platforms of references with a digest too, which changes their digest',
    helpGroup: 'PLATFORM',
  }),
  'allow-missing-platform': Flags.boolean({
    allowNo: true,
    description: 'Take what there is where an image lacks a platform',
    helpGroup: 'PLATFORM',
  }),
  'allow-missing-attestations': Flags.boolean({
    allowNo: true,
    description: "Leave out attestations that an image's index lists and that cannot be had",
    helpGroup: 'PLATFORM',
  }),
}

const referrersFlag = {
  referrers: Flags.option({
    options: REFERRER_CHOICES,
    description:
      'What travels along of all that refers to the images (signatures, attestations, SBOMs); all unless given',
  })(),
}

/** For every command that talks to a registry. */
export const registryFlags = {
  'plain-http': Flags.string({
    ...many,
    description: 'Registry that may be spoken to without TLS',
    helpValue: 'HOST[:PORT]',
    helpGroup: 'REGISTRY',
  }),
  'ca-file': Flags.string({
    description: 'PEM file of certificate authorities to trust besides the usual ones',
    helpValue: 'FILE',
    helpGroup: 'REGISTRY',
  }),
  'insecure-skip-tls-verify': Flags.string({
    ...many,
    description: 'Registry whose certificate is not checked',
    helpValue: 'HOST',
    helpGroup: 'REGISTRY',
  }),
  'auth-file': Flags.string({
    description: "File with credentials in Docker's or Podman's format",
    helpValue: 'FILE',
    helpGroup: 'REGISTRY',
  }),
  'allow-token-realm': Flags.string({
    ...many,
    description: 'Host on a private address that may issue tokens for a public registry',
    helpValue: 'HOST',
    helpGroup: 'REGISTRY',
  }),
  retries: Flags.integer({
    description: 'Attempts after the first, where a fault may pass by itself',
    default: 4,
    min: 0,
    max: 100,
    helpValue: 'NUMBER',
    helpGroup: 'REGISTRY',
  }),
  timeout: Flags.string({
    description:
      'How long a peer may be silent, or send next to nothing: 30s, 2m, or seconds; 60s unless given',
    helpValue: 'TIME',
    helpGroup: 'REGISTRY',
  }),
  'max-rate': Flags.string({
    description: 'Bytes a second over the whole run, both ways: 10MB, 500KiB',
    helpValue: 'RATE',
    helpGroup: 'REGISTRY',
  }),
}

const mirrorFlags = {
  mirror: Flags.string({
    ...many,
    description:
      'Read what begins with FROM from TO; several are tried in order, a longer FROM first, then the source',
    helpValue: 'FROM=TO',
    helpGroup: 'REGISTRY',
  }),
  'resolve-from': Flags.option({
    options: ['source', 'mirror'] as const,
    default: 'source',
    description: 'Who may turn a tag into a digest',
    helpGroup: 'REGISTRY',
  })(),
}

const mirrorFileFlags = {
  'mirrors-from': Flags.string({
    ...many,
    description:
      "Mirrors as containerd's hosts.toml or Podman's registries.conf has them, or a folder of such (/etc/containerd/certs.d, /etc/containers)",
    helpValue: 'FILE',
    helpGroup: 'REGISTRY',
  }),
}

/** For what signs: pack and sign. */
export const signingFlags = {
  key: Flags.string({
    description: 'Private key to sign with',
    exclusive: ['no-sign', 'sign-command'],
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'password-file': Flags.string({
    description: "File that holds the key's password",
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'sign-command': Flags.string({
    description:
      'Program with its arguments that signs with a key held elsewhere: bytes on standard input, signature on standard output. Split at blanks, with quotes; no shell, no variables, no patterns. Needs --public-key',
    dependsOn: ['public-key'],
    exclusive: ['no-sign'],
    helpValue: 'COMMAND',
    helpGroup: 'SIGNING',
  }),
  'public-key': Flags.string({
    description: "The public half of --sign-command's key, which its signature is checked with",
    dependsOn: ['sign-command'],
    helpValue: 'PUB',
    helpGroup: 'SIGNING',
  }),
}

const identityFlags = {
  'certificate-identity': Flags.string({
    description:
      'Whom the certificate has to name that the bundle is signed with: an e-mail address or a URI. Where a key is given too, either suffices',
    helpValue: 'NAME',
    helpGroup: 'TRUST',
  }),
  'certificate-identity-regexp': Flags.string({
    description: 'The same as a regular expression, which has to fit the whole name',
    helpValue: 'PATTERN',
    helpGroup: 'TRUST',
  }),
  'certificate-oidc-issuer': Flags.string({
    description: 'Who has to have vouched for that name: the URL of the OpenID Connect issuer',
    helpValue: 'URL',
    helpGroup: 'TRUST',
  }),
  'certificate-oidc-issuer-regexp': Flags.string({
    description: 'The same as a regular expression, which has to fit the whole URL',
    helpValue: 'PATTERN',
    helpGroup: 'TRUST',
  }),
  'trusted-root': Flags.string({
    description: 'Authorities and logs that certificates are checked with: the trusted_root.json of Sigstore',
    helpValue: 'FILE',
    helpGroup: 'TRUST',
  }),
}

/** For verify, push and serve. */
export const trustFlags = {
  key: Flags.string({
    ...many,
    description: 'Public key that the bundle has to be signed with; any one of several suffices',
    helpValue: 'PUB',
    helpGroup: 'TRUST',
  }),
  ...identityFlags,
  signature: Flags.string({
    ...many,
    description: 'File with a signature over SHA256SUMS that is not in the bundle itself',
    helpValue: 'FILE',
    helpGroup: 'TRUST',
  }),
  policy: Flags.string({
    description:
      'Policy that says who has to have signed, and what the bundle has to be; instead of keys and identities',
    helpValue: 'FILE',
    helpGroup: 'TRUST',
  }),
  'expect-digest': Flags.string({
    description: 'The bundle digest that was approved',
    helpValue: 'SHA256',
    helpGroup: 'TRUST',
  }),
  'expect-name': Flags.string({ description: "The bundle's name", helpValue: 'NAME', helpGroup: 'TRUST' }),
  'min-sequence': Flags.integer({
    description: 'The least sequence that is accepted',
    min: 0,
    helpValue: 'NUMBER',
    helpGroup: 'TRUST',
  }),
}

/** For push: signing what has arrived. */
export const imageSigningFlags = {
  'sign-images': Flags.string({
    description: "Sign what is pushed with this private key, before it is tagged; never the bundle's key",
    helpValue: 'KEY',
    helpGroup: 'SIGNING',
  }),
  'sign-images-password-file': Flags.string({
    description: "File that holds that key's password",
    dependsOn: ['sign-images'],
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'image-signature-format': Flags.option({
    ...many,
    options: ['cosign', 'sigstore-bundle'] as const,
    dependsOn: ['sign-images'],
    description:
      'Layout of the signatures: cosign (tag sha256-….sig) or sigstore-bundle (cosign 3); by default the first, and both where images bring Sigstore bundles along',
    helpGroup: 'SIGNING',
  })(),
}

/** For commands whose result is about images, which are one line each. */
export const imagesFlag = {
  images: Flags.boolean({
    description: 'Show each image with its digest and whatever else is known of it',
    helpGroup: 'OUTPUT',
  }),
}

/** For verify and push: the record of the verification. */
export const reportFlag = {
  report: Flags.string({
    description: 'Write what was verified, and how, into this new file; of a refused bundle, too',
    helpValue: 'FILE',
    helpGroup: 'RECORD',
  }),
}

/** For verify and push: the memory of sequences. */
export function stateFlag(description: string) {
  return { state: Flags.string({ description, helpValue: 'FILE', helpGroup: 'TRUST' }) }
}

export const concurrencyFlag = {
  concurrency: Flags.integer({
    description: 'Transfers at a time',
    default: 6,
    min: 1,
    max: 64,
    helpValue: 'NUMBER',
    helpGroup: 'REGISTRY',
  }),
}

export const outputForceFlag = {
  force: Flags.boolean({ description: 'Replace the output if it exists', helpGroup: 'OUTPUT' }),
}

/** The images that a command line names as arguments. */
export const imageArgs = {
  image: Args.string({ description: 'Image reference', multiple: true, ignoreStdin: true }),
}

const skipFailedFlag = {
  'skip-failed': Flags.boolean({
    description: 'Leave out images that cannot be resolved, and record them as left out',
    helpGroup: 'INPUT',
  }),
}

/** For resolve and pack: what to take, and from where. */
export const resolvingFlags = {
  ...inputFlags,
  ...skipFailedFlag,
  ...platformFlags,
  ...referrersFlag,
  ...registryFlags,
  ...mirrorFlags,
  ...mirrorFileFlags,
  ...concurrencyFlag,
}

/** For init: what a config can hold. */
export const configurableFlags = { ...sourceFlags, ...platformFlags, ...referrersFlag, ...mirrorFlags }
