import { Args, Flags } from '@oclif/core'
import { REFERRER_CHOICES } from '../../oci/manifest.ts'

/** Flags that several commands share. Their names are part of the interface. */

const many = { multiple: true, multipleNonGreedy: true } as const

const configFlag = {
  config: Flags.string({
    description:
      'Config (airgap.yaml) with inputs, platforms, mirrors and names; a flag replaces its key, image arguments replace images',
    helpValue: 'FILE',
    helpGroup: 'INPUT',
  }),
}

const sourceFlags = {
  'images-from': Flags.string({
    ...many,
    description: 'File with one image reference per line; - is standard input',
    helpValue: 'FILE',
    helpGroup: 'INPUT',
  }),
  kubeadm: Flags.string({
    ...many,
    description: "kubeadm's images for a Kubernetes release",
    helpValue: 'VERSION',
    helpGroup: 'INPUT',
  }),
  'kubeadm-repository': Flags.string({
    description: "Registry and path of kubeadm's images, if not those of the release",
    helpValue: 'REPOSITORY',
    helpGroup: 'INPUT',
  }),
  exclude: Flags.string({
    ...many,
    description: 'Leave out references that match; * matches any characters',
    helpValue: 'PATTERN',
    helpGroup: 'INPUT',
  }),
}

export const inputFlags = { ...configFlag, ...sourceFlags }

const platformFlags = {
  platform: Flags.string({
    ...many,
    description: 'Platform to take, OS/ARCH[/VARIANT]; all platforms by default',
    helpValue: 'PLATFORM',
    helpGroup: 'PLATFORM',
  }),
  'rewrite-digests': Flags.boolean({
    allowNo: true,
    description: 'Take only these platforms also of references with a digest, which changes the digest',
    helpGroup: 'PLATFORM',
  }),
  'allow-missing-platform': Flags.boolean({
    allowNo: true,
    description: 'If an image lacks a platform, take those that it has',
    helpGroup: 'PLATFORM',
  }),
  'allow-missing-attestations': Flags.boolean({
    allowNo: true,
    description: "Leave out attestations that an image's index lists but that cannot be fetched",
    helpGroup: 'PLATFORM',
  }),
}

const referrersFlag = {
  referrers: Flags.option({
    options: REFERRER_CHOICES,
    description:
      'Which referrers of the images to take along (signatures, attestations, SBOMs); all by default',
  })(),
}

/** For every command that talks to a registry. */
export const registryFlags = {
  'plain-http': Flags.string({
    ...many,
    description: 'Allow plain HTTP for this registry',
    helpValue: 'HOST[:PORT]',
    helpGroup: 'REGISTRY',
  }),
  'ca-file': Flags.string({
    description: 'PEM file of certificate authorities to trust in addition to the usual ones',
    helpValue: 'FILE',
    helpGroup: 'REGISTRY',
  }),
  'insecure-skip-tls-verify': Flags.string({
    ...many,
    description: 'Do not check the certificate of this registry',
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
    description: 'Allow this host, on a private address, to issue tokens for a public registry',
    helpValue: 'HOST',
    helpGroup: 'REGISTRY',
  }),
  retries: Flags.integer({
    description: 'How often to retry after a fault that may be temporary',
    default: 4,
    min: 0,
    max: 100,
    helpValue: 'NUMBER',
    helpGroup: 'REGISTRY',
  }),
  timeout: Flags.string({
    description: 'How long a host may send nothing, or next to nothing: 30s, 2m, or seconds; 60s by default',
    helpValue: 'TIME',
    helpGroup: 'REGISTRY',
  }),
  'max-rate': Flags.string({
    description: 'Limit in bytes per second for the whole run, up and down: 10MB, 500KiB',
    helpValue: 'RATE',
    helpGroup: 'REGISTRY',
  }),
}

const mirrorFlags = {
  mirror: Flags.string({
    ...many,
    description:
      'Read images whose names begin with FROM from TO; several are tried in order, longest FROM first, then the source',
    helpValue: 'FROM=TO',
    helpGroup: 'REGISTRY',
  }),
  'resolve-from': Flags.option({
    options: ['source', 'mirror'] as const,
    default: 'source',
    description: 'What may resolve a tag to a digest',
    helpGroup: 'REGISTRY',
  })(),
}

const mirrorFileFlags = {
  'mirrors-from': Flags.string({
    ...many,
    description:
      "Take mirrors from containerd's hosts.toml or Podman's registries.conf, or from a folder of these (/etc/containerd/certs.d, /etc/containers)",
    helpValue: 'FILE',
    helpGroup: 'REGISTRY',
  }),
}

