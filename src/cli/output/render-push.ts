import { formatTarget } from '../../oci/reference.ts'
import {
  kubeadmSettings,
  registryMirrors,
  type Amount,
  type PlannedPush,
  type Receipt,
  type UpstreamVerdict,
} from '../../index.ts'
import { formatEnd, formatFields, labelled, paragraphs, plural } from './format.ts'
import { formatBytes } from '../../bytes.ts'
import { shellWord } from '../../text.ts'
import { digestField, reportFields, signerFields } from './render-evidence.ts'
import { countReferrers, marked } from './render-images.ts'
import type { ReportFile } from './reports.ts'
import { countedSigners, policyFieldLines, sequenceField } from './render-policy.ts'
import { upstreamField } from './render-upstream.ts'
import type { PushPlanDocument } from './shapes/push.ts'

/** What a push would do, for `--dry-run`. */
export function planDocument(planned: PlannedPush): PushPlanDocument {
  return { dryRun: true, ...planned }
}

const TAG_WILL = {
  created: 'the tag is new',
  unchanged: 'the tag already exists',
  moved: 'the tag will move',
}

const INDEX_WILL = { 'to-send': 'will be pushed too', present: 'already exists' }

const REFERRERS_WILL = {
  'to-send': 'will be pushed with it',
  present: 'already there',
  'to-merge': "will be added to cosign's existing tag",
  taken: "CANNOT BE PUSHED, because cosign's tag points to something else",
  'not-delivered': 'not pushed, because what they refer to is not delivered',
  'left-out': 'left out (--referrers)',
}

/** What happens to the referrers of all images, as fields. */
function referrerFields<R extends Parameters<typeof countReferrers>[0][number], S extends string>(
  images: readonly { referrers?: readonly R[] | undefined }[],
  stateOf: (referrer: R) => S,
  words: Record<S, string>,
): [string, string][] {
  const groups = Map.groupBy(
    images.flatMap(({ referrers = [] }) => referrers),
    stateOf,
  )
  return (Object.keys(words) as S[]).flatMap((state): [string, string][] => {
    const group = groups.get(state)
    return group ? [['attached', `${words[state]}: ${countReferrers(group)}`]] : []
  })
}

/** What happens to an image's referrers, a line for each outcome. */
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

/** @param details shows each image with its digest and everything that will be done, not on one line. */
export function renderPushPlan(
  document: PushPlanDocument,
  { details, upstream = [] }: { details: boolean; upstream?: readonly UpstreamVerdict[] | undefined },
): string {
  const projects = (document.createdProjects ?? []).map(({ name, visibility }): [string, string] => [
    'to create',
    `project ${name} (${visibility})`,
  ])
  const { uploaded, mounted } = document.totals
  return paragraphs(
    document.images.flatMap((image) => (details ? planDetails(image) : planLines(image))),
    formatFields([
      ...policyFieldLines(document),
      ...upstreamField(upstream),
      ...sequenceField(document),
      ...projects,
      [
        'to upload',
        `${plural(uploaded.count, 'blob')}, ${formatBytes(uploaded.bytes)}; to mount ${mounted.count}`,
      ],
      ...referrerFields(document.images, ({ state }) => state, REFERRERS_WILL),
      ...signerField(document.imageSigning, 'to sign with'),
    ]),
    formatEnd(`Plan: ${plural(document.images.length, 'image')}. Nothing was sent.`, [
      ...signedByFields(document),
      digestField(document.bundle),
    ]),
  )
}

type PlannedImage = PushPlanDocument['images'][number]

function planLines({ target, tag, referrers = [] }: PlannedImage): string[] {
  const taken = referrers.filter(({ state }) => state === 'taken')
  const state = { created: 'new', unchanged: 'already there', moved: 'THE TAG WILL MOVE' }[tag.state]
  return [`  ${target}${marked([state])}`, ...referrerLines(taken, ({ state: will }) => will, REFERRERS_WILL)]
}

function planDetails(image: PlannedImage): string[] {
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
  ]
}

const INDEX_IS = {
  uploaded: "the source's index was pushed too:",
  'present-read-back': "the source's index already exists:",
  refused: "the source's index was REFUSED:",
  'not-sent': "the source's index was not sent:",
}

