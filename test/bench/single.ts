import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { describingFiles } from '../../src/bundle/layout.ts'
import { FORMAT_VERSION, BUNDLE_TYPE, type BundleDescription } from '../../src/bundle/description.ts'
import { checksumsOf, entryHeader, planBundle, type PlannedBlob } from '../../src/bundle/plan.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { OCI_CONFIG, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { nodeOf } from '../../src/content/graph.ts'
import { jsonBytes } from '../../fixtures/images/content.ts'

const GB = 1000 ** 3

/**
 * A bundle of 100 GB on hardly any disk: ten layers of 10 GB that are holes. Its digests are of nothing, which only
 * hashing would find out, and `inspect` does not hash.
 */
export async function makeHugeBundle(folder: string): Promise<string> {
  const path = join(folder, 'huge.tar')
  const config = jsonBytes({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } })
  const layers = Array.from({ length: 10 }, (_, i) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: digestOf(`layer ${i}`),
    size: 10 * GB,
  }))
  const manifest = parseManifest(
    jsonBytes({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length },
      layers,
    }),
    'huge',
  )
  const size = manifest.bytes.length + config.length + layers.reduce((sum, layer) => sum + layer.size, 0)
  const description: BundleDescription = {
    type: BUNDLE_TYPE,
    formatVersion: FORMAT_VERSION,
    requires: [],
    name: 'huge',
    sequence: 1,
    created: '2026-01-01T00:00:00Z',
    tool: { name: 'airgap', version: '0' },
    platforms: 'all',
    images: [
      {
        source: 'registry.example/huge:1',
        resolvedFrom: 'source',
        sourceDigest: manifest.digest,
        digest: manifest.digest,
        mediaType: OCI_MANIFEST,
        kind: 'image',
        platforms: [{ platform: 'linux/amd64', digest: manifest.digest }],
        size,
        from: 'argument',
      },
    ],
  }
  const files = describingFiles(description, () => nodeOf(manifest))
  const blobs: PlannedBlob[] = [
    { digest: manifest.digest, size: manifest.bytes.length, first: true, read: async () => manifest.bytes },
    { digest: digestOf(config), size: config.length, first: true, read: async () => config },
    ...layers.map((layer) => ({ digest: layer.digest, size: layer.size, first: false })),
  ]
  const plan = planBundle(files, blobs, checksumsOf(files, blobs))
  const handle = await open(path, 'w')
  for (const entry of plan.entries) {
    await handle.write(entryHeader(entry), 0, null, entry.headerOffset)
    const bytes = await entry.read?.()
    if (bytes) await handle.write(bytes, 0, entry.size, entry.contentOffset)
  }
  await handle.truncate(plan.totalSize)
  await handle.close()
  return path
}
