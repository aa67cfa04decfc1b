import type { AirgapError } from '../errors.ts'
import type { OpenedBundle, VerifiedBundle } from './opened-bundle.ts'
import { tellClock } from './clock.ts'
import { Reporting, type ReportOptions } from './report/report.ts'
import { readTrust, type TrustOptions } from './trust.ts'
import { running, type RunOptions } from '../content/run.ts'
import { recallSequences, requireRemembered } from './sequences/recall.ts'
import { readUpstreamCheck, type UpstreamCheckOptions } from '../upstream/options.ts'
import { openBundle } from './open.ts'

/** How to verify. */
export interface VerifyOptions extends TrustOptions, RunOptions, ReportOptions {
  /** A file in which `push` remembers sequences: an older bundle is refused. It is only read. */
  sequences?: string | undefined
  /** Also verify the upstreams' signatures again, from what the bundle holds. */
  upstream?: UpstreamCheckOptions | undefined
}

/**
 * Verifies a bundle completely and offline: signature, archive, descriptions, graphs and every byte.
 *
 * With `onReport`, the report includes the SHA-256 of the whole file, even if the bundle is refused. The file is then read
 * in order, which can use two cores at most.
 *
 * @returns the verified bundle. Its file is closed, so its content can no longer be read.
 * @throws AirgapError `VERIFICATION_FAILED` with every fault in `problems`; `USAGE`, `FILE`, `INVALID_KEY`,
 *   `INVALID_DIGEST`. The signal's reason if aborted.
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

/**
 * Reads a bundle's description and headers, and checks that they agree. Checks no signature and hashes no layer, so the
 * result does not say who made the bundle or whether its content is intact.
 *
 * @returns what the bundle says, and `error` if something in it is wrong. The file is closed.
 * @throws AirgapError `FILE`
 */
export async function inspect(
  path: string,
): Promise<{ opened: VerifiedBundle; error?: undefined } | { opened: OpenedBundle; error: AirgapError }> {
  const opened = await openBundle(path, { keys: [], unauthenticated: true, now: Number.NaN })
  try {
    const { description } = opened
    if (description && opened.problems.length === 0) return { opened: { ...opened, description } }
    const { verificationError } = await import('./content.ts')
    return { opened, error: verificationError(path, opened) }
  } finally {
    await opened.reader.close()
  }
}
