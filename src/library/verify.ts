import type { VerifiedBundle } from '../transfer/check/opened-bundle.ts'
import { readTrust, type Trust } from './trust.ts'
import { running, type RunOptions } from './run.ts'

/** How to verify. */
export type VerifyOptions = Trust & RunOptions

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
    const opened = await verifyBundle(path, trust, run)
    await opened.reader.close()
    run.signal.throwIfAborted()
    const { description } = opened
    if (opened.problems.length > 0 || !description) throw verificationError(path, opened)
    return { ...opened, description }
  })
}
