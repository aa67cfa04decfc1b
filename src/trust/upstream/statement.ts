import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { COSIGN_SIGN_PREDICATE } from '../../oci/cosign.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'
import { IN_TOTO_PAYLOAD } from '../dsse.ts'
import type { Refused } from '../identity/certificate-bundle.ts'

/** Subjects of one statement; `cosign sign` writes one. */
const MAX_SUBJECTS = 100

const MEMBERS = 'a member is missing or of the wrong kind'

const Statement = v.looseObject(
  {
    _type: v.picklist(
      ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'],
      'it is no in-toto statement',
    ),
    predicateType: v.string('a string is expected'),
    subject: v.pipe(
      v.array(
        v.looseObject({ digest: v.record(v.string(), v.string('a string is expected'), MEMBERS) }, MEMBERS),
        'a list is expected',
      ),
      v.minLength(1, 'it names no subject'),
      v.maxLength(MAX_SUBJECTS, `it names more than ${MAX_SUBJECTS} subjects`),
    ),
  },
  MEMBERS,
)

/**
 * Reads a statement that has to be an image's signature (in-toto attestation, spec/v1/statement.md), and no other
 * attestation. Never throws for anything that the bytes may hold.
 * @returns the digests that it is about.
 */
export function readImageStatement(
  payloadType: string,
  payload: Uint8Array,
): { ok: true; subjects: Digest[] } | Refused {
  const what = 'its statement'
  if (payloadType !== IN_TOTO_PAYLOAD) {
    return {
      ok: false,
      reason: `it holds ${shown(payloadType)} where a statement about an image is expected`,
    }
  }
  try {
    const value = parseStrictJson(payload, what)
    if (typeof value === 'object' && value !== null) checkKeyCase(value, Object.keys(Statement.entries), what)
    const { predicateType, subject } = checkShape(Statement, value, what)
    if (predicateType !== COSIGN_SIGN_PREDICATE) {
      return {
        ok: false,
        reason: `it is an attestation (${shown(predicateType)}), and no signature of an image`,
      }
    }
    for (const one of subject) checkKeyCase(one, ['name', 'digest'], what)
    const digests = subject.flatMap(({ digest }) => {
      checkKeyCase(digest, ['sha256'], what)
      const named = `sha256:${digest.sha256}`
      return isDigest(named) ? [named] : []
    })
    if (digests.length === subject.length) return { ok: true, subjects: digests }
    return { ok: false, reason: `${what} names a subject without a SHA-256 digest` }
  } catch (error) {
    if (error instanceof AirgapError) return { ok: false, reason: error.message }
    throw error
  }
}

/** Foreign text for a message. */
function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
}
