import { resolve } from 'node:path'
import type { UploadState } from '../registry/blobs/uploads/state/state.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import type { PushOptions as EngineOptions } from './work.ts'

/** Does the work with a memory of its uploads, where one is wanted. */
export async function remembering<T>(
  directory: string | false | undefined,
  { bundleDigest }: OpenedBundle,
  origin: string,
  { onEvent }: EngineOptions,
  work: (uploads: UploadState | undefined) => Promise<T>,
): Promise<T> {
  const { defaultStateFolder } = await import('../registry/blobs/uploads/state/folder.ts')
  const folder = directory ?? defaultStateFolder(process.env)
  if (folder === undefined || folder === false) return work(undefined)
  const { UploadState } = await import('../registry/blobs/uploads/state/state.ts')
  const uploads = await UploadState.open({
    folder: resolve(folder),
    bundleDigest,
    origin,
    onNotice: (notice) => onEvent?.({ type: 'registry', notice }),
  })
  let isComplete = false
  try {
    const result = await work(uploads)
    isComplete = true
    return result
  } finally {
    await uploads.close(isComplete)
  }
}
