/**
 * A step of an approval service: verifies a bundle offline and gives the evidence as JSON, for the record and for the
 * person who decides. A bundle that is not good is a result, too, and not a fault of the service.
 *
 *     node docs/examples/verify.ts bundle.tar airgap.pub [BUNDLE-DIGEST]
 */
import { AirgapError, verify } from 'airgap'
import type { ErrorCode, Problem, VerifiedSignature } from 'airgap'

interface Evidence {
  file: string
  verdict: 'good' | 'refused'
  digest?: string
  name?: string
  sequence?: number
  signedBy?: string
  images?: { source: string; digest: string; platforms: string[] }[]
  code?: ErrorCode
  problems?: Problem[]
}

/** The fingerprint of a key, or whom a certificate names. */
function signerOf(by: VerifiedSignature['by']): string {
  return by.kind === 'key' ? by.key.fingerprint : by.identity
}

async function examine(file: string, key: string, expectDigest: string | undefined): Promise<Evidence> {
  try {
    const { authentication, bundleDigest, description } = await verify(file, {
      keys: [key],
      expectDigest,
      // Whoever waits for the answer has gone by then.
      signal: AbortSignal.timeout(3_600_000),
    })
    return {
      file,
      verdict: 'good',
      digest: bundleDigest,
      name: description.name,
      sequence: description.sequence,
      ...(authentication.state === 'signed' ? { signedBy: signerOf(authentication.signatures[0].by) } : {}),
      images: description.images.map(({ source, digest, platforms }) => ({
        source,
        digest,
        platforms: platforms.map(({ platform }) => platform),
      })),
    }
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'VERIFICATION_FAILED') throw error
    return { file, verdict: 'refused', code: error.code, problems: error.problems }
  }
}

const [file, key, expectDigest] = process.argv.slice(2)
if (file === undefined || key === undefined) {
  console.error('usage: verify.ts BUNDLE PUBLIC-KEY [BUNDLE-DIGEST]')
  process.exit(2)
}
const evidence = await examine(file, key, expectDigest)
console.log(JSON.stringify(evidence, undefined, 2))
process.exitCode = evidence.verdict === 'good' ? 0 : 3
