import type { AirgapError } from '../errors.ts'
import type { OpenedBundle, VerifiedBundle } from './opened-bundle.ts'
import { openBundle } from './open.ts'

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
