import type { PlannedPush } from '../transfer/push/planned-push.ts'
import type { Receipt } from '../transfer/push/receipt.ts'
import type { UpstreamVerdict } from '../transfer/upstream/verdict.ts'
import { kubeadmSettings, registryMirrors } from '../transfer/push/next-steps.ts'
import { formatBytes, formatFields, labelled, plural } from './format.ts'
import { countReferrers } from './render-referrers.ts'
import { plannedSignatureLines, signatureLines, signerField } from './render-signatures.ts'
import type { ReportFile } from './reports.ts'
import { reportFields } from './render-evidence.ts'
import { countedSigners, policyFieldLines, sequenceField } from './render-policy.ts'
import { signerFields } from './render-signers.ts'
import { upstreamField } from './render-upstream.ts'
import type { PushPlanDocument } from './shapes/push.ts'

/** What a push will do, as `--dry-run` gives it. */
export function planDocument(planned: PlannedPush): PushPlanDocument {
  return { dryRun: true, ...planned }
}

const TAG_WILL = {
  created: 'the tag is new',
  unchanged: 'the tag is there already',
  moved: 'the tag will move',
}

const INDEX_WILL = { 'to-send': 'will be put, too', present: 'is there already' }

const REFERRERS_WILL = {
  'to-send': 'will be put with it',
  present: 'there already',
  'to-merge': "will be added to what is under cosign's tag",
  taken: "CANNOT BE PUT, because something else is under cosign's tag",
  'not-delivered': 'stay behind: what they refer to is not delivered',
  'left-out': 'left out (--referrers)',
}

/** What becomes of what travels along, a line for each outcome. */
function referrerLines<R extends Parameters<typeof countReferrers>[0][number], S extends string>(
  referrers: readonly R[],
  stateOf: (referrer: R) => S,
  words: Record<S, string>,
): string[] {
  const groups = Map.groupBy(referrers, stateOf)
  return (Object.keys(words) as S[]).flatMap((state) => {
    const group = groups.get(state)
    return group ? [`    ${words[state]}:`, `      ${countReferrers(group)}`] : []
  })
}

export function renderPushPlan(
  document: PushPlanDocument,
  upstream: readonly UpstreamVerdict[] = [],
): string {
  const lines = document.images.map((image) => {
    const { source, target, digest, tag, sparseIndex, referrers, imageSignatures } = image
    const state = tag.previousDigest
      ? labelled(`${TAG_WILL[tag.state]} from`, tag.previousDigest, 4)
      : [`    ${TAG_WILL[tag.state]}`]
    const index = sparseIndex
      ? labelled(
          `the source's index ${INDEX_WILL[sparseIndex.state]}, tagged ${sparseIndex.tag}:`,
          sparseIndex.digest,
          4,
        )
      : []
    return [
      source,
      `    ${target}`,
      `    ${digest}`,
      ...state,
      ...index,
      ...referrerLines(referrers ?? [], ({ state: will }) => will, REFERRERS_WILL),
      ...plannedSignatureLines(imageSignatures),
    ].join('\n')
  })
  const projects = (document.createdProjects ?? []).map(({ name, visibility }): [string, string] => [
    'to create',
    `project ${name} (${visibility})`,
  ])
  const { uploaded, mounted } = document.totals
  return [
    `Plan: ${plural(document.images.length, 'image')}. Nothing was sent.`,
    formatFields([
      ['bundle digest', document.bundle.digest],
      ...signedByFields(document),
      ...policyFieldLines(document),
      ...upstreamField(upstream),
      ...sequenceField(document),
      ...projects,
      [
        'to upload',
        `${plural(uploaded.count, 'blob')}, ${formatBytes(uploaded.bytes)}; to mount ${mounted.count}`,
      ],
      ...signerField(document.imageSigning, 'to sign with'),
    ]),
    '',
    ...lines,
  ].join('\n')
}

const INDEX_IS = {
  uploaded: "the source's index was put, too:",
  'present-read-back': "the source's index is there, too:",
  refused: "the source's index was REFUSED:",
  'not-sent': "the source's index was not sent:",
}

const REFERRERS_ARE = {
  uploaded: 'put with it',
  'present-not-read': 'there already',
  'present-read-back': 'there already, and read back',
  refused: 'REFUSED, or not found there',
  'not-sent': 'not sent',
  'not-delivered': 'stay behind, because what they refer to is not delivered',
  'left-out': 'left out (--referrers)',
}

