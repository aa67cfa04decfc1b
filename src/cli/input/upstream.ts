import { Flags } from '@oclif/core'
import type { UpstreamCheckOptions, UpstreamOptions } from '../../index.ts'

const POLICY = {
  multiple: true,
  multipleNonGreedy: true,
  helpValue: 'POLICY',
  helpGroup: 'UPSTREAM',
} as const

/** For pack. */
export const verifyUpstreamFlags = {
  'verify-upstream': Flags.string({
    ...POLICY,
    description:
      'Verify who has signed the images at their upstreams: a policy file, or the preset kubernetes; several count in order',
  }),
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
}

/**
 * What pack's flags demand of upstreams; undefined where they demand nothing.
 */
export function verifyUpstreamFrom(flags: {
  'verify-upstream'?: string[] | undefined
  'trusted-root'?: string | undefined
}): UpstreamOptions | undefined {
  const policies = flags['verify-upstream'] ?? []
  const trustedRoot = flags['trusted-root']
  if (policies.length > 0) return { policies, trustedRoot }
  return undefined
}

/**
 * What the flags of verify and push ask of upstreams; undefined where they ask nothing.
 */
export function upstreamFrom(flags: {
  upstream?: boolean | undefined
  'upstream-policy'?: string[] | undefined
}): UpstreamCheckOptions | undefined {
  const policies = flags['upstream-policy'] ?? []
  if (flags.upstream === true || policies.length > 0) return { policies }
  return undefined
}
