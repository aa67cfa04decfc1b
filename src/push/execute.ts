import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { checkWhatStays, sendBlobs, upload } from './blobs.ts'
import { beforeSourceIndexes, signImages } from './image-signatures/sign.ts'
import { sendManifests } from './manifests.ts'
import { contentFor } from './missing-content.ts'
import type { PushPlan } from './plan.ts'
import { createProjects } from './projects.ts'
import { PushFailures } from './push-failures.ts'
import { readBack } from './read-back.ts'
import type { PushRecord } from './record.ts'
import type { Receipt } from './receipt.ts'
import { ensureReferrers } from './referrers/delivered.ts'
import { listReferrers, readReferrersBack, sendReferrers } from './referrers/send.ts'
import { putSourceIndexes } from './source-index.ts'
import { setTags } from './tags.ts'
import type { PushOptions } from './work.ts'

/**
 * Executes a plan: every entry of the bundle is hashed, whether it is sent or not; blobs go before manifests,
 * children before parents, what refers to them behind them, own signatures for a cluster behind those, and tags last,
 * after everything else is in its place, so that whoever finds an image by its tag finds its signatures, too. Each tag
 * is then read back. Behind them come sources' own indexes, which a registry may refuse: the receipt says so.
 *
 * What cannot be sent, put or tagged for one image does not stop the others; an image that lacks anything is not tagged.
 * What refers to an image is not a part of it: where a registry does not take that, the image is tagged all the same, and
 * the push is incomplete.
 *
 * @param record is told of everything that is done; after a failure it gives the receipt of what was.
 * @throws AirgapError `INCOMPLETE` naming the images that failed or lack what refers to them, or what all of them failed for;
 *   `VERIFICATION_FAILED` when the bundle's content is altered: no tag has been set then.
 */
export async function executePush(
  opened: OpenedBundle,
  plan: PushPlan,
  record: PushRecord,
  options: PushOptions,
): Promise<Receipt> {
  const failures = new PushFailures(plan, options)
  const work = { opened, plan, options, record, failures }
  await checkWhatStays(work)
  const { registry } = record.target
  record.setProjects(await createProjects(plan.projects, { ...options, registry }))
  await sendBlobs(work)
  const content = contentFor({ opened, plan, options, record, upload })
  await sendManifests(work, content)
  const push = { ...work, content }
  await sendReferrers(push)
  if (options.verifyTarget) {
    await readBack(work)
    await readReferrersBack(push)
  }
  await listReferrers(
    plan.referrers.filter(({ waitsFor }) => waitsFor === 'image'),
    push,
  )
  if (options.signImages) await signImages(plan, options.signImages, options, record.signatures, failures)
  await setTags(plan, options, record, failures, content)
  const inPlace = plan.manifests.filter(({ repository, document: { digest } }) =>
    failures.isNeeded({ repository, digest }),
  )
  await ensureReferrers(inPlace, opened, options)
  const sourceIndexes = plan.sourceIndexes.filter(({ repository, digest }) =>
    plan.images
      .filter(({ image, repository: own }) => own === repository && image.sourceDigest === digest)
      .every((planned) => failures.isWhole(planned)),
  )
  const beforeTag = beforeSourceIndexes(plan, options.signImages, record.signatures)
  await putSourceIndexes(sourceIndexes, opened, { ...options, beforeTag }, (index, outcome) =>
    record.setIndex(index, outcome),
  )
  await listReferrers(
    plan.referrers.filter((planned) => record.hasIndexOf(planned)),
    push,
  )
  for (const [planned, error] of failures.lostReferrers) record.setLost(planned, error)
  await failures.throwIfAny(record.arrived())
  return record.receipt(true)
}
