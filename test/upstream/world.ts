import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import {
  AMD64,
  ARM64,
  assemble,
  buildIndex,
  cosignManifest,
  image,
  seedRegistry,
  type Built,
  type BuiltImage,
  type BuiltIndex,
} from '../../fixtures/images/index.ts'
import { contentOf } from '../../fixtures/images/content.ts'
import { cosignTag, SIMPLE_SIGNING } from '../../src/oci/cosign.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import type { OfferedSignature } from '../../src/trust/upstream/signature.ts'
import { temporaryFolder } from '../support/build-bundle.ts'
import { makeKeyUpstream, type KeyUpstream } from '../trust/upstream/signing.ts'

export const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json'

/** A registry with images that an upstream signs, and the upstream's key. */
export interface World {
  registry: EmbeddedRegistry
  upstream: KeyUpstream
  folder: string
  /** Puts an image for two platforms there; `HOST/NAME:1`. */
  image(name: string): Promise<{ source: string; index: BuiltIndex; amd64: BuiltImage }>
  /** Writes a policy; its path. `KEY` in it stands for the upstream's key file. */
  policy(...rules: string[]): Promise<string>
}

export async function openWorld(): Promise<World> {
  const registry = await startRegistry()
  onTestFinished(() => registry.close())
  const upstream = makeKeyUpstream()
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'upstream.pub'), upstream.pem)
  let policies = 0
  return {
    registry,
    upstream,
    folder,
    image: async (name) => {
      const amd64 = await image(name, AMD64)
      const index = buildIndex([amd64, await image(name, ARM64)])
      seedRegistry(registry.store, `${name}:1`, index)
      return { source: `${registry.host}/${name}:1`, index, amd64 }
    },
    policy: async (...rules) => {
      const path = join(folder, `policy-${(policies += 1)}.yaml`)
      const text = ['type: dev.airgap.upstream-policy', "formatVersion: '1.0'", 'rules:', ...rules].join('\n')
      await writeFile(path, text.replaceAll('KEY', 'upstream.pub'))
      return path
    },
  }
}

/** The rule that everything is signed with the upstream's key. */
export const BY_KEY = "  - { pattern: '*', keys: [KEY] }"

/** A manifest of cosign's with these signatures as its layers. */
export function sigManifest(offered: readonly OfferedSignature[]): BuiltImage {
  return cosignManifest(
    offered.map(({ bytes, annotations }) =>
      contentOf(SIMPLE_SIGNING, bytes, { annotations: annotations ?? {} }),
    ),
  )
}

/** Puts it under cosign's tag for a digest. */
export function tagSignatures(
  { registry }: World,
  name: string,
  subject: Digest,
  ...offered: OfferedSignature[]
): BuiltImage {
  const built = sigManifest(offered)
  seedRegistry(registry.store, `${name}:${cosignTag(subject, 'sig')}`, built)
  return built
}

/** A Sigstore bundle that refers to an image. */
export function attach(
  { registry }: World,
  name: string,
  to: Built,
  { bytes }: OfferedSignature,
): BuiltImage {
  const { mediaType, digest, size } = to.descriptor
  const built = assemble({
    mediaType: OCI_MANIFEST,
    artifactType: BUNDLE_TYPE,
    config: contentOf('application/vnd.oci.empty.v1+json', Buffer.from('{}')),
    layers: [contentOf(BUNDLE_TYPE, bytes)],
    subject: { mediaType, digest, size },
  })
  seedRegistry(registry.store, name, built)
  return built
}
