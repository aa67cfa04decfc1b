import { inParallel } from '../content/parallel.ts'
import { putWithContent, type contentFor } from './missing-content.ts'
import type { PushWork } from './work.ts'

/** Children before parents: a registry refuses an index whose children it does not have. */
export async function sendManifests(
  { plan, options, record, failures }: PushWork,
  content: ReturnType<typeof contentFor>,
): Promise<void> {
  const byRepository = Map.groupBy(plan.manifests, ({ repository }) => repository)
  await inParallel([...byRepository.values()], options, async (manifests, signal) => {
    for (const { document, repository, isPresent } of manifests) {
      const { digest, size } = document
      if (isPresent) {
        record.set(repository, digest, size, 'present-not-read')
      } else if (failures.isNeeded({ repository, digest })) {
        await failures.attempt({ repository, digest, size, kind: 'manifest' }, signal, async (own) => {
          await putWithContent({ repository, ref: digest, document }, content, own)
          record.set(repository, digest, size, 'uploaded')
        })
      }
    }
  })
}
