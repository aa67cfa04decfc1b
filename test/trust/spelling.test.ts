import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { CERTIFICATE_BUNDLE_SIZE, spellCertificateBundle } from '../../src/trust/keyless/spelling.ts'
import { makeSigstore } from './sigstore.ts'

let json: Buffer
let spelled: Buffer

beforeAll(async () => {
  const sigstore = await makeSigstore()
  json = await sigstore.sign(Buffer.from('some bytes'), { withTimestamp: true })
  spelled = spellCertificateBundle(json)
})

describe('the one spelling of a bundle with a certificate', () => {
  test('is the JSON on one line, blanks, and a newline, of a size that is known beforehand', () => {
    expect(spelled.length).toBe(CERTIFICATE_BUNDLE_SIZE)
    const text = spelled.toString()
    const line = JSON.stringify(JSON.parse(text))
    expect(line).toMatch(/^\{"mediaType":"application\/vnd\.dev\.sigstore\.bundle\.v0\.3\+json","v/)
    const blanks = ' '.repeat(65_535 - Buffer.byteLength(line))
    expect(text === `${line}${blanks}\n`).toBe(true)
    expect(JSON.parse(text)).toEqual(JSON.parse(json.toString()))
    expect(spellCertificateBundle(spelled).equals(spelled)).toBe(true)
  })

  test('is reached from every other one, and is none of them', () => {
    const value = JSON.parse(json.toString()) as Record<string, unknown>
    const others = [
      JSON.stringify(value, null, 2),
      JSON.stringify(Object.fromEntries(Object.entries(value).toReversed())),
      JSON.stringify({ ...value, extra: 'nobody has signed this' }),
      ` ${json.toString()}`,
      `${json.toString()}\t`,
      json.toString().replace('"mediaType"', '"media\\u0054ype"'),
      spelled.toString().replace(/ \n$/, '\n '),
      spelled.toString().slice(0, -1),
      `${spelled.toString()} `,
    ]
    for (const other of others) {
      expect(spellCertificateBundle(Buffer.from(other)).equals(spelled), other.slice(0, 80)).toBe(true)
      expect(Buffer.from(other).equals(spelled)).toBe(false)
    }
  })

  test('is one for whatever is a bundle still after a change', () => {
    fc.assert(
      fc.property(fc.nat(json.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
        const changed = Buffer.from(spelled)
        changed[at]! ^= bits
        try {
          const again = spellCertificateBundle(changed)
          expect(spellCertificateBundle(again).equals(again)).toBe(true)
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_CONTENT' })
        }
      }),
      { numRuns: 60 },
    )
  })

  test('is refused to what is no bundle, or has no room', () => {
    const value = JSON.parse(json.toString()) as { verificationMaterial: Record<string, unknown> }
    const timestamp = { signedTimestamp: Buffer.alloc(50_000).toString('base64') }
    const large = {
      ...value,
      verificationMaterial: {
        ...value.verificationMaterial,
        timestampVerificationData: { rfc3161Timestamps: [timestamp] },
      },
    }
    for (const text of ['', '{}', '[]', 'null', '{"mediaType":1}', JSON.stringify(large)]) {
      expect(() => spellCertificateBundle(Buffer.from(text)), text.slice(0, 40)).toThrow(
        expect.objectContaining({ code: 'INVALID_CONTENT' }),
      )
    }
    expect(() => spellCertificateBundle(Buffer.from(JSON.stringify(large)))).toThrow(/room for 65535/)
  })
})
