/** The images of the suite: their names, and what is particular about each. */

/** A registry that stands for every other: images keep their source's host as the first part of their path. */
export const PUBLIC_HOSTS = ['docker.io', 'ghcr.io', 'registry.k8s.io'] as const

export interface ImageSpec {
  /** `HOST/REPOSITORY:TAG` */
  reference: string
  architectures: 'both' | 'amd64'
  format: 'oci' | 'v2s2'
  zstd?: boolean
  /** Small layers on top of the one with busybox. */
  extraLayers?: number
  /** Bytes of one more layer that does not compress. */
  filler?: number
}

export const BUSYBOX = 'docker.io/library/busybox:1.35'
export const DOCKER_LIST = 'docker.io/example/tools:2.0'
export const ZSTD = 'ghcr.io/example/zstd:1.0'
export const SCHEMA2 = 'ghcr.io/example/schema2:1.0'
export const TWELVE = 'ghcr.io/example/twelve:1.0'
export const LARGE = 'ghcr.io/example/large:1.0'
export const CHART = 'ghcr.io/example/charts/demo:0.1.0'
/** Below no host: a private registry's own image, named by the registry's host and port. */
export const PRIVATE = 'team/app:1.0'

export const KUBERNETES = 'v1.36.3'
/** What `kubeadm config images list` prints for that release. */
export const KUBEADM = [
  `registry.k8s.io/kube-apiserver:${KUBERNETES}`,
  `registry.k8s.io/kube-controller-manager:${KUBERNETES}`,
  `registry.k8s.io/kube-scheduler:${KUBERNETES}`,
  `registry.k8s.io/kube-proxy:${KUBERNETES}`,
  'registry.k8s.io/coredns/coredns:v1.14.2',
  'registry.k8s.io/pause:3.10.2',
  'registry.k8s.io/etcd:3.6.8-0',
] as const

const FILLER = 24 * 1024 * 1024

export const SPECS: readonly ImageSpec[] = [
  { reference: BUSYBOX, architectures: 'both', format: 'oci' },
  { reference: DOCKER_LIST, architectures: 'both', format: 'v2s2' },
  { reference: ZSTD, architectures: 'amd64', format: 'oci', zstd: true },
  { reference: SCHEMA2, architectures: 'amd64', format: 'v2s2' },
  { reference: TWELVE, architectures: 'amd64', format: 'oci', extraLayers: 11 },
  { reference: LARGE, architectures: 'amd64', format: 'oci', filler: FILLER },
  { reference: PRIVATE, architectures: 'amd64', format: 'oci' },
  ...KUBEADM.map((reference) => ({ reference, architectures: 'both', format: 'oci' }) as const),
]

/** Container images of every kind, without the large one. */
export const IMAGES = [BUSYBOX, DOCKER_LIST, ZSTD, SCHEMA2, TWELVE] as const
