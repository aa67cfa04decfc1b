import type { VerifiedBundle } from '../transfer/check/opened-bundle.ts'
import { Reporting, type ReportOptions } from './reporting.ts'
import { readTrust, type Trust } from './trust.ts'
import { running, type RunOptions } from './run.ts'

/** How to verify. */
export type VerifyOptions = Trust & RunOptions & ReportOptions

/**
 * Verifies a bundle completely, offline: signature, archive, descriptions, graphs and every byte.
 *
 * With `onReport` the SHA-256 of the whole file is part of the record, of one that is refused, too: the file is read once,
 * in its order, on no more than two cores.
 *
 * @returns what was checked. Its file is closed; the content is no longer to be read from it.
 * @throws AirgapError `VERIFICATION_FAILED` with every fault in `problems`; `USAGE`, `FILE`, `INVALID_KEY`,
 *   `INVALID_DIGEST`. The signal's reason.
 */
export async function verify(path: string, options: VerifyOptions): Promise<VerifiedBundle> {
  const reporting = new Reporting(options)
  return running(options, async (run) => {
    const trust = await readTrust(options)
    const { verifyBundle, verificationError } = await import('../transfer/check/verify.ts')
    const opened = await verifyBundle(path, trust, { ...run, wholeFile: reporting.isWanted })
    await opened.reader.close()
    run.signal.throwIfAborted()
    reporting.of(opened, trust)
    await reporting.send()
    const { description } = opened
    if (opened.problems.length > 0 || !description) throw verificationError(path, opened)
    return { ...opened, description }
  })
}
