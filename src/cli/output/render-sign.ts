import type { SigningKey, VerifiedBundle } from '../../index.ts'
import { formatEnd, formatFields, paragraphs } from './format.ts'
import { escapeLine, shellWord } from '../../text.ts'
import {
  digestField,
  identityFields,
  openedFields,
  signedBy,
  signerFields,
  sizeField,
  verdictOf,
} from './render-evidence.ts'
import { countImages, listImages, renderImages, renderSkipped } from './render-images.ts'
import { countedSigners, policyFieldLines } from './render-policy.ts'
import type { SignResult } from './shapes/results.ts'
import type { Highlight } from './terminal.ts'

export function signResult(
  opened: VerifiedBundle,
  { key, output }: { key: SigningKey; output: string },
): SignResult {
  return {
    file: opened.reader.path,
    verdict: verdictOf(opened),
    ...openedFields(opened, opened.description),
    signatureFile: output,
    keyFingerprint: key.publicKey.fingerprint,
  }
}

const UNKNOWN = 'WHO MADE IT WAS NOT CHECKED'

/** The approval as text for the approver: what was checked, and what was not. */
export function renderSign(result: SignResult): string {
  const { authentication, bundle, file, signatureFile, verdict } = result
  const { signers = [] } = authentication
  const signed = result.policy ? 'as the policy demands' : signedBy(signers)
  const head = verdict === 'good' ? `and ${signed}` : `but ${UNKNOWN}`
  return [
    formatFields([...identityFields(bundle), sizeField(bundle), ...policyFieldLines(result)]),
    '',
    formatEnd(`Signed ${escapeLine(file)}: complete, unaltered, ${head}`, [
      ...makerFields(result),
      ['approved by', `key ${result.keyFingerprint}`],
      digestField(bundle),
      ['written to', escapeLine(signatureFile)],
    ]),
    'The bundle is unchanged. Send the signature along with it.',
  ].join('\n')
}

/**
 * What will be signed, as text for the approver.
 * @param details shows each image with its digest and platforms, not on one line.
 */
export function renderToSign(opened: VerifiedBundle, { details }: { details: boolean }): string {
  const { description, reader } = opened
  const fields = openedFields(opened, description)
  const { images, skipped } = description
  return paragraphs(
    details ? renderImages(images) : listImages(images),
    renderSkipped(skipped),
    formatFields([...identityFields(fields.bundle), ['holds', countImages(images)]]),
    formatEnd(`To sign: ${escapeLine(reader.path)}, complete and unaltered`, [
      ...makerFields(fields),
      digestField(fields.bundle),
    ]),
  )
}

/**
 * The command that uses the signature.
 * @param keyFile the file of the public key.
 */
export function afterSigning({ file, signatureFile }: SignResult, keyFile: string): string {
  return `airgap verify ${shellWord(file)} --signature ${shellWord(signatureFile)} --key ${shellWord(keyFile)}`
}

/** Who signed the bundle itself. */
function makerFields(
  result: Pick<SignResult, 'authentication' | 'hasSignature' | 'policy' | 'rules'>,
): [string, string][] {
  const { authentication, hasSignature, policy } = result
  if (policy) return [['signed by', countedSigners(result)]]
  if (authentication.state === 'signed') return signerFields(authentication.signers ?? [], 'made by')
  if (hasSignature) return [['who made it', 'not checked; the bundle carries a signature']]
  return [['who made it', 'unknown: the bundle carries no signature']]
}

/** The words to highlight if it was not checked who made the bundle. */
export function highlightOfSign({ verdict }: SignResult): Highlight | undefined {
  return verdict === 'good' ? undefined : { words: UNKNOWN, style: ['yellow', 'bold'] }
}
