import { resolve } from 'node:path'
import { AirgapError } from '../errors.ts'
import { digestOf } from '../oci/digest.ts'
import type { VerifiedBundle } from './opened-bundle.ts'
import type { SigningKey } from '../trust/keys.ts'
import { running, type RunOptions } from '../content/run.ts'
import { readTrust, type TrustOptions } from './trust.ts'

export interface SignOptions extends TrustOptions, RunOptions {
  /** Whose signature it is going to be. */
  key: SigningKey
  /** The new file that gets the signature: a Sigstore bundle over `SHA256SUMS`. */
  output: string
  /** The bundle is verified, and nothing is signed yet: show it to whoever signs; throw to go no further. */
  onVerified?: ((opened: VerifiedBundle) => void | Promise<void>) | undefined
}

/**
 * Signs a bundle that somebody else has made, after its complete verification: an approval. The bundle itself is not
 * changed; the signature is a file of its own, which `verify`, `push` and `serve` take beside the bundle, and which
 * `cosign verify-blob` checks against the bundle's `SHA256SUMS`.
 *
 * What is known of who made the bundle is up to the trust that is given, as for {@link verify}: with `unauthenticated`
 * the signature approves of content, whoever made it.
 *
 * The file is new, appears whole or not at all, and anybody may read it (0644, as far as the umask lets it).
 *
 * @returns the bundle that was verified and signed. Its file is closed.
 * @throws AirgapError as {@link verify}, and then nothing is signed; `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`,
 *   `DISK_FULL`; `SIGNING` and what else `key.sign` throws. The signal's reason.
 */
export async function sign(path: string, options: SignOptions): Promise<VerifiedBundle> {
  return running(options, async (run) => {
    const { key } = options
    const output = resolve(options.output)
    const trust = await readTrust(options)
    const { checkOutput } = await import('../files/output-checks.ts')
    const { createWhole } = await import('../files/create-whole.ts')
    const { verifyBundle, verificationError } = await import('./content.ts')
    const { signBytes } = await import('../trust/signature.ts')
    // A file that is in the way is known before anything is hashed, and before a token wants to be touched.
    await checkOutput(output, false, false)
    const opened = await verifyBundle(path, trust, run)
    try {
      run.signal.throwIfAborted()
      const { description } = opened
      if (opened.problems.length > 0 || !description) throw verificationError(path, opened)
      await options.onVerified?.({ ...opened, description })
      run.signal.throwIfAborted()
      const { checksums } = await opened.reader.readHead()
      if (digestOf(checksums) !== opened.bundleDigest) {
        throw new AirgapError('VERIFICATION_FAILED', `${path} has been changed while it was verified`)
      }
      if (key.heldBy !== undefined) run.onEvent({ type: 'signing', by: key.heldBy })
      const { bundleJson } = await signBytes(checksums, key, run.signal)
      await createWhole(output, bundleJson.toString(), 0o644)
      return { ...opened, description }
    } finally {
      await opened.reader.close()
    }
  })
}
