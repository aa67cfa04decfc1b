import { Flags } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import type { UpstreamCheckOptions, UpstreamOptions } from '../library/upstream.ts'

const POLICY = {
  multiple: true,
  multipleNonGreedy: true,
  helpValue: 'POLICY',
  helpGroup: 'UPSTREAM',
} as const

/** Whom to trust with certificates: one flag for all that is checked with it. */
const trustedRootFlag = {
  'trusted-root': Flags.string({
    description: 'trusted_root.json that certificates are checked with; brought by another way than bundles',
    helpValue: 'FILE',
    helpGroup: 'UPSTREAM',
  }),
}

/** For pack. */
export const verifyUpstreamFlags = {
  'verify-upstream': Flags.string({
    ...POLICY,
    description:
      'Verify who has signed the images at their upstreams: a policy file, or the preset kubernetes; several count in order',
  }),
  ...trustedRootFlag,
}

/** For verify and push. */
export const upstreamFlags = {
  upstream: Flags.boolean({
    description: "Verify the upstreams' signatures again, from what the bundle holds",
    helpGroup: 'UPSTREAM',
  }),
  'upstream-policy': Flags.string({
    ...POLICY,
    description:
      'Who has to have signed: a policy file, or the preset kubernetes, instead of what the packer has recorded; implies --upstream',
  }),
  ...trustedRootFlag,
}

/**
 * What pack's flags demand of upstreams; undefined where they demand nothing.
 * @throws AirgapError `USAGE`
 */
export function verifyUpstreamFrom(flags: {
  'verify-upstream'?: string[] | undefined
  'trusted-root'?: string | undefined
}): UpstreamOptions | undefined {
  const policies = flags['verify-upstream'] ?? []
  const trustedRoot = flags['trusted-root']
  if (policies.length > 0) return { policies, trustedRoot }
  if (trustedRoot === undefined) return undefined
  throw new AirgapError('USAGE', '--trusted-root goes with --verify-upstream')
}

/**
 * What the flags of verify and push ask of upstreams; undefined where they ask nothing.
 * @throws AirgapError `USAGE`
 */
export function upstreamFrom(flags: {
  upstream?: boolean | undefined
  'upstream-policy'?: string[] | undefined
  'trusted-root'?: string | undefined
}): UpstreamCheckOptions | undefined {
  const policies = flags['upstream-policy'] ?? []
  if (flags.upstream === true || policies.length > 0) return { policies }
  if (flags['trusted-root'] === undefined) return undefined
  throw new AirgapError('USAGE', '--trusted-root goes with --upstream')
}
