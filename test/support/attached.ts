import { onTestFinished } from 'vitest'
import {
  AMD64,
  ARM64,
  buildIndex,
  cosignManifest,
  image,
  referrerTo,
  seedRegistry,
  simpleSigning,
  type BuiltImage,
  type BuiltIndex,
} from '../../fixtures/images/index.ts'
import { contentOf } from '../../fixtures/images/content.ts'
import { cosignTag, type CosignKind } from '../../src/oci/cosign.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { pack, type Lock, type PackOptions, type TransferEvent } from '../../src/index.ts'
import type { MemoryStore } from './registry/memory-store.ts'
import { startRegistry, type EmbeddedRegistry, type EmbeddedRegistryOptions } from './registry/registry.ts'

export const SIGSTORE_BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
export const SPDX = 'application/spdx+json'

/** An image for two platforms, and what its makers have attached to it, in every way there is. */
export interface Signed {
  index: BuiltIndex
  amd64: BuiltImage
  arm64: BuiltImage
  /** cosign's signature of the index, and of the manifest for amd64. */
  sig: BuiltImage
  sigOfAmd64: BuiltImage
  att: BuiltImage
  /** Refers to the index. */
  sigstore: BuiltImage
  /** Refers to the manifest for arm64. */
  sbom: BuiltImage
  /** Refers to the SBOM. */
  sigOfSbom: BuiltImage
}

export async function signedImage(name = 'signed'): Promise<Signed> {
  const [amd64, arm64] = [await image(name, AMD64), await image(name, ARM64)]
  const index = buildIndex([amd64, arm64])
  const sbom = referrerTo(arm64.descriptor, SPDX, `${name} sbom`)
  return {
    index,
    amd64,
    arm64,
    sig: cosignManifest([simpleSigning(index.descriptor.digest, `${name} by upstream`)]),
    sigOfAmd64: cosignManifest([simpleSigning(amd64.descriptor.digest, `${name} by upstream`)]),
    att: cosignManifest([contentOf('application/vnd.dsse.envelope.v1+json', Buffer.from(`{"n":"${name}"}`))]),
    sigstore: referrerTo(index.descriptor, SIGSTORE_BUNDLE, `${name} bundle`),
    sbom,
    sigOfSbom: referrerTo(sbom.descriptor, 'application/vnd.cncf.notary.signature', `${name} of sbom`),
  }
}

const tag = ({ descriptor }: { descriptor: { digest: Digest } }, kind: CosignKind): string =>
  cosignTag(descriptor.digest, kind)

/** Puts it all under `repository:1`. */
export function seedSigned(store: MemoryStore, repository: string, all: Signed): void {
  seedRegistry(store, `${repository}:1`, all.index)
  seedRegistry(store, `${repository}:${tag(all.index, 'sig')}`, all.sig)
  seedRegistry(store, `${repository}:${tag(all.amd64, 'sig')}`, all.sigOfAmd64)
  seedRegistry(store, `${repository}:${tag(all.index, 'att')}`, all.att)
  for (const one of [all.sigstore, all.sbom, all.sigOfSbom]) seedRegistry(store, repository, one)
}

/** The list of referrers as the tag that stands in for it, for stores behind a registry without a list. */
export function listByTag(
  store: MemoryStore,
  repository: string,
  subject: Digest,
  listed: BuiltImage[],
): void {
  const manifests = listed.map(({ descriptor }) => descriptor)
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }))
  store.putManifest(repository, bytes, OCI_INDEX, subject.replace(':', '-'))
}

/** A registry for one test. */
export async function started(options: EmbeddedRegistryOptions = {}): Promise<EmbeddedRegistry> {
  const registry = await startRegistry(options)
  onTestFinished(() => registry.close())
  return registry
}

/** Entries in short: what refers to what, by the names that a {@link Signed} gives them. */
export function named(
  referrers: readonly { subject: string; digest: string; tag?: string | undefined }[] = [],
  all: Signed,
): string[] {
  const names = new Map(Object.entries(all).map(([name, built]) => [built.descriptor.digest as string, name]))
  const nameOf = (digest: string): string => names.get(digest) ?? digest
  return referrers
    .map(({ subject, digest, tag: under }) => {
      const kind = under === undefined ? '' : ` .${under.slice(under.lastIndexOf('.') + 1)}`
      return `${nameOf(digest)} → ${nameOf(subject)}${kind}`
    })
    .toSorted()
}

/** Everything that a {@link Signed} has, in that form. */
export const EVERYTHING = [
  'att → index .att',
  'sbom → arm64',
  'sig → index .sig',
  'sigOfAmd64 → amd64 .sig',
  'sigOfSbom → sbom',
  'sigstore → index',
]

/** A pack that is only planned: its description's images, and the warnings told. */
export async function planned(
  options: Omit<Partial<PackOptions>, 'key' | 'output'> & { images?: string[]; lock?: Lock },
): Promise<{ images: Lock['images']; requires: string[]; warnings: string[]; events: TransferEvent[] }> {
  const events: TransferEvent[] = []
  const { description } = await pack({
    ...options,
    output: undefined,
    key: 'unsigned',
    onEvent: (event) => void events.push(event),
  })
  const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []))
  return { images: description.images, requires: description.requires, warnings, events }
}
