import { isSea } from 'node:sea'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { readPackageFile } from './own-files.ts'

/** The programs for worker threads: modules below this folder, without extension. */
export const THREADS = {
  'range-hash': 'hashing/range-worker',
  'stream-hash': 'hashing/stream-worker',
  tuf: 'trust-root/tuf-worker',
} as const

export type ThreadName = keyof typeof THREADS

/** The asset of the single executable that contains a thread's bundled program. */
export function threadAsset(name: ThreadName): string {
  return `threads/${name}.js`
}

export function startThread(
  name: ThreadName,
  options: Pick<WorkerOptions, 'workerData' | 'env' | 'resourceLimits'> = {},
): Worker {
  if (isSea()) return new Worker(readPackageFile(threadAsset(name)), { ...options, eval: true })
  // The TypeScript sources can run directly, too.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return new Worker(new URL(`./${THREADS[name]}.${extension}`, import.meta.url), options)
}