const REFERRERS_ARE = {
  uploaded: 'pushed with it',
  'present-not-read': 'already there',
  'present-read-back': 'already there, and read back',
  refused: 'REFUSED, or not found afterwards',
  'not-sent': 'not sent',
  'not-delivered': 'not pushed, because what they refer to is not delivered',
  'left-out': 'left out (--referrers)',
}

export interface PushEnd {
  /** Shows each image with its digest and everything that was done, not on one line. */
  details: boolean
  receiptFile: string
  report?: ReportFile | undefined
  upstream?: readonly UpstreamVerdict[] | undefined
}

/** What was done, the configuration for nodes, and the verdict last. */
export function renderReceipt(
  receipt: Receipt,
  { details, receiptFile, report, upstream = [] }: PushEnd,
): string {
  const { totals, images, target } = receipt
  const { uploaded, mounted, present, manifests } = totals
  const fields: [string, string][] = [
    ...signerField(receipt.imageSigning),
    ...policyFieldLines(receipt),
    ...upstreamField(upstream),
    ...sequenceField(receipt),
    ['uploaded', amountText(uploaded, manifests.uploaded)],
    ...(mounted.count === 0 ? [] : [['mounted', amountText(mounted)] as [string, string]]),
    ...(present.count + manifests.present.count === 0
      ? []
      : [['already there', amountText(present, manifests.present)] as [string, string]]),
    ...referrerFields(images, ({ outcome }) => outcome, REFERRERS_ARE),
    ['tags moved', String(totals.tagsMoved)],
    ...(receipt.createdProjects ?? []).map(({ name, visibility }): [string, string] => [
      'created',
      `project ${name} (${visibility})`,
    ]),
    ['receipt', receiptFile],
    ...(report ? reportFields(report, 'both') : []),
  ]
  return paragraphs(
    images.flatMap((image) => (details ? pushedDetails(image) : pushedLines(image))),
    kubeadmLines(receipt),
    mirrorLines(receipt),
    formatFields(fields),
    formatEnd(
      `Pushed ${plural(images.length, 'image')} to ${formatTarget(target)}; every tag was read back`,
      [...signedByFields(receipt), digestField(receipt.bundle)],
    ),
  )
}

/** The next step after a push; undefined if nodes need no configuration. */
export function afterPush(receipt: Receipt, signingKey: string | undefined): string | undefined {
  const place = formatTarget(receipt.target)
  if (signingKey !== undefined)
    return `airgap policy kyverno ${shellWord(place)} --key ${shellWord(signingKey)}`
  const isAny = kubeadmLines(receipt).length + mirrorLines(receipt).length > 0
  return isAny ? 'configure the nodes with the lines above' : undefined
}

function amountText(blobs: Amount, manifests?: Amount): string {
  const bytes = formatBytes(blobs.bytes + (manifests?.bytes ?? 0))
  const also = manifests === undefined ? '' : ` and ${plural(manifests.count, 'manifest')}`
  return `${plural(blobs.count, 'blob')}${also}, ${bytes}`
}

type PushedImage = Receipt['images'][number]

/** Shows only what is remarkable; the receipt has everything. */
function pushedLines({
  target,
  tag,
  sparseIndex,
  referrers = [],
  imageSignatures = [],
}: PushedImage): string[] {
  const lost = referrers.filter(({ outcome }) => outcome === 'refused' || outcome === 'not-sent')
  const isIndexLost = sparseIndex?.outcome === 'refused' || sparseIndex?.outcome === 'not-sent'
  return [
    `  ${target}${marked(tag.state === 'moved' ? ['the tag was moved'] : [])}`,
    ...(imageSignatures.some(({ outcome }) => outcome === 'not-signed')
      ? signatureLines(imageSignatures)
      : []),
    ...(isIndexLost ? labelled(INDEX_IS[sparseIndex.outcome], sparseIndex.digest, 4) : []),
    ...referrerLines(lost, ({ outcome }) => outcome, REFERRERS_ARE),
  ]
}

