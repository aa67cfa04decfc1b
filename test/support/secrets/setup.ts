import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import { afterAll, afterEach } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { compareBytesAsBytes } from '../equal-bytes.ts'
import { deriveKeysOnce } from '../../trust/scrypt-once.ts'
import { expectNoSecrets, forgetSecrets, noteAuthorization, noteSecret } from './known.ts'
import { printed } from './printed.ts'

compareBytesAsBytes()
deriveKeysOnce()

/** What lets whoever has a URL read or write without logging in. */
const SIGNED = ['X-Signature', '_state', 'X-Amz-Signature', 'sig']

/**
 * For every test file: what servers of this process receive as credentials is a secret from then on, and no error that
 * is made during a test may show one.
 */
function noteRequest(message: unknown): void {
  const { headers, url = '' } = (message as { request: IncomingMessage }).request
  if (headers.authorization !== undefined) noteAuthorization(headers.authorization)
  if (headers['proxy-authorization'] !== undefined) noteAuthorization(headers['proxy-authorization'])
  const query = url.includes('?') ? new URLSearchParams(url.slice(url.indexOf('?'))) : undefined
  for (const name of SIGNED) {
    const value = query?.get(name)
    if (value) noteSecret(value, `the ${name} of a URL`)
  }
}

// Files run one after the other in one process: what one of them has made up says nothing about the words of the next.
forgetSecrets()
subscribe('http.server.request.start', noteRequest)
afterAll(() => {
  unsubscribe('http.server.request.start', noteRequest)
})

/** Property tests make a great many; those that are left to the end see also secrets that came later. */
const MOST_KEPT = 500
const made: AirgapError[] = []

function scan(): void {
  for (const error of made.splice(0)) expectNoSecrets(printed(error), 'an error')
}

/** In between AirgapError and Error, so that `super()` comes by here and the product needs no hook for its tests. */
class Watched extends Error {
  constructor(message?: string, options?: ErrorOptions) {
    super(message, options)
    if (made.length >= MOST_KEPT) scan()
    made.push(this as unknown as AirgapError)
  }
}
Object.setPrototypeOf(AirgapError, Watched)

afterEach(scan)

/** The errors of the present test that have not been looked at yet: for the test of the search itself. */
export function errorsSoFar(): AirgapError[] {
  return made
}
