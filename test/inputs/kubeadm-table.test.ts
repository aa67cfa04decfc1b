import { describe, expect, it } from 'vitest'
import { addRelease, readKubeadmOutput } from '../../src/inputs/kubeadm-table.ts'
import { kubeadmImages, type KubeadmTable } from '../../src/inputs/kubeadm.ts'
import { formatReference } from '../../src/oci/reference.ts'

const ROW = {
  fromPatch: 0,
  etcd: '3.6.8-0',
  coredns: 'v1.14.2',
  corednsImage: 'coredns/coredns',
  pause: '3.10.2',
}
const table: KubeadmTable = {
  about: '',
  source: '',
  minors: { '1.36': { lastKnownPatch: 3, releases: [ROW] } },
}

const printed = (version: string, etcd: string): string =>
  ['apiserver', 'controller-manager', 'scheduler', 'proxy']
    .map((name) => `registry.k8s.io/kube-${name}:${version}\n`)
    .join('') +
  `registry.k8s.io/coredns/coredns:v1.14.2\nregistry.k8s.io/pause:3.10.2\nregistry.k8s.io/etcd:${etcd}\n`
const add = (to: KubeadmTable, version: string, etcd: string): KubeadmTable =>
  addRelease(to, readKubeadmOutput(`${version}\n${printed(version, etcd)}`, 'output'))

describe('the table is renewed from what kubeadm prints', () => {
  it('so that the release then gives exactly that', () => {
    const renewed = add(table, 'v1.36.4', '3.6.9-0')
    const images = kubeadmImages('1.36.4', undefined, renewed).map(formatReference)
    expect(images.toSorted()).toEqual(printed('v1.36.4', '3.6.9-0').trim().split('\n').toSorted())
    expect(kubeadmImages('1.36.3', undefined, renewed)).toEqual(kubeadmImages('1.36.3', undefined, table))
  })

  it('without a new row where nothing has changed', () => {
    const renewed = add(table, 'v1.36.4', '3.6.8-0')
    expect(renewed.minors['1.36']).toEqual({ ...table.minors['1.36'], lastKnownPatch: 4 })
  })

  it('with a new minor, in order', () => {
    const renewed = add(table, 'v1.37.0', '3.7.0-0')
    expect(Object.keys(renewed.minors).at(-1)).toBe('1.37')
    expect(kubeadmImages('1.37.0', undefined, renewed)).toHaveLength(7)
  })

  it('in the middle, leaving the releases around it as they were', () => {
    const renewed = add(table, 'v1.36.1', '9.9.9-0')
    const etcd = ['1.36.0', '1.36.1', '1.36.2'].map((version) =>
      kubeadmImages(version, undefined, renewed)
        .map(formatReference)
        .find((name) => name.includes('etcd')),
    )
    expect(etcd).toEqual(['3.6.8-0', '9.9.9-0', '3.6.8-0'].map((tag) => `registry.k8s.io/etcd:${tag}`))
  })

  it('is the same table when it says what is known', () => {
    expect(add(table, 'v1.36.3', '3.6.8-0')).toEqual(table)
  })

  it('refuses to leave a gap, and names the release that is missing', () => {
    expect(() => add(table, 'v1.36.9', '3.6.8-0')).toThrow('cannot follow v1.36.3')
  })

  it.each([
    ['its first line is not the stable release of the kubeadm that made the list', ''],
    ['its first line is not the stable release', printed('v1.36.3', '3.6.8-0')],
    ['its first line is not the stable release', `v1.37.0-rc.0\n${printed('v1.37.0-rc.0', '3.7.0-0')}`],
    ['no image is called ^kube-apiserver$', 'v1.36.3\nnginx:1\n'],
    ['kube-apiserver does not carry a stable release', 'v1.36.3\nregistry.k8s.io/kube-apiserver:latest\n'],
    [
      'it is a list for v1.37.2 made by kubeadm v1.36.3, with the etcd, CoreDNS and pause of v1.36.3',
      `v1.36.3\n${printed('v1.37.2', '3.6.8-0')}`,
    ],
  ])('and from nothing but a list by kubeadm of that very release: %s', (reason, text) => {
    expect(() => readKubeadmOutput(text, 'output')).toThrow(`output: ${reason}`)
  })
})
