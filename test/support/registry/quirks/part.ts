import type { Reply } from '../../../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from '../registry.ts'

/** What a set of quirks makes of a request. State such as "the first request" is kept in it. */
export interface QuirkSet {
  /** Before anything else, authentication included: an answer, or undefined to go on. May change the request. */
  front(request: EmbeddedRequest): Reply | undefined
  /** After authentication: an answer, or undefined to go on. May change the request. */
  inside(request: EmbeddedRequest): Promise<Reply | undefined> | Reply | undefined
  /** A last look at what is about to be sent. The headers may be changed in their place. */
  after(request: EmbeddedRequest, reply: Reply): Reply
}

/** The quirks about one subject. */
export type QuirkPart = Partial<QuirkSet>

/** True once for each key. */
export function firstTime(seen: Set<string>, key: string): boolean {
  if (seen.has(key)) return false
  seen.add(key)
  return true
}

/** Holds characters that must be escaped in a query, as real states and signatures do. */
export function signatureOf(id: string): string {
  return `${Buffer.from(id).toString('base64')}=/+`.slice(-24)
}
