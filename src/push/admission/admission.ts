import { AirgapError } from '../../errors.ts'
import { formatTarget, parseReference, type Reference } from '../../oci/reference.ts'
import type { Enforcer, PolicyFile, PolicyInputs } from './policy.ts'
import type { PathStyle } from '../names.ts'
import type { PublicKey } from '../../trust/keys.ts'
import { containersPolicy } from './containers.ts'
import { kyvernoPolicies } from './kyverno.ts'
import { policyControllerPolicy } from './policy-controller.ts'

export interface ClusterPolicyOptions {
  /** The targets of pushes, `REGISTRY[/PREFIX]`, as workloads name them. At least one. */
  registries: readonly string[]
  /**
   * Public keys that images are signed with, or PEM files with them. A signature by any one of them is enough. At least
   * one.
   */
  keys: readonly (PublicKey | string)[]
  /** For `containers`: the naming rule of the push; by default `full`. */
  path?: PathStyle | undefined
  /** For `containers`: the maps of the push, `FROM=TO`. */
  maps?: readonly string[] | undefined
  /**
   * For `containers`: the registries, or paths in them, that images come from (`docker.io`, `quay.io/prometheus`). With full
   * names, the default is the usual public registries if neither this nor `images` is given.
   */
  sources?: readonly string[] | undefined
  /** For `containers`: references of the pushed images, instead of `sources` or in addition. */
  images?: readonly (Reference | string)[] | undefined
  /** For `containers`: also accept images from files, and images that a node already has. */
  allowLocal?: boolean | undefined
}

/** The policy for a cluster that runs only images that were signed when they were pushed. */
export interface ClusterPolicy {
  enforcer: Enforcer
  registries: string[]
  keys: PublicKey[]
  files: PolicyFile[]
}

/**
 * Makes the policy for a cluster to require the signatures of `push` with `signImages`, ready to be applied. Contacts
 * neither registry nor cluster.
 *
 * @throws AirgapError `USAGE` if no policy can be made of the options; `FILE`, `INVALID_KEY`, `INVALID_REFERENCE`
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
  return { enforcer, registries: targets.map(formatTarget), keys, files: policyFiles(enforcer, inputs) }
}

/** The files for an enforcer. */
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
