import type { FileWriter } from '../bundle/writer.ts'
import { SIGSTORE_SIGNATURE } from '../bundle/names.ts'
import { AirgapError } from '../errors.ts'
import type { OutputFile } from '../files/output-file.ts'
import type { CertificateSignature } from '../trust/keyless/sign.ts'
import type { Journal } from './journal/journal.ts'

/** Makes a bundle's signature when everything else is in its place. */
export interface LateSigner {
  /** Bytes of the signature's entry, whatever will be in it. */
  size: number
  /** @throws AirgapError whatever keeps it from being made; all else is kept then. */
  sign(checksums: Uint8Array): Promise<CertificateSignature>
}

/**
 * Signs a bundle of which everything is there, and on the disk, the place of the signature included: what becomes public
 * now cannot be taken back because something local fails.
 *
 * @throws AirgapError `INCOMPLETE` when it cannot be signed: then the same call has nothing left to do but that.
 */
export async function signLate(
  late: LateSigner,
  checksums: Buffer,
  { writer, output, journal }: { writer: FileWriter; output: OutputFile; journal: Journal },
  signal?: AbortSignal,
): Promise<CertificateSignature> {
  // Nothing of it needs to have come over the network to be worth keeping.
  journal.isWorthKeeping = true
  await writer.holdSignature()
  await output.settle()
  await journal.flush()
  signal?.throwIfAborted()
  try {
    return await late.sign(checksums)
  } catch (error) {
    signal?.throwIfAborted()
    if (!(error instanceof AirgapError) || error.code === 'INTERRUPTED') throw error
    throw notSigned(error, output.path)
  }
}

function notSigned(error: AirgapError, path: string): AirgapError {
  const again = 'Everything is fetched and kept: the same command has only this left to do.'
  return new AirgapError('INCOMPLETE', `${path} is complete but for its signature, which could not be made`, {
    hint: error.hint === undefined ? again : `${error.hint}\n${again}`,
    problems: [{ entry: SIGSTORE_SIGNATURE, message: error.message, code: error.code }],
    cause: error,
  })
}
