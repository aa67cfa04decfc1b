import { AirgapError } from '../../errors.ts'
import { parseReference, type Reference } from '../../oci/reference.ts'
import type { Enforcer, PolicyFile, PolicyInputs } from './policy.ts'
import type { PathStyle } from '../names.ts'
import type { PublicKey } from '../../trust/keys.ts'
import { containersPolicy } from './containers.ts'
import { kyvernoPolicies } from './kyverno.ts'
import { policyControllerPolicy } from './policy-controller.ts'

export interface ClusterPolicyOptions {
  /** `REGISTRY[/PREFIX]` that images are pushed to, as workloads name it. At least one. */
  registries: readonly string[]
  /**
   * Public keys that images are signed with, or the PEM files that hold them; a signature by any one suffices. At least
   * one.
   */
  keys: readonly (PublicKey | string)[]
  /** For `containers`: how push makes names, as there; `full` where left out. */
  path?: PathStyle | undefined
  /** For `containers`: `FROM=TO`, as push has it. */
  maps?: readonly string[] | undefined
  /**
   * For `containers`: registries, or paths in them, that images come from (`docker.io`, `quay.io/prometheus`). With full
   * names, the usual public registries where neither they nor `images` are given.
   */
  sources?: readonly string[] | undefined
  /** For `containers`: references of the images that are pushed, instead of `sources` or besides. */
  images?: readonly (Reference | string)[] | undefined
  /** For `containers`: accept what comes in files, and what a node has already. */
  allowLocal?: boolean | undefined
}

/** What a cluster is to be given, so that only images run that were signed when they were pushed. */
export interface ClusterPolicy {
  enforcer: Enforcer
  registries: string[]
  keys: PublicKey[]
  files: PolicyFile[]
}

/**
 * Makes the policy for a cluster that holds workloads to the signatures of `push` with `signImages`, ready to be applied.
 * Nothing is asked of any registry or cluster.
 *
 * @throws AirgapError `USAGE` for what makes no policy; `FILE`, `INVALID_KEY`, `INVALID_REFERENCE`
 */
export async function clusterPolicy(
  enforcer: Enforcer,
  options: ClusterPolicyOptions,
): Promise<ClusterPolicy> {
  const { parseNameMap, parseTarget } = await import('../names.ts')
  const { readPublicKey } = await import('../../trust/keys.ts')
  const targets = options.registries.map((text) => parseTarget(text))
  const maps = (options.maps ?? []).map((text) => parseNameMap(text))
  const images = (options.images ?? []).map((image) =>
    typeof image === 'string' ? parseReference(image) : image,
  )
  const given = await Promise.all(
    options.keys.map(async (key) => (typeof key === 'string' ? readPublicKey(key) : key)),
  )
  const keys = [...new Map(given.map((key) => [key.fingerprint, key])).values()]
  if (targets.length === 0 || keys.length === 0) {
    throw new AirgapError('USAGE', 'a policy needs a registry and a key')
  }
  const { path = 'full', sources = [], allowLocal = false } = options
  const inputs = { targets, keys, path, maps, sources, images, allowLocal }
  const { prefixOf } = await import('./policy.ts')
  return { enforcer, registries: targets.map(prefixOf), keys, files: policyFiles(enforcer, inputs) }
}

/** The files for one of the enforcers. */
function policyFiles(enforcer: Enforcer, inputs: PolicyInputs): PolicyFile[] {
  switch (enforcer) {
    case 'kyverno':
      return [kyvernoPolicies(inputs)]
    case 'policy-controller':
      return [policyControllerPolicy(inputs)]
    case 'containers':
      return containersPolicy(inputs)
  }
}
