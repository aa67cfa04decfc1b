import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatChecksums, parseChecksums } from '../../src/bundle/checksums.ts'
import { MAX_CHECKSUMS } from '../../src/bundle/names.ts'
import { AirgapError } from '../../src/errors.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { anyText } from '../support/any-text.ts'

const hex = fc.stringMatching(/^[0-9a-f]{64}$/)
const line = fc.oneof(
  hex.map((digits) => [`blobs/sha256/${digits}`, `sha256:${digits}`] as [string, Digest]),
  fc.tuple(
    fc.constantFrom('airgap.json', 'oci-layout', 'index.json', 'manifest.json'),
    hex.map((digits): Digest => `sha256:${digits}`),
  ),
)
const lists = fc.uniqueArray(line, { selector: ([name]) => name, minLength: 1, maxLength: 20 })

const A = 'a'.repeat(64)
const B = 'b'.repeat(64)

function refusal(text: string | Uint8Array): string {
  try {
    parseChecksums(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
    return 'accepted'
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    expect((error as AirgapError).code).toBe('INVALID_CONTENT')
    return (error as AirgapError).message
  }
}

describe('SHA256SUMS', () => {
  test('is read as it was written, whatever the order in which it was put together', () => {
    fc.assert(
      fc.property(lists, (entries) => {
        const bytes = formatChecksums(entries)
        const read = parseChecksums(bytes)
        expect(new Map(read)).toEqual(new Map(entries))
        expect(formatChecksums(read)).toEqual(bytes)
        expect([...read.keys()]).toEqual(entries.map(([name]) => name).toSorted())
      }),
    )
  })

  test('of arbitrary text is refused, or is exactly what the writer makes', () => {
    const text = fc.oneof(
      anyText(),
      fc.string({
        unit: fc.constantFrom(
          A,
          B,
          ' ',
          '  ',
          '\n',
          '\r\n',
          'airgap.json',
          'index.json',
          `blobs/sha256/${A}`,
          '\\',
        ),
      }),
    )
    fc.assert(
      fc.property(text, (one) => {
        const bytes = Buffer.from(one)
        if (refusal(bytes) === 'accepted') expect(formatChecksums(parseChecksums(bytes))).toEqual(bytes)
      }),
      { numRuns: 2000 },
    )
  })

  test('with one byte changed is refused, or lists something else', () => {
    fc.assert(
      fc.property(lists, fc.nat(), fc.integer({ min: 1, max: 255 }), (entries, at, flip) => {
        const bytes = formatChecksums(entries)
        const altered = Buffer.from(bytes)
        altered[at % bytes.length] = (altered[at % bytes.length] ?? 0) ^ flip
        if (refusal(altered) === 'accepted') expect(formatChecksums(parseChecksums(altered))).toEqual(altered)
      }),
    )
  })

  test.each([
    ['', 'line 1: the list is empty'],
    [`${A}  airgap.json`, 'the last line has no end'],
    [`${A} airgap.json\n`, 'line 1: it is not 64 digits, two spaces and a name'],
    [`${A} *airgap.json\n`, 'line 1: it is not 64 digits'],
    [`\\${A}  airgap.json\n`, 'line 1: it is not 64 digits'],
    [`${A}  airgap.json\r\n`, 'line 1: it is not 64 digits'],
    [`\ufeff${A}  airgap.json\n`, 'line 1: it is not 64 digits'],
    [`# comment\n${A}  airgap.json\n`, 'line 1: it is not 64 digits'],
    [`${A.toUpperCase()}  airgap.json\n`, 'line 1: it is not 64 digits'],
    [`${A}  airgap.json\n\n`, 'line 2: it is not 64 digits'],
    [`${A}  airgap.json \n`, 'line 1: it is not 64 digits'],
    [`${A}  airgap.json\0\n`, 'line 1: it is not 64 digits'],
    [`${A}  ./airgap.json\n`, './airgap.json is not an entry of a bundle'],
    [`${A}  /etc/passwd\n`, '/etc/passwd is not an entry of a bundle'],
    [`${A}  blobs/sha256/../../${A}\n`, 'is not an entry of a bundle'],
    [`${A}  blobs/sha256/${A}/x\n`, 'is not an entry of a bundle'],
    [`${A}  blobs/sha512/${A}\n`, 'is not an entry of a bundle'],
    [`${A}  SHA256SUMS\n`, 'SHA256SUMS is not an entry of a bundle'],
    [`${A}  SHA256SUMS.sig\n`, 'SHA256SUMS.sig is not an entry of a bundle'],
    [`${A}  SHA256SUMS.sigstore.json\n`, 'SHA256SUMS.sigstore.json is not an entry of a bundle'],
    [`${A}  AIRGAP.json\n`, 'AIRGAP.json is not an entry of a bundle'],
    [`${A}  blobs/sha256/${B}\n`, 'is listed with another digest than in its name'],
    [`${A}  airgap.json\n${A}  airgap.json\n`, 'line 2: airgap.json is listed twice'],
    [`${A}  airgap.json\n${B}  airgap.json\n`, 'line 2: airgap.json is listed twice'],
    [`${A}  index.json\n${A}  airgap.json\n`, 'line 2: airgap.json is out of order'],
  ])('%j is refused', (text, reason) => {
    expect(refusal(text)).toContain(reason)
  })

  test('larger than 64 MiB is refused, and 64 MiB of line ends need no memory', () => {
    expect(refusal(Buffer.alloc(MAX_CHECKSUMS + 1, '\n'))).toContain('larger than')
    expect(refusal(Buffer.alloc(MAX_CHECKSUMS, '\n'))).toContain('line 1: it is not 64 digits')
  })

  test('is read where it lies inside a larger buffer', () => {
    const text = `${A}  airgap.json\n`
    const buffer = Buffer.from(`xx${text}yy`)
    expect(parseChecksums(buffer.subarray(2, 2 + text.length)).get('airgap.json')).toBe(`sha256:${A}`)
  })
})
