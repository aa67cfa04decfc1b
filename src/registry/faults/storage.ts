import type { FailedAnswer, Meaning } from './answer.ts'
import type { Said } from './quote.ts'

// docker-registry 2.8 gives the system's number for it (ENOSPC, EDQUOT), and no words.
const FULL =
  /no space left on device|disk quota exceeded|not enough (?:free )?(?:storage|disk|space)|"Err":\s*(?:28|122)\b/i
// Harbor (412 before 2.0, then 403), Quay, GitLab, Artifactory and Nexus each say it in words only.
const QUOTA =
  /exceed(?:s|ed)? the (?:configured )?(?:upper )?limit|quota.{0,40}exceeded|exceed.{0,40}quota|over the quota/i
const UNWRITABLE =
  /read-only file system|\b(?:mkdir|open|write|rename) [^"]{1,500}: permission denied|"Err":\s*(?:13|30)\b/i

/** What registries tell of the storage below them, with 500, 507 or whatever comes to their mind. */
export function storageFault({ status, isWrite }: FailedAnswer, { words }: Said): Meaning | undefined {
  if (isWrite !== true) return undefined
  // A registry may quote the disk's words in a detail; page through no more than an error needs.
  const start = words.slice(0, 8000)
  if (status === 507 || (status >= 500 && FULL.test(start))) {
    return {
      code: 'REGISTRY',
      cause: 'the disk of the registry is full',
      hint: 'Have room made there: delete images that nobody needs, run its garbage collection, or enlarge the disk. Then push again; what has arrived is not sent again.',
      refusal: { kind: 'room', of: 'registry' },
    }
  }
  if ([400, 403, 412, 413, 500].includes(status) && QUOTA.test(start)) {
    return {
      code: 'REGISTRY',
      cause: 'a quota in the registry is used up',
      hint: 'Have the quota of the project raised (Harbor: Project Quotas), or delete what nobody needs. Then push again; what has arrived is not sent again.',
      // A request that is too large says nothing about the next one.
      refusal: { kind: 'room', of: status === 413 ? 'content' : 'project' },
    }
  }
  if (status >= 500 && UNWRITABLE.test(start)) {
    return {
      code: 'REGISTRY',
      cause: 'the registry cannot write to its disk',
      hint: 'On its machine: the folder of its storage has to belong to the user that it runs as, and its file system must not be mounted read-only.',
      refusal: { kind: 'room', of: 'registry' },
    }
  }
  return undefined
}
