import type { ServeOptions as EngineOptions, ServedBundles } from '../transfer/serve/serve.ts'
import { readTrust, type Trust } from './trust.ts'

/** How to serve, and what to trust. */
export type ServeOptions = Trust & Omit<EngineOptions, 'trust'>

/**
 * Verifies bundles and serves them as one read-only registry, straight from their files.
 *
 * @returns when it listens; {@link ServedBundles.stop} ends it.
 * @throws AirgapError `USAGE`, `VERIFICATION_FAILED`, `NAME_CONFLICT`, `TLS`, `NETWORK`, `FILE`, `INVALID_KEY`
 */
export async function serve(paths: readonly string[], options: ServeOptions): Promise<ServedBundles> {
  const trust = await readTrust(options)
  const { serveBundles } = await import('../transfer/serve/serve.ts')
  return serveBundles(paths, { ...options, trust })
}
