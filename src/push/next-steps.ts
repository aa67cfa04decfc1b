import { parseReference } from '../oci/reference.ts'
import type { Receipt } from './receipt.ts'

/** The settings with which kubeadm finds the images of one release in the target. */
export interface KubeadmSettings {
  /** The API version of kubeadm's configuration: the newest stable one that the release reads. */
  apiVersion: string
  kubernetesVersion: string
  imageRepository: string
  dnsImageRepository?: string
  /** The pause images in the target, which the container runtime pulls by its own setting. */
  sandboxImages: string[]
}

/** What a `hosts.toml` needs so that nodes find a source registry's images in the target. */
export interface RegistryMirror {
  /** The source registry, which is also the folder below containerd's `certs.d`. */
  registry: string
  /** The URL of the source registry itself, for images that the mirror lacks. */
  server: string
  /** The URL of the mirror, for use with containerd's `override_path`. */
  mirror: string
}

/** The images whose tag is the release, beside kube-apiserver, which identifies the release. */
const COMPONENTS = ['kube-controller-manager', 'kube-scheduler', 'kube-proxy']

/**
 * kubeadm's settings, for each release whose images were pushed under names that kubeadm can use: it pulls
 * `imageRepository/NAME` and `dns.imageRepository/coredns`.
 */
export function kubeadmSettings(images: Receipt['images']): KubeadmSettings[] {
  const targets = images.map(({ target }) => splitTarget(target))
  const tagsOf = (parent: string, base: string): string[] =>
    targets.filter((target) => target.parent === parent && target.base === base).map(({ tag }) => tag)
  return targets
    .filter(({ base }) => base === 'kube-apiserver')
    .flatMap(({ parent, tag }) => {
      const isComplete =
        COMPONENTS.every((base) => tagsOf(parent, base).includes(tag)) && tagsOf(parent, 'etcd').length > 0
      if (!isComplete) return []
      const dns = [parent, `${parent}/coredns`].find((place) => tagsOf(place, 'coredns').length > 0)
      return [
        {
          apiVersion: configApi(tag),
          kubernetesVersion: tag,
          imageRepository: parent,
          ...(dns === undefined ? {} : { dnsImageRepository: dns }),
          sandboxImages: tagsOf(parent, 'pause').map((pause) => `${parent}/pause:${pause}`),
        },
      ]
    })
}

/** kubeadm reads v1beta3 since 1.22 and v1beta4 since 1.31; 1.37 has dropped v1beta3, and its v1 is unfinished. */
function configApi(release: string): string {
  const minor = Number(/^v1\.(\d+)\./.exec(release)?.[1] ?? Number.POSITIVE_INFINITY)
  return `kubeadm.k8s.io/${minor < 22 ? 'v1beta2' : minor < 31 ? 'v1beta3' : 'v1beta4'}`
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
 * The mirrors to configure on nodes: one for each source registry whose images are all below one path of the target, under
 * their own names.
 *
 * @returns the mirrors, and as `others` the images that a mirror cannot serve because their names were mapped: workloads
 * have to use their names in the target.
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

/** `ORIGIN/v2/PATH`, where PATH and the source's repository together give the repository in the target. */
function mirrorUrl({ source, target }: Receipt['images'][number], origin: string): string | undefined {
  const { repository } = parseReference(source)
  const path = target.slice(target.indexOf('/') + 1, target.lastIndexOf(':'))
  if (path === repository) return `${origin}/v2`
  return path.endsWith(`/${repository}`) ? `${origin}/v2/${path.slice(0, -repository.length - 1)}` : undefined
}

function upstream(registry: string): string {
  return `https://${registry === 'docker.io' ? 'registry-1.docker.io' : registry}`
}
