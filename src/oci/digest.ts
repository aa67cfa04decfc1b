import { createHash } from 'node:crypto'
import { AirgapError } from '../errors.ts'

/** A content digest, `sha256:` and 64 lower-case hexadecimal digits. No other algorithm is used here. */
export type Digest = `sha256:${string}`

const STRICT = /^sha256:[0-9a-f]{64}$/
const ANY_ALGORITHM = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]+$/

/** Whether `value` matches the strict grammar, so that it is safe in a path or a URL. */
export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && STRICT.test(value)
}

/**
 * Reads a digest (OCI image-spec, descriptor.md § Digests).
 * @throws AirgapError `INVALID_DIGEST`, which says whether the algorithm or the form is wrong.
 */
export function parseDigest(value: string): Digest {
  if (isDigest(value)) return value
  const reason = digestFault(value)
  throw new AirgapError('INVALID_DIGEST', `${JSON.stringify(value)} is not a usable digest: ${reason}`)
}

/** Whether `value` is a valid OCI digest of another algorithm than sha256, such as sha512. */
export function isOtherAlgorithm(value: string): boolean {
  return ANY_ALGORITHM.test(value) && !/^sha256:/i.test(value)
}

/** Why {@link parseDigest} refuses `value`. */
export function digestFault(value: string): string {
  if (isOtherAlgorithm(value)) {
    return `its algorithm is ${value.slice(0, value.indexOf(':'))}; only sha256 is supported`
  }
  if (/^sha256:[0-9a-fA-F]{64}$/i.test(value)) return 'its letters must be lower case'
  if (/^sha256:/i.test(value)) return 'sha256 is followed by exactly 64 hexadecimal digits'
  return 'a digest is sha256: and 64 hexadecimal digits'
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** The 64 hexadecimal digits. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length)
}

/** The first 12 digits, for people. */
export function shortHex(digest: Digest): string {
  return hexOf(digest).slice(0, 12)
}
