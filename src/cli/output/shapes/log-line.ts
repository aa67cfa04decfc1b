import * as v from 'valibot'
import { described, digest, instant, wholeNumber, type Known } from '../../../bundle/fields.ts'
import { ReceiptSchema } from '../../../push/receipt.ts'
import { errorCode, errorFields } from './error.ts'

/** A kind of line: the fields of all lines, and those of this kind. */
function line<E extends string, L extends string, F extends v.ObjectEntries>(
  event: E,
  levels: readonly [L, ...L[]],
  facts: F,
): v.ObjectSchema<
  {
    time: typeof instant
    level: v.PicklistSchema<readonly [L, ...L[]], undefined>
    event: v.LiteralSchema<E, undefined>
    message: v.StringSchema<undefined>
  } & F,
  undefined
> {
  return v.object({
    time: instant,
    level: v.picklist(levels),
    event: v.literal(event),
    message: v.string(),
    ...facts,
  })
}

const phase = described(
  v.picklist([
    'resolve',
    'referrers',
    'upstream',
    'resume',
    'reuse',
    'fetch',
    'check',
    'upload',
    'sign',
    'tag',
    'read-back',
  ]),
  'Phase of the work',
)
const doneOf = v.object({ done: wholeNumber, total: wholeNumber })
const outcome = v.picklist([
  'resolved',
  'listed',
  'verified',
  'unverified',
  'skipped',
  'resumed',
  'reused',
  'fetched',
  'checked',
  'uploaded',
  'mounted',
  'present',
  'signed',
  'tagged',
  'confirmed',
])
const counts = {
  images: v.optional(described(doneOf, 'Images; one is done when all of it is done')),
  blobs: v.optional(described(doneOf, 'Blobs, or entries of the bundle')),
  bytes: described(doneOf, 'Bytes; done never decreases, even if a transfer starts over'),
}

/** What `--log-format json` writes to standard error, one per line. `message` is for people. */
export const LogLineSchema = v.variant('event', [
  line('note', ['info'], {}),
  line('warning', ['warning'], {}),
  line('insecure', ['warning'], {
    registry: described(v.string(), 'HOST[:PORT] that is contacted without verifying its identity'),
    how: described(
      v.picklist(['plain-http', 'unverified']),
      'Without encryption, or without checking the certificate',
    ),
  }),
  line('way', ['info'], {
    host: described(v.string(), 'HOST[:PORT] that is about to be contacted for the first time'),
    proxy: v.optional(described(v.string(), 'HOST:PORT of the proxy; absent without one')),
    proxyFrom: v.optional(described(v.string(), 'The environment variable that names the proxy')),
    caFiles: described(v.array(v.string()), 'Authorities that are trusted in addition to the usual ones'),
    clientCertificate: v.optional(described(v.string(), 'Shown to the host if it asks for one')),
  }),
  line('resume', ['info'], {
    file: described(v.string(), 'The unfinished file that is resumed'),
    bytes: described(doneOf, 'Bytes of blobs, according to the journal'),
    begun: described(instant, 'When its first run began'),
  }),
  line('signing', ['info'], { by: described(v.string(), 'The program that holds the key') }),
  line('phase', ['info'], { phase, ...counts }),
  line('progress', ['info'], {
    phase,
    ...counts,
    bytesPerSecond: v.optional(described(wholeNumber, 'Over the last 10 seconds')),
    secondsLeft: v.optional(wholeNumber),
  }),
  line('item', ['info'], {
    phase,
    kind: v.picklist(['image', 'blob']),
    name: described(v.string(), 'The image, or the blob and where it belongs'),
    outcome,
    size: described(wholeNumber, 'Bytes'),
    digest: v.optional(described(digest, 'The blob')),
  }),
  line('failed', ['warning'], {
    name: described(v.string(), 'The image, or the blob and where it belongs'),
    code: described(errorCode, 'Kind of failure'),
  }),
  line('retry', ['info'], {
    registry: v.string(),
    operation: described(v.string(), 'What failed and will be retried'),
    attempt: described(wholeNumber, 'The attempt that just failed, counted from 1'),
    delayMilliseconds: wholeNumber,
    reason: v.string(),
  }),
  line('held', ['info'], {
    registry: described(v.string(), 'A registry or host that asked us to wait, or cannot be reached'),
    status: v.optional(described(wholeNumber, '429 or 503; absent if it cannot be reached')),
    delayMilliseconds: wholeNumber,
    until: described(instant, 'When the next request is made'),
  }),
  line('unavailable', ['warning'], {
    registry: described(v.string(), 'Not used for now; content is fetched from elsewhere if possible'),
    reason: v.string(),
  }),
  line('slower', ['info'], {
    registry: v.string(),
    transfers: described(wholeNumber, 'At a time, for now'),
  }),
  line('quota', ['warning'], {
    registry: v.string(),
    remaining: described(wholeNumber, 'Remaining pulls'),
    limit: v.optional(wholeNumber),
    windowSeconds: v.optional(described(wholeNumber, 'Period that the limit applies to')),
  }),
  line('request', ['info'], {
    remote: v.optional(described(v.string(), "The client's address")),
    method: v.string(),
    path: described(v.string(), 'With the query parameters that cannot hold a secret'),
    range: v.optional(described(v.string(), 'The requested bytes, as the client wrote them')),
    status: v.optional(described(wholeNumber, 'The HTTP status; absent if none was sent')),
    bytes: described(wholeNumber, 'Bytes of the body sent'),
    milliseconds: described(wholeNumber, 'From the head of the request to the end of the answer'),
    userAgent: v.optional(described(v.string(), 'As sent by the client: any text')),
    error: v.optional(described(v.string(), 'A fault of the connection or of this server')),
  }),
  line('handshake', ['info'], {
    remote: v.optional(described(v.string(), "The client's address; absent if it has disconnected")),
    error: described(v.string(), 'Why there is no TLS connection'),
  }),
  line('receipt', ['warning', 'error'], {
    receipt: described(ReceiptSchema, 'The receipt that could not be written to its file'),
  }),
  line('error', ['error'], {
    ...errorFields,
    exitCode: described(wholeNumber, 'Exit code of the process'),
    stack: v.optional(described(v.string(), 'For an unexpected fault: where it came from')),
  }),
])
export type LogLine = Known<v.InferOutput<typeof LogLineSchema>>
