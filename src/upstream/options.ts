import { AirgapError } from '../errors.ts'
import type { UpstreamCheck } from './check-bundle.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { UpstreamPolicy } from '../trust/upstream/rule.ts'

/** Whose signatures images have to have from their upstreams. */
export interface UpstreamOptions {
  /**
   * Files (`dev.airgap.upstream-policy`) and names of presets (`kubernetes`); their rules count in this order, and the
   * first that is for an image applies to it.
   */
  policies: readonly string[]
  /** The trusted root (trusted_root.json) that certificates are checked with. Needed where rules name identities. */
  trustedRoot?: string | undefined
}

/** The same, read. */
export interface Upstream {
  policy: UpstreamPolicy
  root: Root | undefined
}

/**
 * Reads what a caller demands of upstreams' signatures.
 * @throws AirgapError `FILE`, `INVALID_POLICY`, `INVALID_CONTENT`; `USAGE` where a trusted root is lacking.
 */
export async function readUpstream({ policies, trustedRoot }: UpstreamOptions): Promise<Upstream> {
  if (policies.length === 0) throw new AirgapError('USAGE', 'no policy for upstreams is named')
  return upstreamWith(policies, trustedRoot === undefined ? undefined : await readUpstreamRoot(trustedRoot))
}

async function readUpstreamRoot(path: string): Promise<Root> {
  const { readTrustedRoot } = await import('../trust/identity/trusted-root.ts')
  return nameless(await readTrustedRoot(path))
}

/** Under no file's name: reasons that quote it are recorded, and must be the same everywhere. */
function nameless(root: Root): Root {
  return { ...root, source: 'the one given' }
}

/** Verifying upstreams' signatures again, in a bundle. */
export interface UpstreamCheckOptions {
  /** Policies as for {@link UpstreamOptions}. Without any, whose they have to be is what the packer has recorded. */
  policies?: readonly string[] | undefined
}

/**
 * The same, read.
 * @param root the trusted root that the caller has given, for all certificates.
 * @throws AirgapError `FILE`, `INVALID_POLICY`; `USAGE` where a trusted root is lacking.
 */
export async function readUpstreamCheck(
  { policies = [] }: UpstreamCheckOptions,
  root: Root | undefined,
): Promise<UpstreamCheck> {
  if (policies.length > 0) return upstreamWith(policies, root && nameless(root))
  if (root) return { policy: undefined, root: nameless(root) }
  throw new AirgapError(
    'USAGE',
    "upstreams' signatures are checked with a trusted root, with a policy, or with both, but none is given",
    { hint: [{ id: 'trusted-root' }, { id: 'upstream-policy' }] },
  )
}

async function upstreamWith(policies: readonly string[], root: Root | undefined): Promise<Upstream> {
  const { readUpstreamPolicies } = await import('../trust/upstream/policy-file.ts')
  const { needsRoot } = await import('../trust/upstream/rule.ts')
  const policy = await readUpstreamPolicies(policies)
  if (root || !needsRoot(policy)) return { policy, root }
  throw new AirgapError(
    'USAGE',
    'the upstream policy names identities, which are checked with a trusted root, but none is given',
    { hint: { id: 'trusted-root' } },
  )
}
