import { createHash } from 'node:crypto'
import type { AskService } from './service.ts'

/** A timestamp with its certificates. Bytes. */
const LIMIT = 64 * 1024

/**
 * A request for a timestamp over a SHA-256, in DER, in front of the hash and behind it (RFC 3161 § 2.4.1): version 1, the
 * hash and how it was made, no nonce, and the authority's certificate wanted in the answer. The hash is of a signature
 * that nobody has seen before, so that no older answer can be given again.
 */
const HEAD = Buffer.from('30390201013031300d060960864801650304020105000420', 'hex')
const TAIL = Buffer.from('0101ff', 'hex')

/**
 * Has a timestamp authority say when a signature was there (RFC 3161 § 3.4). What the answer says is looked at with
 * everything else.
 * @returns the answer (TimeStampResp), DER.
 * @throws AirgapError those of {@link AskService}
 */
export async function requestTimestamp(ask: AskService, url: URL, signature: Uint8Array): Promise<Buffer> {
  const { body } = await ask({
    service: 'the timestamp authority',
    operation: 'get a timestamp',
    method: 'POST',
    url,
    headers: { 'content-type': 'application/timestamp-query', accept: 'application/timestamp-reply' },
    body: Buffer.concat([HEAD, createHash('sha256').update(signature).digest(), TAIL]),
    answers: 'application/timestamp-reply',
    limit: LIMIT,
  })
  return body
}
