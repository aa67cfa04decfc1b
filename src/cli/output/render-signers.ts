import { SIGSTORE_SIGNATURE } from '../../bundle/names.ts'
import type { Signer } from '../../verify/signers.ts'
import { escapeLine } from './format.ts'

/** Who has signed, in the words of a verdict: `signed by the key given`. */
export function signedBy(signers: readonly Signer[]): string {
  const names = new Set(
    signers.map(({ keyFingerprint, identity, issuer }) => keyFingerprint ?? `${identity} ${issuer}`),
  )
  if (names.size > 1) return `signed by ${names.size} of those given`
  return signers[0]?.identity === undefined ? 'signed by the key given' : 'signed by the identity given'
}

/**
 * Every good signature as fields for people: the same lines wherever one is shown.
 * @param label of the first one.
 */
export function signerFields(signers: readonly Signer[], label: string): [string, string][] {
  return signers.flatMap((signer, i): [string, string][] => [
    [i === 0 ? label : 'signed, too, by', whoOf(signer)],
    ...certificateFields(signer),
    ...(signer.signature === SIGSTORE_SIGNATURE
      ? []
      : [['signature in', escapeLine(signer.signature)] as [string, string]]),
  ])
}

/** The same without labels, one line each. */
export function signerLines(signers: readonly Signer[]): string[] {
  return signers.flatMap((signer) => [
    whoOf(signer),
    ...certificateFields(signer).map(([label, value]) => `${label} ${value}`),
  ])
}

function whoOf({ keyFingerprint, identity }: Signer): string {
  return keyFingerprint === undefined ? escapeLine(identity ?? '') : `key ${keyFingerprint}`
}

function certificateFields({ issuer, signedAt, logIndex, trustedRoot }: Signer): [string, string][] {
  if (issuer === undefined) return []
  const at = signedAt?.replace('.000Z', 'Z')
  return [
    ['vouched for by', escapeLine(issuer)],
    ...(at === undefined ? [] : [['signed at', at] as [string, string]]),
    ...(logIndex === undefined ? [] : [['log entry', logIndex] as [string, string]]),
    ...(trustedRoot
      ? [
          ['trusted root', escapeLine(trustedRoot.file)] as [string, string],
          ['root digest', trustedRoot.digest] as [string, string],
        ]
      : []),
  ]
}
