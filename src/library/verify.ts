import type { VerifiedBundle } from '../transfer/check/opened-bundle.ts'
import { readTrust, type Trust } from './trust.ts'
import { running, type RunOptions } from './run.ts'
import { readUpstreamCheck, type UpstreamCheckOptions } from './upstream.ts'

/** How to verify. */
export interface VerifyOptions extends Trust, RunOptions {
  /** Verify upstreams' signatures again, too, from what the bundle holds. */
  upstream?: UpstreamCheckOptions | undefined
}

/**
 * Verifies a bundle completely, offline: signature, archive, descriptions, graphs and every byte.
 *
 * @returns what was checked. Its file is closed; the content is no longer to be read from it.
 * @throws AirgapError `VERIFICATION_FAILED` with every fault in `problems`; `USAGE`, `FILE`, `INVALID_KEY`,
 *   `INVALID_DIGEST`. The signal's reason.
 */
export async function verify(path: string, options: VerifyOptions): Promise<VerifiedBundle> {
  return running(options, async (run) => {
    const trust = await readTrust(options)
    const { verifyBundle, verificationError } = await import('../transfer/check/verify.ts')
    const check = options.upstream && (await readUpstreamCheck(options.upstream, trust.root))
    const opened = await verifyBundle(path, trust, run)
    try {
      run.signal.throwIfAborted()
      const { description } = opened
      if (opened.problems.length > 0 || !description) throw verificationError(path, opened)
      if (!check) return { ...opened, description }
      const { checkUpstream, upstreamError } = await import('../transfer/upstream/check-bundle.ts')
      opened.upstream = await checkUpstream(opened, check, run)
      const error = upstreamError(path, opened.upstream)
      if (error) throw error
      return { ...opened, description }
    } finally {
      await opened.reader.close()
    }
  })
}
