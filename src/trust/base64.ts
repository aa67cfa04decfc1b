import * as v from 'valibot'

/**
 * Decodes base64 (RFC 4648 § 4) that is written in its one canonical way: standard alphabet, padded, no spare
 * bits, no white space, not empty. `Buffer.from` would skip whatever it does not know, so that two readers
 * could see different bytes in one text.
 *
 * @returns nothing when `text` is anything else.
 */
export function decodeBase64(text: string): Buffer | undefined {
  if (text === '') return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/** The same as a schema, of a text that is left as it is. */
export const base64Text = v.pipe(
  v.string('a base64 string is expected'),
  v.check((text) => decodeBase64(text) !== undefined, 'it is not canonical base64'),
)
