import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ImageEntry } from '../../src/bundle/description.ts'
import { isRegistryHost, isRepository, parseReference } from '../../src/oci/reference.ts'
import { flatName, nameImages, type NamingOptions, parseNameMap } from '../../src/push/names.ts'

const DIGEST = `sha256:${'0'.repeat(64)}` as const

function flat(name: string, room = 255): string {
  return flatName(parseReference(name), room)
}

function named(sources: string[], options: Partial<NamingOptions>): string[] {
  const images = sources.map((source) => ({ source, digest: DIGEST }) as ImageEntry)
  const target = { registry: 'registry.internal', prefix: 'group/project' }
  const names = nameImages(images, { target, path: 'flat', maps: [], ...options })
  return images.map((image) => names.get(image)?.repository ?? '')
}

/** What the grammar allows, with its joints far more often than in real names. */
const run = fc.constantFrom('a', 'b', '0')
const joined = (joints: string[], max: number): fc.Arbitrary<string> =>
  fc
    .tuple(run, fc.array(fc.tuple(fc.constantFrom(...joints), run), { maxLength: max }))
    .map(([first, rest]) => first + rest.map((pair) => pair.join('')).join(''))
const registries = fc.oneof(
  fc
    .tuple(joined(['.', '-', '--', '---'], 2), fc.constantFrom(undefined, '0', '5000'))
    .map(([host, port]) => (port === undefined ? host : `${host}:${port}`)),
  fc.constantFrom('docker.io', 'localhost:5000', '[::1]', '[::1]:5000', '[2001:db8::a:1]'),
)
const repositories = joined(['/', '.', '_', '__', '-', '--', '---'], 3)
const names = fc.record({ registry: registries, repository: repositories })

describe('--path flat', () => {
  it('leaves common names readable', () => {
    expect(flat('nginx')).toBe('docker.io_library_nginx')
    expect(flat('registry.k8s.io/kube-apiserver')).toBe('registry.k8s.io_kube-apiserver')
    expect(flat('registry.k8s.io/coredns/coredns')).toBe('registry.k8s.io_coredns_coredns')
    expect(flat('quay.io/prometheus/node_exporter')).toBe('quay.io_prometheus_node__exporter')
    expect(flat('registry.internal:5000/team/app')).toBe('registry.internal__5000_team_app')
    expect(flat('xn--bcher-kva.example/a--b/c__d')).toBe('xn--bcher-kva.example_a---b_c--d')
  })

  it('writes a host as it is meant, whatever its case', () => {
    expect(flat('Registry.Example/app')).toBe(flat('registry.example/app'))
  })

  it('gives different names different parts, each by the grammar', () => {
    const seen = new Map<string, string>()
    fc.assert(
      fc.property(fc.array(names, { minLength: 2, maxLength: 8 }), (list) => {
        for (const { registry, repository } of list) {
          fc.pre(isRegistryHost(registry) && isRepository(repository))
          const part = flatName({ registry, repository }, 255)
          expect(isRepository(part)).toBe(true)
          expect(part).not.toContain('/')
          const name = `${registry}/${repository}`
          expect(seen.get(part) ?? name).toBe(name)
          seen.set(part, name)
        }
      }),
      { numRuns: 1000 },
    )
    expect(seen.size).toBeGreaterThan(1000)
  })

  it('keeps to the room that there is, and what is cut off still tells names apart', () => {
    const long = repositories.map((path) =>
      `${path}/${'group/'.repeat(40)}`.slice(0, 240).replace(/\W+$/, ''),
    )
    const seen = new Map<string, string>()
    fc.assert(
      fc.property(long, fc.integer({ min: 40, max: 120 }), (repository, room) => {
        fc.pre(isRepository(repository))
        const part = flatName({ registry: 'r.io', repository }, room)
        expect(part.length).toBeLessThanOrEqual(room)
        expect(isRepository(part)).toBe(true)
        // No name that is written in full can be like this: those have a `_` behind their host.
        expect(part).not.toContain('_')
        expect(seen.get(part) ?? repository).toBe(repository)
        seen.set(part, repository)
      }),
      { numRuns: 200 },
    )
    expect(flat(`r.io/${'group/'.repeat(30)}the-image`, 60)).toMatch(/-group-the-image-[0-9a-f]{32}$/)
  })

  it('stands below the prefix as one part, and gets along with what that leaves of 255 characters', () => {
    expect(named(['nginx', 'ghcr.io/a/b/c'], {})).toEqual([
      'group/project/docker.io_library_nginx',
      'group/project/ghcr.io_a_b_c',
    ])
    const prefix = 'p'.repeat(220)
    const [name = ''] = named(['quay.io/a/long-name'], { target: { registry: 'r.internal', prefix } })
    expect(name.length).toBeLessThanOrEqual(255)
    expect(() => named(['nginx'], { target: { registry: 'r.internal', prefix: 'p'.repeat(235) } })).toThrow(
      expect.objectContaining({ code: 'INVALID_TARGET_NAME' }),
    )
  })

  it('lets maps go first, and makes one part of what stands behind them', () => {
    const maps = [
      'registry.k8s.io=k8s',
      'registry.k8s.io/coredns=k8s',
      'quay.io/jetstack=team/certs',
      'ghcr.io=',
    ]
    const sources = [
      'registry.k8s.io/pause:3.10',
      'registry.k8s.io/coredns/coredns:v1',
      'quay.io/jetstack/a/b_c:1',
      'ghcr.io/a/b:1',
      'docker.io/library/nginx:1',
    ]
    expect(named(sources, { maps: maps.map(parseNameMap) })).toEqual([
      'group/project/k8s/pause',
      'group/project/k8s/coredns',
      'group/project/team/certs/a_b__c',
      'group/project/a_b',
      'group/project/docker.io_library_nginx',
    ])
  })
})