function pushedDetails(image: PushedImage): string[] {
  const { target, digest, tag, sparseIndex, referrers, imageSignatures } = image
  return [
    target,
    `    ${digest}`,
    ...signatureLines(imageSignatures),
    ...(sparseIndex ? labelled(INDEX_IS[sparseIndex.outcome], sparseIndex.digest, 4) : []),
    ...(tag.state === 'moved' ? labelled('the tag was moved from', tag.previousDigest ?? '', 4) : []),
    ...referrerLines(referrers ?? [], ({ outcome }) => outcome, REFERRERS_ARE),
  ]
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
      'containerd has its own setting for the pause image, on every node (config.toml):',
      "'sandbox' in [plugins.'io.containerd.cri.v1.images'.pinned_images], or",
      "'sandbox_image' before 2.0:",
      '',
      ...[...sandboxImages].map((image) => `  ${image}`),
    )
  }
  return lines
}

/** A string for YAML, quoted if YAML could read it as something else: a tag that is a number, an IPv6 address. */
function yamlWord(text: string): string {
  return /^\w[\w.:-]*\/|^v\d/.test(text) ? text : JSON.stringify(text)
}

function mirrorLines(receipt: Receipt): string[] {
  const { mirrors, others } = registryMirrors(receipt)
  const lines: string[] = []
  if (mirrors.length > 0) {
    lines.push('', 'For nodes to pull the images under their original names, one file each')
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
  // kubeadm's settings cover these.
  const places = kubeadmSettings(receipt.images).map(({ imageRepository }) => `${imageRepository}/`)
  const unreached = others.filter(({ target }) => !places.some((place) => target.startsWith(place)))
  if (unreached.length > 0) {
    lines.push(
      '',
      'No mirror setting covers these: rewrite the image names in manifests',
      '(for the names with digests as data, see images in the receipt and in --json):',
    )
    for (const { source, target } of unreached) lines.push(`  ${source}`, `    ${target}`)
  }
  return lines
}

/** Who signed the bundle, for a plan and for a receipt. */
function signedByFields(pushed: Pick<Receipt, 'authentication' | 'policy' | 'rules'>): [string, string][] {
  const { authentication, policy } = pushed
  if (authentication.state !== 'signed') return [['signed by', 'NOT CHECKED (--allow-unsigned)']]
  if (policy) return [['signed by', countedSigners(pushed)]]
  return signerFields(authentication.signers ?? [], 'signed by')
}

type Planned = NonNullable<PlannedPush['images'][number]['imageSignatures']>
type Done = NonNullable<Receipt['images'][number]['imageSignatures']>

/** The key that signs images, as a field of a plan or a receipt. */
function signerField(signing: Receipt['imageSigning'], label = 'images signed by'): [string, string][] {
  return signing ? [[label, signing.keyFingerprint]] : []
}

/** What will be signed of an image, a line for each format. */
function plannedSignatureLines(signatures: Planned | undefined): string[] {
  return linesFor(signatures ?? [], (all) => {
    const there = all.filter(({ state }) => state === 'present').length
    const lacking = all.length - there
    if (lacking === 0) return `${plural(there, 'signature')} already there`
    return `${plural(lacking, 'manifest')} to sign${there > 0 ? `, ${there} already signed` : ''}`
  })
}

/** What was signed of an image. */
function signatureLines(signatures: Done | undefined): string[] {
  return linesFor(signatures ?? [], (all) => {
    const count = (outcome: Done[number]['outcome']): number =>
      all.filter((one) => one.outcome === outcome).length
    const parts = [
      [count('signed'), 'signed'],
      [count('present'), 'already signed'],
      [count('not-signed'), 'NOT signed'],
    ] as const
    const [first, ...others] = parts.filter(([number]) => number > 0)
    if (!first) return 'nothing to sign'
    return [`${plural(first[0], 'manifest')} ${first[1]}`, ...others.map(([n, word]) => `${n} ${word}`)].join(
      ', ',
    )
  })
}

function linesFor<T extends { format: string }>(all: readonly T[], text: (of: T[]) => string): string[] {
  return [...Map.groupBy(all, ({ format }) => format)].map(([format, of]) => `    ${text(of)} (${format})`)
}
