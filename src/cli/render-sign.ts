import type { SigningKey } from '../trust/keys.ts'
import type { VerifiedBundle } from '../transfer/check/opened-bundle.ts'
import { escapeLine, formatFields, shellWord } from './format.ts'
import { identityFields, sizeField } from './render-bundle.ts'
import { openedFields, verdictOf } from './render-evidence.ts'
import { countImages } from './render-images.ts'
import { countedSigners, policyFieldLines } from './render-policy.ts'
import { signedBy, signerFields } from './render-signers.ts'
import type { SignResult } from './shapes/sign.ts'
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

/**
 * The approval as its maker reads it: what was checked, what was not, and what to do with the file.
 * @param keyFile the public key's.
 */
export function renderSign(result: SignResult, keyFile: string): string {
  const { authentication, bundle, file, signatureFile, verdict } = result
  const { signers = [] } = authentication
  const signed = result.policy ? 'as the policy asks for' : signedBy(signers)
  const head = verdict === 'good' ? `and ${signed}` : `but ${UNKNOWN}`
  return [
    `Signed ${escapeLine(file)}: complete, unaltered, ${head}`,
    formatFields([
      ...identityFields(bundle),
      sizeField(bundle),
      ...makerFields(result),
      ['approved by', `key ${result.keyFingerprint}`],
      ['into', escapeLine(signatureFile)],
    ]),
    '',
    'The bundle is as it was. The signature goes along beside it, and is used so:',
    `  airgap verify ${shellWord(file)} --signature ${shellWord(signatureFile)} --key ${shellWord(keyFile)}`,
  ].join('\n')
}

/** What is going to be signed, for whoever has to decide it. */
export function renderToSign(opened: VerifiedBundle): string {
  const { description, reader } = opened
  const fields = openedFields(opened, description)
  const { images, skipped } = description
  return [
    `To sign: ${escapeLine(reader.path)}, complete and unaltered`,
    formatFields([
      ...identityFields(fields.bundle),
      ...makerFields(fields),
      ['holds', countImages(images)],
      ...(skipped ? [['left out', `${skipped.length} (airgap inspect lists them)`] as [string, string]] : []),
    ]),
    '',
    ...images.flatMap(({ source, digest }) => [`  ${source}`, `    ${digest}`]),
  ].join('\n')
}

/** Who has signed the bundle itself, and so answers for it already. */
function makerFields(
  result: Pick<SignResult, 'authentication' | 'hasSignature' | 'policy' | 'rules'>,
): [string, string][] {
  const { authentication, hasSignature, policy } = result
  if (policy) return [['signed by', countedSigners(result)], ...policyFieldLines(result)]
  if (authentication.state === 'signed') return signerFields(authentication.signers ?? [], 'made by')
  if (hasSignature) return [['who made it', 'not checked; the bundle carries a signature']]
  return [['who made it', 'nobody says: the bundle carries no signature']]
}

/** What stands out where nobody answers for the bundle. */
export function highlightOfSign({ verdict }: SignResult): Highlight | undefined {
  return verdict === 'good' ? undefined : { words: UNKNOWN, style: ['yellow', 'bold'] }
}
