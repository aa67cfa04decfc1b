/** The payload type of an envelope with a statement (in-toto attestation, spec/v1/envelope.md). */
export const IN_TOTO_PAYLOAD = 'application/vnd.in-toto+json'

/** The bytes of an envelope that are signed (secure-systems-lab/dsse, protocol.md § Signature Definition). */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const before = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `
  return Buffer.concat([Buffer.from(before), payload])
}
