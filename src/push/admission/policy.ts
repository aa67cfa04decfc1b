import { AirgapError } from '../../errors.ts'
import type { Reference } from '../../oci/reference.ts'
import type { PublicKey } from '../../trust/keys.ts'
import type { NameMap, PathStyle, Target } from '../names.ts'

/** What can require signatures: two admission controllers of Kubernetes, and the container tools on the nodes. */
export type Enforcer = 'kyverno' | 'policy-controller' | 'containers'
export const ENFORCERS: readonly Enforcer[] = ['kyverno', 'policy-controller', 'containers']

export interface PolicyInputs {
  /** The targets of pushes, by the names that workloads use. At least one. */
  targets: readonly Target[]
  /** The keys that images are signed with. A signature by any one of them is enough. At least one. */
  keys: readonly PublicKey[]
  /** The naming rule of the push. This and everything below is only for `containers`. */
  path: PathStyle
  maps: readonly NameMap[]
  /** The registries, or paths in them, that images come from: `docker.io`, `quay.io/prometheus`. */
  sources: readonly string[]
  /** The pushed images, by their source references. */
  images: readonly Reference[]
  /** Accept images that a node already has, and images from files. */
  allowLocal: boolean
}

/** A file that is applied or installed unchanged. */
export interface PolicyFile {
  /** Its path, relative to the folder that all files are written to. */
  name: string
  /** What it is and where it goes, in one line. */
  about: string
  /** YAML with comments, or JSON. */
  text: string
  /** The same as data: one item for each document in the file. */
  documents: Record<string, unknown>[]
}

/** The key as files for clusters need it: SPKI in PEM. */
export function pemOf(key: PublicKey): string {
  return key.keyObject.export({ type: 'spki', format: 'pem' })
}

/**
 * Refuses targets with an IPv6 address: the patterns for images do not support brackets.
 * @throws AirgapError `USAGE`
 */
export function refuseIpv6(targets: readonly Target[], enforcer: string): void {
  const literal = targets.find(({ registry }) => registry.includes('['))
  if (!literal) return
  throw new AirgapError('USAGE', `${enforcer} has no patterns for the registry ${literal.registry}`, {
    hint: 'Give the registry a host name.',
  })
}
