/**
 * For every ECDSA signature (r, s), (r, n-s) verifies too. Returns the one with the lower s, so that each signature has
 * only one encoding.
 *
 * @param der an ECDSA signature (RFC 3279 § 2.2.3). Anything else is returned unchanged; this does not verify it.
 * @param order the order n of the curve's base point, at most 384 bits long.
 */
export function lowS(der: Uint8Array, order: bigint): Buffer {
  const bytes = Buffer.from(der)
  const rest = bytes.subarray(2)
  const isSequence = bytes[0] === 0x30 && bytes[1] === rest.length && rest.length < 0x80
  const r = isSequence ? integerAt(rest, 0) : undefined
  const s = r && integerAt(rest, r.end)
  if (!r || !s || s.end !== rest.length || s.value <= order / 2n || s.value >= order) return bytes
  const content = Buffer.concat([rest.subarray(0, r.end), encode(order - s.value)])
  return Buffer.concat([Buffer.from([0x30, content.length]), content])
}

function integerAt(bytes: Buffer, at: number): { value: bigint; end: number } | undefined {
  const length = bytes[at + 1] ?? 0
  const content = bytes.subarray(at + 2, at + 2 + length)
  if (bytes[at] !== 0x02 || length === 0 || content.length !== length) return undefined
  return { value: BigInt(`0x${content.toString('hex')}`), end: at + 2 + length }
}

function encode(value: bigint): Buffer {
  const hex = value.toString(16)
  const content = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  const isNegative = ((content[0] ?? 0) & 0x80) !== 0
  const padded = isNegative ? Buffer.concat([Buffer.from([0]), content]) : content
  return Buffer.concat([Buffer.from([0x02, padded.length]), padded])
}
