import { expect } from 'vitest'
import type { Problem } from '../../src/errors.ts'
import type { Trust } from '../../src/verify/authenticate.ts'
import { verifyBundle } from '../../src/verify/content.ts'
import { signer, temporaryBundle } from '../support/build-bundle.ts'

/** Trusts the tests' key and expects nothing further. */
export const TRUST: Trust = {
  keys: [signer.publicKey],
  unauthenticated: false,
  now: Date.parse('2026-06-01T00:00:00Z'),
}

/** Verifies the file at `path`; whatever is wrong with it is in the result, and nothing is thrown. */
export async function problemsAt(path: string, trust: Partial<Trust> = {}): Promise<Problem[]> {
  const opened = await verifyBundle(path, { ...TRUST, ...trust })
  await opened.reader.close()
  if (opened.problems.length === 0) expect(opened.authentication.state).not.toBe('failed')
  return opened.problems
}

export async function problemsOf(bytes: Uint8Array, trust: Partial<Trust> = {}): Promise<Problem[]> {
  return problemsAt(await temporaryBundle(bytes), trust)
}

/** Expects that a bundle is refused with a problem of this entry in these words, among possible others. */
export async function expectRefusal(
  bytes: Uint8Array,
  entry: string | RegExp,
  words: string | RegExp,
  trust: Partial<Trust> = {},
): Promise<Problem[]> {
  const problems = await problemsOf(bytes, trust)
  expect(problems.map(({ entry: where, message }) => ({ entry: where, message }))).toContainEqual({
    entry: entry instanceof RegExp ? expect.stringMatching(entry) : entry,
    message: words instanceof RegExp ? expect.stringMatching(words) : expect.stringContaining(words),
  })
  return problems
}
