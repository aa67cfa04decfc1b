import { AirgapError } from '../errors.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import table from './kubeadm-images.json' with { type: 'json' }
import type { Hint } from '../hints.ts'

/** A row of the table. It applies from `fromPatch` up to the `fromPatch` of the next row. */
export interface KubeadmRow {
  fromPatch: number
  etcd: string
  coredns: string
  corednsImage: string
  pause: string
}

/** The images that kubeadm pulls, by minor version. Updated by `npm run kubeadm-images`. */
export interface KubeadmTable {
  about: string
  source: string
  minors: Record<string, { lastKnownPatch: number; releases: KubeadmRow[] }>
}

const COMPONENTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy']

/** The first patch release of each minor whose default repository is registry.k8s.io; all later minors use it. */
const NEW_REPOSITORY_FROM: Record<number, number> = { 22: 17, 23: 15, 24: 9, 25: 0 }

/**
 * The images that `kubeadm config images list` prints for a release.
 *
 * @param version `1.36.3` or `v1.36.3`.
 * @param repository replaces the release's default repository, as kubeadm's `imageRepository` does.
 * @throws AirgapError `UNKNOWN_KUBEADM_RELEASE` naming the nearest known releases.
 */
export function kubeadmImages(
  version: string,
  repository?: string,
  known: KubeadmTable = table,
): Reference[] {
  const match = /^v?(\d{1,3})\.(\d{1,3})\.(\d{1,4})$/.exec(version)
  if (!match) {
    throw new AirgapError(
      'UNKNOWN_KUBEADM_RELEASE',
      `${JSON.stringify(version)} is not a Kubernetes release`,
      {
        hint: ['Write it like v1.36.3.', ...wayOut('VERSION')],
      },
    )
  }
  const [major, minor, patch] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const entry = major === 1 ? known.minors[`1.${minor}`] : undefined
  const row = entry?.releases.findLast(({ fromPatch }) => fromPatch <= patch)
  if (!entry || !row || patch > entry.lastKnownPatch) {
    const wanted = `v${major}.${minor}.${patch}`
    throw new AirgapError(
      'UNKNOWN_KUBEADM_RELEASE',
      `the images of Kubernetes ${wanted} are unknown to this release of airgap; the nearest known releases are ${nearest(known, major, minor, patch)}`,
      { hint: wayOut(wanted) },
    )
  }
  const base = repository ?? defaultRepository(minor, patch)
  // With another repository, kubeadm expects coredns directly below it.
  const coredns = base === defaultRepository(minor, patch) ? row.corednsImage : 'coredns'
  return [
    ...COMPONENTS.map((name) => `${base}/${name}:v${major}.${minor}.${patch}`),
    `${base}/${coredns}:${row.coredns}`,
    `${base}/pause:${row.pause}`,
    `${base}/etcd:${row.etcd}`,
  ].map((text) => parseReference(text))
}

/** The newest known release of each minor version, oldest first: `v1.36.3`. */
export function newestReleases(known: KubeadmTable = table): string[] {
  return Object.entries(known.minors).map(([minor, { lastKnownPatch }]) => `v${minor}.${lastKnownPatch}`)
}

/** kubeadm always lists the etcd, CoreDNS and pause that it was built with, whatever release it is asked for. */
function wayOut(release: string): Hint[] {
  return [
    'For another release, use kubeadm of that same release:',
    { id: 'kubeadm-list', release },
    'Any other kubeadm lists the wrong etcd, CoreDNS and pause.',
  ]
}

function defaultRepository(minor: number, patch: number): string {
  const from = NEW_REPOSITORY_FROM[minor] ?? (minor > 25 ? 0 : Number.POSITIVE_INFINITY)
  return patch >= from ? 'registry.k8s.io' : 'k8s.gcr.io'
}

/** Up to two known releases before the wanted one, and one after it. */
function nearest(known: KubeadmTable, major: number, minor: number, patch: number): string {
  const wanted = (major * 1000 + minor) * 10_000 + patch
  const releases = Object.entries(known.minors)
    .flatMap(([name, { lastKnownPatch, releases: rows }]) => {
      const [, own] = name.split('.')
      const first = rows[0]?.fromPatch ?? 0
      return [first, lastKnownPatch].map((at) => ({
        text: `v${name}.${at}`,
        rank: (1000 + Number(own)) * 10_000 + at,
      }))
    })
    .filter(({ rank }, i, all) => all.findIndex((other) => other.rank === rank) === i)
    .toSorted((a, b) => a.rank - b.rank)
  const below = releases.filter(({ rank }) => rank < wanted).slice(-2)
  const above = releases.filter(({ rank }) => rank > wanted).slice(0, below.length === 0 ? 2 : 1)
  return [...below, ...above].map(({ text }) => text).join(', ')
}
