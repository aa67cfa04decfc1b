import { AirgapError } from '../../errors.ts'
import type { FileIdentity } from '../../files/own-file.ts'
import type { SigningKey } from '../../trust/keys.ts'
import { TOOL } from '../../version.ts'
import type { Lock } from '../lock.ts'
import type { PackPlan } from '../plan.ts'
import { JOURNAL_TYPE, JOURNAL_VERSION, type JournalHeader, type PackInputs } from './header.ts'

/** The header of a journal for what has been planned. */
export function headerFor(
  { plan, signature }: PackPlan,
  decided: {
    begun: string
    inputs: PackInputs
    lock: Lock
    description: JournalHeader['description']
    file: FileIdentity
  },
): JournalHeader {
  return {
    type: JOURNAL_TYPE,
    formatVersion: JOURNAL_VERSION,
    tool: TOOL,
    ...decided,
    ...(signature ? { signature: encoded(signature) } : {}),
    bundleDigest: plan.bundleDigest,
    totalSize: plan.totalSize,
    blobBytes: plan.entries.reduce((sum, { digest, size }) => sum + (digest === undefined ? 0 : size), 0),
  }
}

function encoded({ sigstore, raw }: NonNullable<PackPlan['signature']>): JournalHeader['signature'] {
  return { sigstore: sigstore.toString('base64'), ...(raw ? { raw: raw.toString('base64') } : {}) }
}

/** The signature that a header holds. */
export function pinnedSignature({ signature }: JournalHeader): PackPlan['signature'] {
  if (!signature) return undefined
  const { sigstore, raw } = signature
  return {
    sigstore: Buffer.from(sigstore, 'base64'),
    ...(raw === undefined ? {} : { raw: Buffer.from(raw, 'base64') }),
  }
}

/**
 * Requires that a plan made from a journal is the one that was made then: a journal that was altered, or a program that
 * plans otherwise, must not lead to another bundle than was decided.
 * @param partial the unfinished file, for messages.
 * @throws AirgapError `OUTPUT_UNFINISHED`
 */
export async function requirePinned(
  { plan, signature }: PackPlan,
  header: JournalHeader,
  key: SigningKey | undefined,
  partial: string,
): Promise<void> {
  const { verifySignature } = await import('../../trust/verify.ts')
  const isSame = plan.bundleDigest === header.bundleDigest && plan.totalSize === header.totalSize
  const isSigned = key
    ? verifySignature({
        payload: plan.checksums,
        signature: { bundleJson: signature?.sigstore, der: signature?.raw },
        keys: [key.publicKey],
      }).ok
    : signature === undefined
  if (isSame && isSigned) return
  const reason = isSame
    ? 'the signature in its journal is not by this key'
    : 'what its journal says does not come to the bundle that it names'
  throw new AirgapError('OUTPUT_UNFINISHED', `${partial} cannot be gone on with: ${reason}`, {
    hint: 'Start over from nothing with --fresh.',
  })
}
