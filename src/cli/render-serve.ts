import { isLoopbackHost } from '../registry/hosts.ts'
import { hostsFile, registriesConf, type HostsFile, type ReachableAt } from '../transfer/serve/node-config.ts'
import { registriesOf, type ServedBundles } from '../transfer/serve/serve.ts'
import type { OpenedBundle } from '../transfer/check/opened-bundle.ts'
import { escapeLine, formatBytes, plural } from './format.ts'
import { countImages } from './render-images.ts'

/** What `serve --json` gives, once it listens. */
export interface ServeDocument {
  /** Where it listens. */
  url: string
  /** Host and port in the files for nodes. */
  advertised: string
  bundles: ServedBundle[]
  images: {
    source: string
    digest: string
    kind: 'image' | 'artifact'
    bundle: string
    /** What it can be pulled by, after `HOST:PORT/`. */
    names: string[]
  }[]
  /** Names without registry that mean several images and are refused, and the names to use. */
  ambiguous: { name: string; use: string[] }[]
  /** One for each registry that images come from, for containerd. */
  hostsFiles: HostsFile[]
  /** For podman, skopeo, buildah and CRI-O. */
  registriesConf: { path: string; content: string }
}

export interface ServedBundle {
  file: string
  /** `good`: signed by a key given, and unaltered. `integrity-only`: unaltered, nobody vouches for it. */
  verdict: 'good' | 'integrity-only'
  bundleDigest: string
  name: string
  version?: string
  sequence: number
  size: number
  signedBy?: { keyFingerprint: string; key: string; signature: string }
}

export function serveDocument(served: ServedBundles, reachable: ReachableAt): ServeDocument {
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
      bundle,
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

function bundleOf({ reader, authentication, bundleDigest, description }: OpenedBundle): ServedBundle {
  const isSigned = authentication.state === 'signed'
  return {
    file: reader.path,
    verdict: isSigned ? 'good' : 'integrity-only',
    bundleDigest,
    name: description?.name ?? '',
    ...(description?.version === undefined ? {} : { version: description.version }),
    sequence: description?.sequence ?? 0,
    size: reader.fileSize,
    ...(isSigned
      ? {
          signedBy: {
            keyFingerprint: authentication.key.fingerprint,
            key: authentication.key.source,
            signature: authentication.signature,
          },
        }
      : {}),
  }
}

/** Longer lists of images are left to `airgap inspect`. */
const MAX_IMAGES = 50

/** The start as the operator reads it. */
export function renderServe(document: ServeDocument, served: ServedBundles, hostsDir?: string): string {
  const isTls = document.url.startsWith('https:')
  return [
    `Serving ${plural(document.bundles.length, 'bundle')} on ${document.url}${isTls ? '' : ' (plain HTTP)'}`,
    ...document.bundles.flatMap((bundle) => bundleLines(bundle, served)),
    '',
    `To be pulled as ${document.advertised}/NAME, also without the registry in NAME:`,
    ...imageLines(served),
    ...ambiguousLines(document),
    ...nodeLines(document, hostsDir),
    '',
    'Ctrl-C ends it.',
  ].join('\n')
}

function bundleLines(bundle: ServedBundle, served: ServedBundles): string[] {
  const images = served.images.filter((image) => image.bundle === bundle.file).map(({ graph }) => graph.image)
  const verdict =
    bundle.verdict === 'good'
      ? ['GOOD: unaltered, and signed by the key given', `key ${bundle.signedBy?.keyFingerprint}`]
      : ['UNALTERED, BUT NOT AUTHENTICATED: nobody was asked who made it']
  const about = [
    escapeLine(bundle.name),
    ...(bundle.version === undefined ? [] : [escapeLine(bundle.version)]),
    `sequence ${bundle.sequence}`,
    countImages(images),
    formatBytes(bundle.size),
  ]
  return [
    `  ${escapeLine(bundle.file)}`,
    ...[...verdict, bundle.bundleDigest, about.join(' · ')].map((line) => `    ${line}`),
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

function ambiguousLines({ ambiguous }: ServeDocument): string[] {
  if (ambiguous.length === 0) return []
  return [
    '',
    'Refused without their registry, because they would mean several images:',
    ...ambiguous.flatMap(({ name, use }) => [`  ${name}`, ...use.map((full) => `    ${full}`)]),
  ]
}

function nodeLines(document: ServeDocument, hostsDir: string | undefined): string[] {
  const indented = (text: string): string[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => (line === '' ? '' : `    ${line}`))
  // The same for every registry: containerd says itself which one it means.
  const [first] = document.hostsFiles
  const containerd = [
    ...document.hostsFiles.map(({ path }) => `  ${path}`),
    ...(hostsDir === undefined
      ? indented(first?.content ?? '')
      : [`  They have been written below ${escapeLine(hostsDir)}: copy what is in it.`]),
  ]
  const isLocal = isLoopbackHost(new URL(`http://${document.advertised}`).hostname)
  return [
    '',
    'For nodes to find the images under their own names',
    ...(isLocal ? ['(at this address only this machine itself does; --listen takes another)'] : []),
    '',
    'containerd, with config_path = "/etc/containerd/certs.d"; the same file for each:',
    '',
    ...containerd,
    '',
    'podman, skopeo, buildah and CRI-O:',
    '',
    `  ${document.registriesConf.path}`,
    ...indented(document.registriesConf.content),
  ]
}
