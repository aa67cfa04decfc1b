import { digestOf, type Digest } from '../../src/oci/digest.ts'
import {
  parseManifest,
  platformOfConfig,
  type Descriptor,
  type Index,
  type ManifestOrIndex,
} from '../../src/oci/manifest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { formatPlatform, parsePlatform, type Platform } from '../../src/oci/platform.ts'
import type { Built } from '../../fixtures/images/index.ts'
import { selectPlatforms, type SelectOptions, type Selection } from '../../src/content/select.ts'

/** Documents and configs in memory, as the platform rules read them. */
export class Documents {
  readonly #documents = new Map<string, ManifestOrIndex>()
  readonly #configs = new Map<string, Uint8Array>()

  /** Takes in a fixture with everything below it. */
  add(built: Built): this {
    if (this.#documents.has(built.descriptor.digest)) return this
    this.#documents.set(
      built.descriptor.digest,
      parseManifest(built.bytes, built.descriptor.digest, built.descriptor.mediaType),
    )
    if (built.kind === 'index') for (const child of built.children) this.add(child)
    else this.#configs.set(built.config.descriptor.digest, built.config.bytes)
    return this
  }

  get(digest: string): ManifestOrIndex {
    const document = this.#documents.get(digest)
    if (!document) throw new Error(`${digest} is not there`)
    return document
  }

  load: SelectOptions['load'] = async ({ digest }) => this.get(digest)

  configPlatform: SelectOptions['configPlatform'] = async ({ config }) => {
    const bytes = this.#configs.get(config.digest)
    if (!bytes) throw new Error(`${config.digest} is not there`)
    return platformOfConfig(bytes, 'a config')
  }
}

/** Applies the platform rules to a fixture. */
export async function select(
  built: Built,
  wanted: string[] | 'all',
  options: Partial<Pick<SelectOptions, 'isPinned' | 'rewriteDigests' | 'allowMissing'>> = {},
): Promise<Selection & { source: ManifestOrIndex; documents: Documents; listed: string[] }> {
  const documents = new Documents().add(built)
  const source = documents.get(built.descriptor.digest)
  const selection = await selectPlatforms(source, {
    wanted: wanted === 'all' ? 'all' : wanted.map((text) => parsePlatform(text)),
    isPinned: false,
    rewriteDigests: false,
    allowMissing: false,
    ...options,
    load: documents.load,
    configPlatform: documents.configPlatform,
    what: 'the image',
  })
  return { ...selection, source, documents, listed: selection.platforms.map(({ platform }) => platform) }
}

/** The children's digests of what is delivered, which has to be an index. */
export function childDigests(document: ManifestOrIndex): Digest[] {
  if (document.kind !== 'index') throw new Error('a single manifest is delivered')
  return document.manifests.map(({ digest }) => digest)
}

/** A manifest of fixed bytes, for tests that compare digests written down. */
export function plainManifest(platform: Platform): { bytes: Buffer; descriptor: Descriptor } {
  const config = Buffer.from(JSON.stringify({ os: platform.os, architecture: platform.architecture }))
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length },
      layers: [],
      annotations: { for: formatPlatform(platform) },
    }),
  )
  return {
    bytes,
    descriptor: { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length, platform },
  }
}

/** An index of given descriptors, in exactly these bytes. */
export function plainIndex(manifests: object[], rest: object = {}): Index {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests, ...rest }))
  return parseManifest(bytes, 'an index') as Index
}
