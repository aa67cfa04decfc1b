import * as v from 'valibot'
import { base64Text } from './pem.ts'

/*
 * Schemas for protobuf messages as JSON (protobuf.dev/programming-guides/json), for Sigstore's bundles, trusted roots
 * and signing configs. Only the members of each message are allowed, like in Go's decoder. The library would accept
 * strings for lists, lists for strings, and any text for base64 or a time, and would ignore unknown members.
 */

export const MEMBERS = 'a member is missing, unknown or of the wrong kind'

export const text = v.string('a string is expected')

/** protobuf's JSON writes 64-bit numbers as strings, and allows numbers. */
export const int64 = v.union(
  [v.pipe(text, v.regex(/^-?\d{1,19}$/, 'a whole number is expected')), v.pipe(v.number(), v.integer())],
  'a whole number is expected',
)

export function list<S extends v.GenericSchema>(
  item: S,
  most: number,
): v.SchemaWithPipe<
  readonly [v.ArraySchema<S, string>, v.MaxLengthAction<v.InferOutput<S>[], number, string>]
> {
  return v.pipe(v.array(item, 'a list is expected'), v.maxLength(most, `more than ${most} of them`))
}

export const CertificateShape = v.strictObject({ rawBytes: base64Text }, MEMBERS)

const instant = v.pipe(
  v.string('a time is expected'),
  v.check(isInstant, 'it is not a time like 2026-01-31T12:00:00Z'),
  v.transform((value) => Date.parse(value)),
)

/**
 * A `TimeRange`, in milliseconds since 1970, including both ends. Without an end it is open. Without a start it is
 * refused, because it would be open to the past.
 */
export const TimeRange = v.pipe(
  v.strictObject({ start: v.nullish(instant), end: v.nullish(instant) }, MEMBERS),
  v.check(({ start }) => typeof start === 'number', 'it has no start'),
  v.check(({ start, end }) => (start ?? 0) <= (end ?? Infinity), 'it ends before it begins'),
  v.transform(({ start, end }) => ({ start: start ?? Infinity, end: end ?? Infinity })),
)

/** Checks for RFC 3339. `Date.parse` also accepts `2026`, and reads February 30 as a day in March. */
function isInstant(value: string): boolean {
  const form = /^(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/.exec(
    value,
  )
  const day = Date.parse(`${form?.[1]}T00:00:00Z`)
  if (!form || Number.isNaN(day) || Number.isNaN(Date.parse(value))) return false
  return new Date(day).toISOString().startsWith(form[1] ?? '')
}
