import { describe, expect, it } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { kubeadmImages, type KubeadmTable } from '../../src/inputs/kubeadm.ts'
import { formatReference } from '../../src/oci/reference.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const images = (version: string, repository?: string): string[] =>
  kubeadmImages(version, repository).map(formatReference)

describe("kubeadm's images", () => {
  it('are those that kubeadm prints for v1.36.3, with or without the v', () => {
    const expected = [
      'registry.k8s.io/kube-apiserver:v1.36.3',
      'registry.k8s.io/kube-controller-manager:v1.36.3',
      'registry.k8s.io/kube-scheduler:v1.36.3',
      'registry.k8s.io/kube-proxy:v1.36.3',
      'registry.k8s.io/coredns/coredns:v1.14.2',
      'registry.k8s.io/pause:3.10.2',
      'registry.k8s.io/etcd:3.6.8-0',
    ]
    expect(images('v1.36.3')).toEqual(expected)
    expect(images('1.36.3')).toEqual(expected)
  })

  it.each([
    ['1.22.16', 'k8s.gcr.io'],
    ['1.22.17', 'registry.k8s.io'],
    ['1.23.14', 'k8s.gcr.io'],
    ['1.23.15', 'registry.k8s.io'],
    ['1.24.8', 'k8s.gcr.io'],
    ['1.24.9', 'registry.k8s.io'],
    ['1.25.0', 'registry.k8s.io'],
    ['1.19.0', 'k8s.gcr.io'],
  ])('%s had the default repository %s', (version, repository) => {
    expect(images(version)[0]).toBe(`${repository}/kube-apiserver:v${version}`)
  })

  it('changes with the patch release where kubeadm did', () => {
    expect(images('1.34.1')).toContain('registry.k8s.io/etcd:3.6.4-0')
    expect(images('1.34.2')).toContain('registry.k8s.io/etcd:3.6.5-0')
    expect(images('1.20.4')).toContain('k8s.gcr.io/coredns:1.7.0')
  })

  it("lie below a repository of one's own, coredns too, as kubeadm asks for them there", () => {
    expect(images('1.36.3', 'registry.internal:5000/k8s')).toEqual([
      'registry.internal:5000/k8s/kube-apiserver:v1.36.3',
      'registry.internal:5000/k8s/kube-controller-manager:v1.36.3',
      'registry.internal:5000/k8s/kube-scheduler:v1.36.3',
      'registry.internal:5000/k8s/kube-proxy:v1.36.3',
      'registry.internal:5000/k8s/coredns:v1.14.2',
      'registry.internal:5000/k8s/pause:3.10.2',
      'registry.internal:5000/k8s/etcd:3.6.8-0',
    ])
    expect(images('1.36.3', 'registry.k8s.io')).toEqual(images('1.36.3'))
  })

  it('follow the release, also in the newest minor', () => {
    expect(images('1.36.5')).toContain('registry.k8s.io/etcd:3.6.8-0')
    expect(images('1.37.2')).toEqual([
      'registry.k8s.io/kube-apiserver:v1.37.2',
      'registry.k8s.io/kube-controller-manager:v1.37.2',
      'registry.k8s.io/kube-scheduler:v1.37.2',
      'registry.k8s.io/kube-proxy:v1.37.2',
      'registry.k8s.io/coredns/coredns:v1.14.6',
      'registry.k8s.io/pause:3.10.2',
      'registry.k8s.io/etcd:3.7.0-0',
    ])
  })

  const row = { fromPatch: 0, etcd: '1', coredns: '1', corednsImage: 'coredns', pause: '1' }
  const few: KubeadmTable = {
    about: '',
    source: '',
    minors: {
      '1.19': { lastKnownPatch: 16, releases: [row] },
      '1.35': { lastKnownPatch: 7, releases: [row] },
      '1.36': { lastKnownPatch: 3, releases: [row] },
    },
  }

  it.each([
    ['1.36.99', 'v1.36.0, v1.36.3'],
    ['1.99.0', 'v1.36.0, v1.36.3'],
    ['1.18.0', 'v1.19.0, v1.19.16'],
    ['2.0.0', 'v1.36.0, v1.36.3'],
    ['1.35.50', 'v1.35.0, v1.35.7, v1.36.0'],
  ])('%s is not known: the nearest are named, and the way out', (version, nearest) => {
    const error = thrown(() => kubeadmImages(version, undefined, few))
    expect(error.code).toBe('UNKNOWN_KUBEADM_RELEASE')
    expect(error.message).toContain(`v${version}`)
    expect(error.message).toMatch(new RegExp(`nearest known releases are ${nearest.replaceAll('.', '\\.')}$`))
    expect(hintOf(error)).toMatch(/^For another release, use kubeadm of that same release: /)
    expect(hintOf(error)).toContain(
      `\`kubeadm config images list --kubernetes-version v${version} | airgap list --images-from -\``,
    )
    expect(hintOf(error)).toContain('Any other kubeadm lists the wrong etcd, CoreDNS and pause')
  })

  it.each(['', '1.36', 'latest', 'v1.36.3-rc.1', '1.36.3 '])('%j is not a release', (version) => {
    expect(thrown(() => images(version)).message).toContain('is not a Kubernetes release')
  })
})

function thrown(run: () => unknown): AirgapError {
  try {
    run()
  } catch (error) {
    if (error instanceof AirgapError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
