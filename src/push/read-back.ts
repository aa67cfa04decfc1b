import { shortHex, type Digest } from '../oci/digest.ts'
import { downloadBlob } from '../registry/blobs/download.ts'
import type { Repository } from '../registry/repository.ts'
import { blobProgress } from '../content/events.ts'
import { inParallel } from '../content/parallel.ts'
import { imagesIn } from './image-parts.ts'
import type { PushWork } from './work.ts'

/**
 * Reads everything back from every repository that has to have it: a registry's word that something is there says
 * nothing about its bytes. What belongs to images alone that lack something is left.
 */
export async function readBack({ plan, options, record, failures }: PushWork): Promise<void> {
  const { client, onEvent } = options
  const blobs = plan.blobs
    .flatMap((blob) =>
      [...blob.present, ...blob.damaged, ...blob.missing].map((repository) => ({ blob, repository })),
    )
    .filter(({ blob: { digest }, repository }) => failures.isNeeded({ repository, digest }))
  const bytes = blobs.reduce((sum, { blob }) => sum + blob.size, 0)
  const partOf = (digest: Digest, { name }: Repository): string => `${name} ${digest}`
  const images = imagesIn(plan, partOf, onEvent)
  onEvent?.({ type: 'phase', phase: 'read-back', items: blobs.length, bytes, images: images.count })
  images.begin()
  await inParallel(blobs, options, async ({ blob: { digest, size }, repository }, signal) => {
    const descriptor = { digest, size }
    const sink = { restartable: true, write: async () => {} }
    await failures.attempt({ repository, digest, size, kind: 'blob' }, signal, async (own) => {
      await downloadBlob([repository], descriptor, sink, { client, signal: own, ...blobProgress(onEvent) })
      record.markRead(repository, digest)
      const name = `${shortHex(digest)} in ${repository.name}`
      onEvent?.({ type: 'item', name, bytes: size, outcome: 'confirmed', digest })
      images.done(partOf(digest, repository), 'confirmed')
    })
  })
  await inParallel(plan.manifests, options, async ({ document: { digest, size }, repository }, signal) => {
    if (!failures.isNeeded({ repository, digest })) return
    await failures.attempt({ repository, digest, size, kind: 'manifest' }, signal, async (own) => {
      await repository.fetchManifest(digest, own)
      record.markRead(repository, digest)
    })
  })
}