/** What was done, and what the operator needs next. */
export function renderReceipt(
  receipt: Receipt,
  receiptFile: string,
  report?: ReportFile,
  upstream: readonly UpstreamVerdict[] = [],
): string {
  const { totals, images } = receipt
  const count = ({ count: number, bytes }: { count: number; bytes: number }): string =>
    `${number} (${formatBytes(bytes)})`
  const fields: [string, string][] = [
    ['bundle digest', receipt.bundle.digest],
    ...signedByFields(receipt),
    ...signerField(receipt.imageSigning),
    ...policyFieldLines(receipt),
    ...upstreamField(upstream),
    ...sequenceField(receipt),
    ['uploaded', count(totals.uploaded)],
    ['mounted', count(totals.mounted)],
    ['was there', count(totals.present)],
    ['tags moved', String(totals.tagsMoved)],
    ...(receipt.createdProjects ?? []).map(({ name, visibility }): [string, string] => [
      'created',
      `project ${name} (${visibility})`,
    ]),
    ['receipt', receiptFile],
    ...(report ? reportFields(report, 'both') : []),
  ]
  const list = images.flatMap(({ target, digest, tag, sparseIndex, referrers, imageSignatures }) => [
    target,
    `    ${digest}`,
    ...signatureLines(imageSignatures),
    ...(sparseIndex ? labelled(INDEX_IS[sparseIndex.outcome], sparseIndex.digest, 4) : []),
    ...(tag.state === 'moved' ? labelled('the tag was moved from', tag.previousDigest ?? '', 4) : []),
    ...referrerLines(referrers ?? [], ({ outcome }) => outcome, REFERRERS_ARE),
  ])
  const { registry, prefix } = receipt.target
  return [
    `Pushed ${plural(images.length, 'image')} to ${[registry, prefix].filter(Boolean).join('/')}; every tag was read back`,
    formatFields(fields),
    '',
    ...list,
    ...kubeadmLines(receipt),
    ...mirrorLines(receipt),
  ].join('\n')
}

function kubeadmLines({ images }: Receipt): string[] {
  const all = kubeadmSettings(images)
  if (all.length === 0) return []
  const lines = ['', 'For kubeadm (kubeadm init --config FILE):']
  for (const settings of all) {
    lines.push(
      '',
      `  apiVersion: ${settings.apiVersion}`,
      '  kind: ClusterConfiguration',
      `  kubernetesVersion: ${yamlWord(settings.kubernetesVersion)}`,
      `  imageRepository: ${yamlWord(settings.imageRepository)}`,
    )
    const { dnsImageRepository } = settings
    if (dnsImageRepository !== undefined)
      lines.push('  dns:', `    imageRepository: ${yamlWord(dnsImageRepository)}`)
  }
  const sandboxImages = new Set(all.flatMap((settings) => settings.sandboxImages))
  if (sandboxImages.size > 0) {
    lines.push(
      '',
      'containerd pulls the pause image by its own setting, on every node (config.toml),',
      "'sandbox' in [plugins.'io.containerd.cri.v1.images'.pinned_images], or",
      "'sandbox_image' before 2.0:",
      '',
      ...[...sandboxImages].map((image) => `  ${image}`),
    )
  }
  return lines
}

/** A text for YAML, in quotes where it could be read as something else: a tag that is a number, an IPv6 address. */
function yamlWord(text: string): string {
  return /^\w[\w.:-]*\/|^v\d/.test(text) ? text : JSON.stringify(text)
}

function mirrorLines(receipt: Receipt): string[] {
  const { mirrors, others } = registryMirrors(receipt)
  const lines: string[] = []
  if (mirrors.length > 0) {
    lines.push('', 'For nodes to find the images under their own names, one file each')
    lines.push('(containerd 1.5 or newer; for a private CA add ca = "FILE" below the host):')
    for (const { registry, server, mirror } of mirrors) {
      lines.push(
        '',
        `  /etc/containerd/certs.d/${registry}/hosts.toml`,
        `    server = "${server}"`,
        `    [host."${mirror}"]`,
        '      capabilities = ["pull", "resolve"]',
        '      override_path = true',
      )
    }
  }
  // kubeadm's own lines lead to these.
  const places = kubeadmSettings(receipt.images).map(({ imageRepository }) => `${imageRepository}/`)
  const unreached = others.filter(({ target }) => !places.some((place) => target.startsWith(place)))
  if (unreached.length > 0) {
    lines.push(
      '',
      'No mirror setting leads to these: image names in manifests have to be rewritten',
      '(as data, with digests: images in the receipt and in --json):',
    )
    for (const { source, target } of unreached) lines.push(`  ${source}`, `    ${target}`)
  }
  return lines
}

/** Who answers for the bundle, in a plan as in a receipt. */
function signedByFields(pushed: Pick<Receipt, 'authentication' | 'policy' | 'rules'>): [string, string][] {
  const { authentication, policy } = pushed
  if (authentication.state !== 'signed') return [['signed by', 'NOT CHECKED (--allow-unsigned)']]
  if (policy) return [['signed by', countedSigners(pushed)]]
  return signerFields(authentication.signers ?? [], 'signed by')
}
