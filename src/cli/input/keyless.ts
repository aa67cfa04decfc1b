import { Flags } from '@oclif/core'
import { AirgapError } from '../../errors.ts'
import type { KeylessOptions } from '../../pack/keyless.ts'

/** For pack: how a bundle is signed without a key of one's own. */
export const keylessFlags = {
  keyless: Flags.boolean({
    description:
      "Sign with a short-lived certificate (Sigstore) for this CI job's identity token. The identity and the bundle's SHA-256 go into a public log, for ever",
    exclusive: ['key', 'sign-command', 'no-sign'],
    helpGroup: 'SIGNING',
  }),
  'identity-token-file': Flags.string({
    description:
      'File with the identity token for --keyless; otherwise SIGSTORE_ID_TOKEN, or what GitHub Actions gives',
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'signing-config': Flags.string({
    description: "Whom --keyless asks: a Sigstore SigningConfig v0.2; otherwise Sigstore's public services",
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'trusted-root': Flags.string({
    description:
      'trusted_root.json to check certificates with: those of upstreams (--verify-upstream), and what --keyless has made before the bundle gets its name',
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
}

export interface KeylessFlagValues {
  keyless: boolean
  'identity-token-file'?: string | undefined
  'signing-config'?: string | undefined
  'trusted-root'?: string | undefined
  'verify-upstream'?: string[] | undefined
}

/**
 * What the flags say of keyless signing; undefined where it was not asked for.
 * @throws AirgapError `USAGE`
 */
export function keylessFrom(flags: KeylessFlagValues): KeylessOptions | undefined {
  const names = ['identity-token-file', 'signing-config', 'trusted-root'] as const
  // Upstreams' certificates are checked with the same root.
  const isForUpstream = (flags['verify-upstream'] ?? []).length > 0
  const idle = names.find((name) => flags[name] !== undefined && !(name === 'trusted-root' && isForUpstream))
  if (flags.keyless) {
    const file = flags['identity-token-file']
    return {
      identityToken: file === undefined ? undefined : { file },
      signingConfig: flags['signing-config'],
      trustedRoot: flags['trusted-root'],
    }
  }
  if (idle === undefined) return undefined
  throw new AirgapError(
    'USAGE',
    `--${idle} goes with --keyless${idle === 'trusted-root' ? ' or --verify-upstream' : ''}`,
  )
}
