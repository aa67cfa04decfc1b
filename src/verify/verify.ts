import type { AirgapError } from '../errors.ts'
import type { VerifiedBundle } from './opened-bundle.ts'
import { tellClock } from './clock.ts'
import { Reporting, type ReportOptions } from './report/report.ts'
import { readTrust, type TrustOptions } from './trust.ts'
import { running, type RunOptions } from '../content/run.ts'
import { recallSequences, requireRemembered } from './sequences/recall.ts'
import { readUpstreamCheck, type UpstreamCheckOptions } from '../upstream/options.ts'

/** How to verify. */
export interface VerifyOptions extends TrustOptions, RunOptions, ReportOptions {
  /** A file in which `push` remembers sequences: an older bundle is refused. It is read, and never written. */
  sequences?: string | undefined
  /** Verify upstreams' signatures again, too, from what the bundle holds. */
  upstream?: UpstreamCheckOptions | undefined
}

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
    requireRemembered(options, trust)
    const { verifyBundle, verificationError } = await import('./content.ts')
    const check = options.upstream && (await readUpstreamCheck(options.upstream, trust.root))
    const opened = await verifyBundle(path, trust, { ...run, wholeFile: reporting.isWanted })
    try {
      run.signal.throwIfAborted()
      const { evidence } = await recallSequences(opened, trust, options, {
        willRecord: false,
        mustExist: true,
        onEvent: run.onEvent,
      })
      if (options.sequences !== undefined) opened.sequences = evidence
      let error: AirgapError | undefined
      if (check && opened.problems.length === 0 && opened.description) {
        const { checkUpstream, upstreamError } = await import('../upstream/check-bundle.ts')
        opened.upstream = await checkUpstream(opened, check, run)
        error = upstreamError(path, opened.upstream)
      }
      reporting.of(opened, trust)
      await reporting.send()
      const { description } = opened
      if (opened.problems.length > 0 || !description) throw verificationError(path, opened)
      if (error) throw error
      tellClock(opened, run.onEvent)
      return { ...opened, description }
    } finally {
      await opened.reader.close()
    }
  })
}
