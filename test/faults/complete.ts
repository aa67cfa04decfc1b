import { expect } from 'vitest'
import { parseReference } from '../../src/oci/reference.ts'
import { RegistryClient } from '../../src/registry/client.ts'
import { downloadBlob } from '../../src/registry/blobs/download.ts'
import type { Repository } from '../../src/registry/repository.ts'
import type { LockedImage } from '../e2e/parts/airgap.ts'

/**
 * Reads back every image that has its tag, with all manifests and blobs, each hashed.
 * @param wanted whether every image has to have its tag, or those that have one have to be complete.
 */
export async function expectComplete(
  host: string,
  prefix: string,
  images: readonly LockedImage[],
  wanted: 'all' | 'what has a tag',
): Promise<void> {
  const client = new RegistryClient({ plainHttp: [host] })
  try {
    for (const { source, digest } of images) {
      const { repository: path, tag = '' } = parseReference(source)
      const repository = client.repository(host, `${prefix}/${path}`)
      const found = await repository.resolveManifest(tag)
      if (!found) {
        expect(wanted, `${prefix}/${path}:${tag} is missing`).toBe('what has a tag')
        continue
      }
      expect(found.digest).toBe(digest)
      await readAll(client, repository, found.digest)
    }
  } finally {
    await client.close()
  }
}

async function readAll(client: RegistryClient, repository: Repository, digest: string): Promise<void> {
  const document = await repository.fetchManifest(digest)
  if (document.kind === 'index') {
    for (const child of document.manifests) await readAll(client, repository, child.digest)
    return
  }
  const sink = { restartable: true, write: async () => {} }
  for (const blob of [document.config, ...document.layers]) {
    await downloadBlob([repository], blob, sink, { client })
  }
}
