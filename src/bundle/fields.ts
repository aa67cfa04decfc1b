import * as v from 'valibot'
import { isDigest, type Digest } from '../oci/digest.ts'
import { formatMoment } from '../bytes.ts'

/*
 * Fields that several documents share: airgap.json, lock, receipt, and the JSON results of the commands. A name means
 * the same in all of them. The descriptions are published in docs/schemas.
 */

/** Adds a description to a field's schema. */
export function described<S extends v.GenericSchema>(
  schema: S,
  text: string,
): v.SchemaWithPipe<readonly [S, v.DescriptionAction<v.InferOutput<S>, string>]> {
  return v.pipe(schema, v.description<v.InferOutput<S>, string>(text))
}

/** A type without the unknown fields that a loose schema lets pass. */
export type Known<T> = T extends readonly (infer U)[]
  ? Known<U>[]
  : T extends string | number | boolean | undefined
    ? T
    : { [K in keyof T as string extends K ? never : K]: Known<T[K]> }

export const digest = v.pipe(
  v.custom<Digest>(isDigest, 'must be sha256: and 64 hexadecimal digits'),
  v.metadata({ type: 'string', pattern: '^sha256:[0-9a-f]{64}$' }),
)

/** A size in bytes, a count, a sequence. */
export const wholeNumber = v.pipe(
  v.number('must be a number'),
  v.safeInteger('must be a whole number below 2^53'),
  v.minValue(0, 'must not be negative'),
)

/** RFC 3339 in UTC with whole seconds, so that each moment has only one form. */
export const moment = v.pipe(
  v.string(),
  v.check(isMoment, 'must be a moment like 2026-01-31T12:00:00Z'),
  v.metadata({ format: 'date-time' }),
)

/** RFC 3339 in UTC with milliseconds: when something happened. */
export const instant = v.pipe(v.string(), v.isoTimestamp())

/** SHA-256 of a public key in DER. */
export const keyFingerprint = described(
  v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  'SHA-256 of the public key in DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it',
)

/** A number of blobs and their total size. */
export const sum = v.object({
  count: described(wholeNumber, 'How many'),
  bytes: described(wholeNumber, 'Their total size, in bytes'),
})

/** Whether `value` is RFC 3339 in UTC with whole seconds, and a valid date and time. */
export function isMoment(value: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(value)) return false
  const time = Date.parse(value)
  return !Number.isNaN(time) && formatMoment(time) === value
}

/** The first duplicate in a list; undefined if there is none. */
export function firstTwice(all: readonly string[]): string | undefined {
  const seen = new Set<string>()
  return all.find((one) => seen.size === seen.add(one).size)
}
