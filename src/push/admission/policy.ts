import { AirgapError } from '../../errors.ts'
import type { Reference } from '../../oci/reference.ts'
import type { PublicKey } from '../../trust/keys.ts'
import type { NameMap, PathStyle, Target } from '../names.ts'

/** Who is to hold workloads to signatures: two admission controllers of Kubernetes, and the nodes' own pulls. */
export type Enforcer = 'kyverno' | 'policy-controller' | 'containers'
export const ENFORCERS: readonly Enforcer[] = ['kyverno', 'policy-controller', 'containers']

export interface PolicyInputs {
  /** Where images are pushed to: as workloads name it, not as push reached it. At least one. */
  targets: readonly Target[]
  /** That images are signed with; a signature by any one of them suffices. At least one. */
  keys: readonly PublicKey[]
  /** How push makes names. For `containers` alone, as is all that follows. */
  path: PathStyle
  maps: readonly NameMap[]
  /** Registries, or paths in them, that images come from: `docker.io`, `quay.io/prometheus`. */
  sources: readonly string[]
  /** Images that are pushed, as a list names them. */
  images: readonly Reference[]
  /** Leave images that are on a node already, or come in files, alone. */
  allowLocal: boolean
}

/** A file that is applied or installed as it is. */
export interface PolicyFile {
  /** Its name, relative to where all of them are written. */
  name: string
  /** What it is and where it goes, in a line. */
  about: string
  /** YAML with comments, or JSON. */
  text: string
  /** The same as data: one for each document of the file. */
  documents: Record<string, unknown>[]
}

/** `REGISTRY[/PREFIX]`. */
export function prefixOf({ registry, prefix }: Target): string {
  return [registry, prefix].filter(Boolean).join('/')
}

/** The key as files for clusters have it: PEM, SPKI. */
export function pemOf(key: PublicKey): string {
  return key.keyObject.export({ type: 'spki', format: 'pem' })
}

/** Patterns for images know no brackets. */
export function refuseIpv6(targets: readonly Target[], enforcer: string): void {
  const literal = targets.find(({ registry }) => registry.includes('['))
  if (!literal) return
  throw new AirgapError('USAGE', `${enforcer} has no patterns for the registry ${literal.registry}`, {
    hint: 'Give the registry a host name.',
  })
}
