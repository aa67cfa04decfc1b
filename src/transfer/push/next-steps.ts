import { parseReference } from '../../oci/reference.ts'
import type { Receipt } from './receipt.ts'

/** What kubeadm has to be told so that it finds its images in the target. */
export interface KubeadmSettings {
  kubernetesVersion: string
  imageRepository: string
  dnsImageRepository?: string
  /** The pause image, which the container runtime pulls by its own setting. */
  sandboxImage?: string
}

/** How nodes find a source registry's images in the target: one `hosts.toml`. */
export interface RegistryMirror {
  /** The source registry, and so the folder below containerd's `certs.d`. */
  registry: string
  /** The host that serves as its upstream where the mirror lacks something. */
  server: string
  /** The URL of the mirror, with containerd's `override_path`. */
  mirror: string
}

const COMPONENTS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'etcd',
  'pause',
]

/**
 * kubeadm's settings, when its images were pushed under names that it can build: it asks for
 * `imageRepository/NAME`, and for `dns.imageRepository/coredns`.
 */
export function kubeadmSettings(images: Receipt['images']): KubeadmSettings | undefined {
  const targets = images.map(({ target }) => splitTarget(target))
  const apiServer = targets.find(({ base }) => base === 'kube-apiserver')
  if (!apiServer) return undefined
  const isComplete = COMPONENTS.every((name) =>
    targets.some(({ base, parent }) => base === name && parent === apiServer.parent),
  )
  if (!isComplete) return undefined
  const dns = targets.find(({ base }) => base === 'coredns')
  const pause = targets.find(({ base, parent }) => base === 'pause' && parent === apiServer.parent)
  return {
    kubernetesVersion: apiServer.tag,
    imageRepository: apiServer.parent,
    ...(dns ? { dnsImageRepository: dns.parent } : {}),
    ...(pause ? { sandboxImage: `${pause.parent}/pause:${pause.tag}` } : {}),
  }
}

function splitTarget(target: string): { parent: string; base: string; tag: string } {
  const colon = target.lastIndexOf(':')
  const slash = target.lastIndexOf('/', colon)
  return {
    parent: target.slice(0, slash),
    base: target.slice(slash + 1, colon),
    tag: target.slice(colon + 1),
  }
}

/**
 * The mirrors to configure on nodes: one for each source registry whose images all lie below one path of the
 * target under their own names.
 *
 * @returns those, and the sources that a mirror cannot express (mapped names, tags made up for bare digests):
 * workloads have to name these as they are in the target.
 */
export function registryMirrors({ images, target: { origin } }: Pick<Receipt, 'images' | 'target'>): {
  mirrors: RegistryMirror[]
  others: { source: string; target: string }[]
} {
  const mirrors: RegistryMirror[] = []
  const others: { source: string; target: string }[] = []
  for (const [registry, group] of Map.groupBy(images, ({ source }) => parseReference(source).registry)) {
    const prefixes = new Set(group.map((image) => mirrorUrl(image, origin)))
    const [prefix] = prefixes
    if (prefixes.size === 1 && prefix !== undefined) {
      mirrors.push({ registry, server: upstream(registry), mirror: prefix })
    } else {
      others.push(...group.map(({ source, target }) => ({ source, target })))
    }
  }
  return { mirrors, others }
}

/** `ORIGIN/v2/PATH` such that PATH and the source's own repository give the target's repository. */
function mirrorUrl({ source, target }: Receipt['images'][number], origin: string): string | undefined {
  const { repository } = parseReference(source)
  const path = target.slice(target.indexOf('/') + 1, target.lastIndexOf(':'))
  if (path === repository) return `${origin}/v2`
  return path.endsWith(`/${repository}`) ? `${origin}/v2/${path.slice(0, -repository.length - 1)}` : undefined
}

function upstream(registry: string): string {
  return `https://${registry === 'docker.io' ? 'registry-1.docker.io' : registry}`
}
