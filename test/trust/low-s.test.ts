import { generateKeyPairSync, sign, verify } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { lowS } from '../../src/trust/low-s.ts'

/** Each curve with its order. */
const CURVES: [string, bigint][] = [
  ['P-256', 2n ** 256n - 2n ** 224n + 2n ** 192n - 0x4319055258e8617b0c46353d039cdaafn],
  ['P-384', 2n ** 384n - 0x389cb27e0bc8d220a7e5f24db74f58851313e695333ad68dn],
]

it.each(CURVES)(
  'of the two spellings of a signature one is left, and it is good: %s',
  (namedCurve, order) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
    let changed = 0
    for (let i = 0; i < 100; i += 1) {
      const content = Buffer.from(`content ${i}`)
      const der = sign('sha256', content, privateKey)
      const low = lowS(der, order)
      expect(verify('sha256', content, publicKey, low)).toBe(true)
      expect(lowS(low, order).equals(low)).toBe(true)
      if (!low.equals(der)) changed += 1
    }
    // Half of all signatures have the higher s; a hundred of one kind do not happen.
    expect(changed).toBeGreaterThan(0)
    expect(changed).toBeLessThan(100)
  },
)

it('leaves everything that is no such signature as it is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(...CURVES), (bytes, [, order]) => {
      const result = lowS(bytes, order)
      if (bytes[0] !== 0x30) expect(result.equals(Buffer.from(bytes))).toBe(true)
    }),
  )
})
