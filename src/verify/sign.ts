import { resolve } from 'node:path'
import { AirgapError } from '../errors.ts'
import { digestOf } from '../oci/digest.ts'
import type { VerifiedBundle } from './opened-bundle.ts'
import type { SigningKey } from '../trust/keys.ts'
import { running, type RunOptions } from '../content/run.ts'
import { readTrust, type TrustOptions } from './trust.ts'

export interface SignOptions extends TrustOptions, RunOptions {
  /** The key to sign with. */
  key: SigningKey
  /** The new file for the signature: a Sigstore bundle over `SHA256SUMS`. */
  output: string
  /** Called when the bundle is verified and not signed yet: show it to the signer, or throw to stop. */
  onVerified?: ((opened: VerifiedBundle) => void | Promise<void>) | undefined
}

/**
 * Verifies a bundle completely and adds an approval: a detached signature. The bundle itself is not changed. `verify`,
 * `push` and `serve` accept the signature file beside the bundle, and `cosign verify-blob` checks it against the
 * bundle's `SHA256SUMS`.
 *
 * Who has to have made the bundle depends on the given trust, as for {@link verify}: with `unauthenticated` the signature
 * approves the content, whoever made it.
 *
 * The file is new, appears complete or not at all, and everybody can read it (mode 0644, minus the umask).
 *
 * @returns the bundle that was verified and signed. Its file is closed.
 * @throws AirgapError like {@link verify}, and then nothing is signed; `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`,
 *   `DISK_FULL`; `SIGNING` and what else `key.sign` throws. The signal's reason if aborted.
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
    // Check for an existing file before anything is hashed, and before a token has to be touched.
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
        throw new AirgapError('VERIFICATION_FAILED', `${path} was changed while it was verified`)
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
