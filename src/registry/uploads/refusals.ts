import { saidIn } from '../said.ts'

/** How registries say that there is no such upload session (any more). */
export const SESSION_GONE: ReadonlySet<number> = new Set([400, 404, 410, 416])

/** How registries answer a request that they do not take at this place, whatever is in it. */
export const UNSUPPORTED: ReadonlySet<number> = new Set([400, 404, 405, 410, 411, 501])

/** Whether a request was refused for its length: by 413, or as GHCR does for more than 4 MiB, by 416. */
export function isTooLarge(error: Error): boolean {
  const said = saidIn(error)
  return said?.status === 413 || (said?.status === 416 && /too large|too big|exceed/i.test(said.text))
}

/** Whether what arrived is not what was sent: that had the right digest. */
export function isWrongDigest(error: Error): boolean {
  return saidIn(error)?.codes.includes('DIGEST_INVALID') ?? false
}

/** Whether the registry speaks of the upload, rather than of the request. */
export function isAboutUpload(error: Error): boolean {
  return saidIn(error)?.codes.some((code) => code.startsWith('BLOB_UPLOAD_')) ?? false
}
