import { describe, expect, it } from 'vitest'
import { kubeadmSettings, registryMirrors } from '../../src/push/next-steps.ts'
import type { Receipt } from '../../src/push/receipt.ts'

const HOST = 'registry.internal:5000'

function images(names: Record<string, string>): Receipt['images'] {
  return Object.entries(names).map(([source, target]) => ({
    source,
    target: `${HOST}/${target}`,
    digest: `sha256:${'0'.repeat(64)}`,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    tag: { name: 'x', state: 'created' },
    content: [],
  }))
}

function kube(version: string, place: string, coredns = `${place}/coredns/coredns`): Record<string, string> {
  const names = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'].map((name) => [
    `registry.k8s.io/${name}:${version}`,
    `${place}/${name}:${version}`,
  ])
  return {
    ...Object.fromEntries(names),
    'registry.k8s.io/etcd:3.6.8-0': `${place}/etcd:3.6.8-0`,
    'registry.k8s.io/pause:3.10.2': `${place}/pause:3.10.2`,
    'registry.k8s.io/coredns/coredns:v1.14.2': `${coredns}:v1.14.2`,
  }
}

describe("kubeadm's settings", () => {
  it('are those of the place where the images are', () => {
    expect(kubeadmSettings(images(kube('v1.36.3', 'registry.k8s.io')))).toEqual([
      {
        apiVersion: 'kubeadm.k8s.io/v1beta4',
        kubernetesVersion: 'v1.36.3',
        imageRepository: `${HOST}/registry.k8s.io`,
        dnsImageRepository: `${HOST}/registry.k8s.io/coredns`,
        sandboxImages: [`${HOST}/registry.k8s.io/pause:3.10.2`],
      },
    ])
    expect(kubeadmSettings(images(kube('v1.36.3', 'k8s', 'k8s/coredns')))[0]?.dnsImageRepository).toBe(
      `${HOST}/k8s`,
    )
  })

  it('do not mistake another image for coredns or kube-apiserver', () => {
    const others = {
      'docker.io/coredns/coredns:1.9': 'docker.io/coredns/coredns:1.9',
      'docker.io/someone/kube-apiserver:v1': 'docker.io/someone/kube-apiserver:v1',
    }
    expect(kubeadmSettings(images({ ...others, ...kube('v1.36.3', 'registry.k8s.io') }))).toEqual(
      kubeadmSettings(images(kube('v1.36.3', 'registry.k8s.io'))),
    )
  })

  it('are told for each release', () => {
    const two = { ...kube('v1.35.7', 'registry.k8s.io'), ...kube('v1.36.3', 'registry.k8s.io') }
    expect(kubeadmSettings(images(two)).map(({ kubernetesVersion }) => kubernetesVersion)).toEqual([
      'v1.35.7',
      'v1.36.3',
    ])
  })

  it.each([
    ['v1.21.14', 'v1beta2'],
    ['v1.22.0', 'v1beta3'],
    ['v1.30.14', 'v1beta3'],
    ['v1.31.0', 'v1beta4'],
    ['v1.37.2', 'v1beta4'],
  ])('are in the form that kubeadm %s reads: %s', (release, version) => {
    const [settings] = kubeadmSettings(images(kube(release, 'registry.k8s.io')))
    expect(settings?.apiVersion).toBe(`kubeadm.k8s.io/${version}`)
  })

  it('are none where an image is missing', () => {
    const { 'registry.k8s.io/etcd:3.6.8-0': _etcd, ...rest } = kube('v1.36.3', 'registry.k8s.io')
    expect(kubeadmSettings(images(rest))).toEqual([])
  })
})

describe('mirrors for nodes', () => {
  const target = { registry: HOST, prefix: '', origin: `https://${HOST}` }

  it('are one for each registry whose names are kept, whatever is in front of them', () => {
    const pushed = images({
      'docker.io/library/nginx:1': 'p/docker.io/library/nginx:1',
      'ghcr.io/a/b:1': 'a/b:1',
      'quay.io/x/y:1': 'elsewhere/y:1',
    })
    expect(registryMirrors({ images: pushed, target })).toEqual({
      mirrors: [
        {
          registry: 'docker.io',
          server: 'https://registry-1.docker.io',
          mirror: `https://${HOST}/v2/p/docker.io`,
        },
        { registry: 'ghcr.io', server: 'https://ghcr.io', mirror: `https://${HOST}/v2` },
      ],
      others: [{ source: 'quay.io/x/y:1', target: `${HOST}/elsewhere/y:1` }],
    })
  })

  it('do not lead to flat names: whoever uses them has to write them', () => {
    const pushed = images({
      'docker.io/library/nginx:1': 'p/docker.io_library_nginx:1',
      'registry.k8s.io/kube-apiserver:v1': 'p/registry.k8s.io_kube-apiserver:v1',
    })
    const { mirrors, others } = registryMirrors({ images: pushed, target })
    expect(mirrors).toEqual([])
    expect(others.map((one) => one.source)).toEqual(pushed.map((one) => one.source))
    expect(kubeadmSettings(pushed)).toEqual([])
  })
})
