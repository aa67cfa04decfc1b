import { isSea } from 'node:sea'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { readOwnFile } from './own-files.ts'

/** The programs that run in threads of their own: modules below this folder, without extension. */
export const THREADS = {
  'range-hash': 'hashing/range-worker',
  'stream-hash': 'hashing/stream-worker',
  tuf: 'trust-root/tuf-worker',
} as const

export type ThreadName = keyof typeof THREADS

/** Where the single executable keeps a thread's program, bundled. */
export function threadAsset(name: ThreadName): string {
  return `threads/${name}.js`
}

export function startThread(
  name: ThreadName,
  options: Pick<WorkerOptions, 'workerData' | 'env' | 'resourceLimits'> = {},
): Worker {
  if (isSea()) return new Worker(readOwnFile(threadAsset(name)), { ...options, eval: true })
  // The sources run as they are, too.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return new Worker(new URL(`./${THREADS[name]}.${extension}`, import.meta.url), options)
}
