import fc from 'fast-check'

/** Any character, and some of those that look like one and are several. */
const CHARACTER = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0x9f }) },
  { weight: 2, arbitrary: fc.integer({ min: 0xa0, max: 0xd7ff }) },
  { weight: 1, arbitrary: fc.integer({ min: 0xe000, max: 0x10ffff }) },
)
const UNIT = fc.oneof(
  { weight: 15, arbitrary: CHARACTER.map((code) => String.fromCodePoint(code)) },
  { weight: 1, arbitrary: fc.constantFrom('e\u0301', '👩‍💻', '🇨🇭', '\u1100\u1161') },
)

/**
 * Any well-formed text. fast-check's own `binary` and `grapheme` do this, too, and take two seconds of every process for
 * a table of all characters.
 */
export function anyText(constraints: Omit<fc.StringConstraints, 'unit'> = {}): fc.Arbitrary<string> {
  return fc.string({ ...constraints, unit: UNIT })
}