/** For the commands that sign: pack and sign. */
export const signingFlags = {
  key: Flags.string({
    description: 'Private key to sign with',
    exclusive: ['no-sign', 'sign-command'],
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'password-file': Flags.string({
    description: "File with the key's password",
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'sign-command': Flags.string({
    description:
      'Program, with arguments, that signs with a key held elsewhere: it gets bytes on standard input and prints the signature. Split at spaces, except in quotes; no shell, no variables, no patterns. Needs --public-key',
    dependsOn: ['public-key'],
    exclusive: ['no-sign'],
    helpValue: 'COMMAND',
    helpGroup: 'SIGNING',
  }),
  'public-key': Flags.string({
    description: 'Public key that belongs to the key of --sign-command, to check its signature with',
    dependsOn: ['sign-command'],
    helpValue: 'PUB',
    helpGroup: 'SIGNING',
  }),
}

const identityFlags = {
  'certificate-identity': Flags.string({
    description:
      'Identity that the signing certificate must name: an e-mail address or a URI. With a --key as well, either is enough',
    helpValue: 'NAME',
    helpGroup: 'TRUST',
  }),
  'certificate-identity-regexp': Flags.string({
    description: 'The same as a regular expression, which must match the whole identity',
    helpValue: 'PATTERN',
    helpGroup: 'TRUST',
  }),
  'certificate-oidc-issuer': Flags.string({
    description: 'URL of the OpenID Connect issuer that must vouch for that identity',
    helpValue: 'URL',
    helpGroup: 'TRUST',
  }),
  'certificate-oidc-issuer-regexp': Flags.string({
    description: 'The same as a regular expression, which must match the whole URL',
    helpValue: 'PATTERN',
    helpGroup: 'TRUST',
  }),
  'trusted-root': Flags.string({
    description: 'trusted_root.json of Sigstore: the authorities and logs to check certificates with',
    helpValue: 'FILE',
    helpGroup: 'TRUST',
  }),
}

/** For verify, push and serve. */
export const trustFlags = {
  key: Flags.string({
    ...many,
    description: 'Public key that the bundle must be signed with; with several, one is enough',
    helpValue: 'PUB',
    helpGroup: 'TRUST',
  }),
  ...identityFlags,
  signature: Flags.string({
    ...many,
    description: 'File with a signature over SHA256SUMS that is not in the bundle',
    helpValue: 'FILE',
    helpGroup: 'TRUST',
  }),
  policy: Flags.string({
    description:
      'Policy that says who must have signed, and what the bundle must be; instead of keys and identities',
    helpValue: 'FILE',
    helpGroup: 'TRUST',
  }),
  'expect-digest': Flags.string({
    description: 'Bundle digest that was approved',
    helpValue: 'SHA256',
    helpGroup: 'TRUST',
  }),
  'expect-name': Flags.string({ description: "The bundle's name", helpValue: 'NAME', helpGroup: 'TRUST' }),
  'min-sequence': Flags.integer({
    description: 'Lowest sequence to accept',
    min: 0,
    helpValue: 'NUMBER',
    helpGroup: 'TRUST',
  }),
}

/** For push: signing images in the target. */
export const imageSigningFlags = {
  'sign-images': Flags.string({
    description:
      "Sign the pushed images with this private key, before they are tagged; never the bundle's key",
    helpValue: 'KEY',
    helpGroup: 'SIGNING',
  }),
  'sign-images-password-file': Flags.string({
    description: 'File with the password of --sign-images',
    dependsOn: ['sign-images'],
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'image-signature-format': Flags.option({
    ...many,
    options: ['cosign', 'sigstore-bundle'] as const,
    dependsOn: ['sign-images'],
    description:
      'Format of the signatures: cosign (tag sha256-….sig) or sigstore-bundle (cosign 3); by default cosign, and both if images come with Sigstore bundles',
    helpGroup: 'SIGNING',
  })(),
}

/** For commands that print images, by default one line each. */
export const imagesFlag = {
  images: Flags.boolean({
    description: 'Show each image with its digest and other details',
    helpGroup: 'OUTPUT',
  }),
}

/** For verify and push: the record of the verification. */
export const reportFlag = {
  report: Flags.string({
    description: 'Write what was verified, and how, to this new file; also for a refused bundle',
    helpValue: 'FILE',
    helpGroup: 'RECORD',
  }),
}

/** For verify and push: where sequences are kept. */
export function stateFlag(description: string) {
  return { state: Flags.string({ description, helpValue: 'FILE', helpGroup: 'TRUST' }) }
}

export const concurrencyFlag = {
  concurrency: Flags.integer({
    description: 'How many transfers to run at a time',
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
    description: 'Leave out images that cannot be resolved, and record them as skipped',
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
