import type { SigningKey } from '../trust/keys.ts'
import type { VerifiedBundle } from '../transfer/check/opened-bundle.ts'
import { escapeLine, formatFields, type Highlight } from './format.ts'
import { identityFields, sizeField } from './render-bundle.ts'
import { openedFields, verdictOf } from './render-evidence.ts'
import type { SignResult } from './shapes/sign.ts'

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
  let maker: [string, string] = ['who made it', 'nobody says: the bundle carries no signature']
  if (authentication.state === 'signed') maker = ['made by', `key ${authentication.keyFingerprint}`]
  else if (result.hasSignature) maker = ['who made it', 'not checked; the bundle carries a signature']
  const head = verdict === 'good' ? 'and signed by the key given' : `but ${UNKNOWN}`
  return [
    `Signed ${escapeLine(file)}: complete, unaltered, ${head}`,
    formatFields([
      ...identityFields(bundle),
      sizeField(bundle),
      maker,
      ['approved by', `key ${result.keyFingerprint}`],
      ['into', escapeLine(signatureFile)],
    ]),
    '',
    'The bundle is as it was. The signature goes along beside it, and is used so:',
    `  airgap verify ${escapeLine(file)} --signature ${escapeLine(signatureFile)} --key ${escapeLine(keyFile)}`,
  ].join('\n')
}

/** What stands out where nobody answers for the bundle. */
export function highlightOfSign({ verdict }: SignResult): Highlight | undefined {
  return verdict === 'good' ? undefined : { words: UNKNOWN, style: ['yellow', 'bold'] }
}
