import { AirgapError } from '../errors.ts'
import { parseImageList } from './image-list.ts'
import type { KubeadmRow, KubeadmTable } from './kubeadm.ts'

/** The images that a release of kubeadm pulls. */
export interface KubeadmRelease {
  minor: string
  patch: number
  images: Omit<KubeadmRow, 'fromPatch'>
}

/**
 * Parses the output of `kubeadm version -o short` followed by that of `kubeadm config images list`. kubeadm always
 * lists its own etcd, CoreDNS and pause, so only kubeadm of the same release lists the right images for it.
 *
 * @param where names the output in errors.
 * @throws AirgapError `INVALID_LIST`
 */
export function readKubeadmOutput(output: string, where: string): KubeadmRelease {
  const fail = (reason: string): never => {
    throw new AirgapError('INVALID_LIST', `${where}: ${reason}`, {
      hint: 'It must be the output of kubeadm of the same release: (v=$(kubeadm version -o short); echo $v; kubeadm config images list --kubernetes-version $v) > FILE',
    })
  }
  const [first = '', ...list] = output.split('\n')
  const kubeadm = first.trim()
  if (!/^v\d+\.\d+\.\d+$/.test(kubeadm)) {
    return fail('its first line is not the stable release of the kubeadm that made the list')
  }
  const images = parseImageList(Buffer.from(list.join('\n')), where)
  const tagOf = (pattern: RegExp): { repository: string; tag: string } => {
    const found = images.find(({ repository }) => pattern.test(repository))
    if (found?.tag === undefined) return fail(`no image is called ${pattern.source}`)
    return { repository: found.repository, tag: found.tag }
  }
  const { tag } = tagOf(/^kube-apiserver$/)
  const release = /^v1\.(\d+)\.(\d+)$/.exec(tag)
  if (!release) return fail('kube-apiserver does not carry a stable release as its tag')
  if (tag !== kubeadm) {
    return fail(
      `it is a list for ${tag} made by kubeadm ${kubeadm}, with the etcd, CoreDNS and pause of ${kubeadm}`,
    )
  }
  const coredns = tagOf(/^coredns(\/coredns)?$/)
  return {
    minor: `1.${release[1]}`,
    patch: Number(release[2]),
    images: {
      etcd: tagOf(/^etcd$/).tag,
      coredns: coredns.tag,
      corednsImage: coredns.repository,
      pause: tagOf(/^pause$/).tag,
    },
  }
}

/**
 * Adds or corrects a release in the table. A row applies up to the release of the next row, so releases must be added
 * without gaps.
 * @throws AirgapError `USAGE` naming the release that is missing in between.
 */
export function addRelease(table: KubeadmTable, { minor, patch, images }: KubeadmRelease): KubeadmTable {
  const entry = table.minors[minor]
  if (!entry)
    return withMinor(table, minor, { lastKnownPatch: patch, releases: [{ fromPatch: patch, ...images }] })
  if (patch > entry.lastKnownPatch + 1) {
    throw new AirgapError(
      'USAGE',
      `v${minor}.${patch} cannot follow v${minor}.${entry.lastKnownPatch} in the table`,
      {
        hint: `Give the output for v${minor}.${entry.lastKnownPatch + 1} too.`,
      },
    )
  }
  const lastKnownPatch = Math.max(entry.lastKnownPatch, patch)
  // Expands to one row per release and then merges equal neighbours, which works for any table.
  const first = Math.min(patch, entry.releases[0]?.fromPatch ?? patch)
  const rows: KubeadmRow[] = []
  for (let at = first; at <= lastKnownPatch; at += 1) {
    const known = entry.releases.findLast(({ fromPatch }) => fromPatch <= at)
    const row = at === patch ? { fromPatch: at, ...images } : known && { ...known, fromPatch: at }
    const last = rows.at(-1)
    if (row && !(last && isSame(last, row))) rows.push(row)
  }
  return withMinor(table, minor, { lastKnownPatch, releases: rows })
}

function isSame(a: KubeadmRow, b: KubeadmRow): boolean {
  return (
    a.etcd === b.etcd && a.coredns === b.coredns && a.corednsImage === b.corednsImage && a.pause === b.pause
  )
}

function withMinor(table: KubeadmTable, minor: string, entry: KubeadmTable['minors'][string]): KubeadmTable {
  const minors = Object.entries({ ...table.minors, [minor]: entry })
  minors.sort(([a], [b]) => Number(a.split('.')[1]) - Number(b.split('.')[1]))
  return { ...table, minors: Object.fromEntries(minors) }
}
