import { generateKeyPairSync, sign, verify } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { lowS } from '../../src/trust/low-s.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

it('of the two spellings of a signature one is left, and it is good', () => {
  let changed = 0
  for (let i = 0; i < 200; i += 1) {
    const content = Buffer.from(`content ${i}`)
    const der = sign('sha256', content, privateKey)
    const low = lowS(der)
    expect(verify('sha256', content, publicKey, low)).toBe(true)
    expect(lowS(low).equals(low)).toBe(true)
    if (!low.equals(der)) changed += 1
  }
  // Half of all signatures have the higher s; two hundred of one kind do not happen.
  expect(changed).toBeGreaterThan(0)
  expect(changed).toBeLessThan(200)
})

it('leaves everything that is no such signature as it is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const result = lowS(bytes)
      if (bytes[0] !== 0x30) expect(result.equals(Buffer.from(bytes))).toBe(true)
    }),
  )
})
