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
      "Verify the upstreams' signatures of the images by this policy: a file, or the preset kubernetes; of several, the first with a rule for an image counts",
  }),
}

/** For verify and push. */
export const upstreamFlags = {
  upstream: Flags.boolean({
    description: "Verify the upstreams' signatures again, with what is in the bundle",
    helpGroup: 'UPSTREAM',
  }),
  'upstream-policy': Flags.string({
    ...POLICY,
    description:
      "Verify the upstreams' signatures by this policy instead of the one that the packer recorded: a file, or the preset kubernetes; implies --upstream",
  }),
}

/**
 * The upstream policies that pack's flags name; undefined if none.
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
 * What verify and push check of upstreams' signatures; undefined if nothing.
 */
export function upstreamFrom(flags: {
  upstream?: boolean | undefined
  'upstream-policy'?: string[] | undefined
}): UpstreamCheckOptions | undefined {
  const policies = flags['upstream-policy'] ?? []
  if (flags.upstream === true || policies.length > 0) return { policies }
  return undefined
}
