import {
  isLoopbackHost,
  hostsFile,
  registriesConf,
  registriesOf,
  type ReachableAt,
  type ServedBundles,
  type VerifiedBundle,
} from '../../index.ts'
import { plural } from './format.ts'
import { formatBytes } from '../../bytes.ts'
import { escapeLine } from '../../text.ts'
import { openedFields, signedBy, signerLines, verdictOf } from './render-evidence.ts'
import { countImages } from './render-images.ts'
import { countedSigners, policyFieldLines } from './render-policy.ts'
import type { ServeResult } from './shapes/serve.ts'

type ServedBundle = ServeResult['bundles'][number]

export function serveResult(served: ServedBundles, reachable: ReachableAt): ServeResult {
  const ambiguous = new Set(served.ambiguous.map(({ name }) => name))
  const registries = registriesOf(served.images)
  return {
    url: served.url,
    advertised: reachable.host,
    bundles: served.bundles.map(bundleOf),
    images: served.images.map(({ source, digest, kind, bundle, fullName, repository, tag }) => ({
      source,
      digest,
      kind,
      file: bundle,
      names: [fullName, repository]
        .filter((name) => name !== undefined)
        .map((name) => `${name}:${tag}`)
        .filter((name) => !ambiguous.has(name)),
    })),
    ambiguous: served.ambiguous.map(({ name, use }) => ({ name, use })),
    hostsFiles: registries.map((registry) => hostsFile(registry, reachable)),
    registriesConf: registriesConf(registries, reachable),
  }
}

function bundleOf(opened: VerifiedBundle): ServedBundle {
  return {
    file: opened.reader.path,
    verdict: verdictOf(opened),
    ...openedFields(opened, opened.description),
  }
}

/** At most this many images are listed; `airgap inspect` lists all. */
const MAX_IMAGES = 50

/** What is served, as text for the operator. */
export function renderServe(document: ServeResult, served: ServedBundles, hostsDir?: string): string {
  const isTls = document.url.startsWith('https:')
  return [
    `Serving ${plural(document.bundles.length, 'bundle')} on ${document.url}${isTls ? '' : ' (plain HTTP)'}`,
    ...document.bundles.flatMap((bundle) => bundleLines(bundle, served)),
    '',
    `Pull as ${document.advertised}/NAME, with or without the registry in NAME:`,
    ...imageLines(served),
    ...ambiguousLines(document),
    ...nodeLines(document, hostsDir),
    '',
    'Press Ctrl-C to stop.',
  ].join('\n')
}

function bundleLines(served: ServedBundle, { images: all }: ServedBundles): string[] {
  const { file, verdict, bundle, authentication, policy } = served
  const images = all.filter((image) => image.bundle === file).map(({ graph }) => graph.image)
  const { signers = [] } = authentication
  const words =
    verdict === 'good'
      ? policy
        ? [
            `GOOD: unaltered, and signed by ${countedSigners(served)}`,
            ...policyFieldLines(served)
              .slice(0, 1)
              .map(([label, value]) => `${label} ${value}`),
          ]
        : [`GOOD: unaltered, and ${signedBy(signers)}`, ...signerLines(signers)]
      : ['UNALTERED, BUT NOT AUTHENTICATED: it was not checked who made it']
  const about = [
    escapeLine(bundle.name),
    ...(bundle.version === undefined ? [] : [escapeLine(bundle.version)]),
    `sequence ${bundle.sequence}`,
    countImages(images),
    formatBytes(bundle.size),
  ]
  return [
    `  ${escapeLine(file)}`,
    ...[...words, bundle.digest, about.join(' · ')].map((line) => `    ${line}`),
  ]
}

function imageLines(served: ServedBundles): string[] {
  const names = served.images.map(({ fullName, repository, tag }) => `${fullName ?? repository}:${tag}`)
  const unique = [...new Set(names)]
  const left = unique.length - MAX_IMAGES
  return [
    ...unique.slice(0, MAX_IMAGES).map((name) => `  ${name}`),
    ...(left > 0 ? [`  … and ${left} more; \`airgap inspect\` shows them all`] : []),
  ]
}

function ambiguousLines({ ambiguous }: ServeResult): string[] {
  if (ambiguous.length === 0) return []
  return [
    '',
    'Refused without their registry, because they could mean several images:',
    ...ambiguous.flatMap(({ name, use }) => [`  ${name}`, ...use.map((full) => `    ${full}`)]),
  ]
}

function nodeLines(document: ServeResult, hostsDir: string | undefined): string[] {
  const indented = (text: string): string[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => (line === '' ? '' : `    ${line}`))
  // The content is the same for every registry, because containerd says which one it means.
  const [first] = document.hostsFiles
  const containerd = [
    ...document.hostsFiles.map(({ path }) => `  ${path}`),
    ...(hostsDir === undefined
      ? indented(first?.content ?? '')
      : [`  These files are below ${escapeLine(hostsDir)}. Copy its contents.`]),
  ]
  const isLocal = isLoopbackHost(new URL(`http://${document.advertised}`).hostname)
  return [
    '',
    'For nodes to pull the images under their original names',
    ...(isLocal ? ['(only this machine can reach this address; choose another one with --listen)'] : []),
    '',
    'containerd, with config_path = "/etc/containerd/certs.d"; the same for each:',
    '',
    ...containerd,
    '',
    'podman, skopeo, buildah and CRI-O:',
    '',
    `  ${document.registriesConf.path}`,
    ...indented(document.registriesConf.content),
  ]
}
