import * as v from 'valibot'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'

/** A payload says which image it is for, and little more. Bytes. */
export const MAX_PAYLOAD = 16 * 1024

const TYPE = 'cosign container image signature'

/** What a simple signing payload says. */
export interface SignedImage {
  /** `registry/repository:tag` that the signer says the image is. */
  reference: string
  /** Of the manifest or index. */
  digest: Digest
}

/**
 * The payload that cosign and containers/image sign and read (containers/image, containers-signature.5; cosign,
 * SIGNATURE_SPEC.md): the same bytes for the same image, member for member as cosign writes them.
 */
export function simpleSigningPayload({ reference, digest }: SignedImage): Buffer {
  const critical = {
    identity: { 'docker-reference': reference },
    image: { 'docker-manifest-digest': digest },
    type: TYPE,
  }
  return Buffer.from(JSON.stringify({ critical, optional: null }))
}

// The members of `critical` and no others, as containers/image has it; `optional` is nobody's business here.
const PayloadShape = v.strictObject({
  critical: v.strictObject({
    type: v.literal(TYPE),
    image: v.strictObject({ 'docker-manifest-digest': v.custom<Digest>(isDigest) }),
    identity: v.strictObject({ 'docker-reference': v.string() }),
  }),
  optional: v.nullable(v.looseObject({})),
})

/**
 * Reads a payload that anybody may have written.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseSimpleSigning(bytes: Uint8Array): SignedImage {
  const what = 'simple signing payload'
  const value = parseStrictJson(bytes, what)
  if (typeof value === 'object' && value !== null) checkKeyCase(value, ['critical', 'optional'], what)
  const { critical } = checkShape(PayloadShape, value, what)
  return {
    reference: critical.identity['docker-reference'],
    digest: critical.image['docker-manifest-digest'],
  }
}
