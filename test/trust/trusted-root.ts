import { createHash } from 'node:crypto'
import { HashAlgorithm, PublicKeyDetails, TrustedRoot } from '@sigstore/protobuf-specs'

/** A log, by its address and its public key (P-256, SPKI). */
export interface TrustedLog {
  baseUrl: string
  publicKey: Buffer
}

/** An authority, by its address and its certificates (DER), the issuing one first. */
export interface TrustedAuthority {
  uri: string
  certificates: readonly Uint8Array[]
}

/** What trusted_root.json says of a Sigstore instance that has been there from 1970 on, as JSON values. */
export function trustedRootOf(parts: {
  log: TrustedLog
  ctLog: TrustedLog
  ca: TrustedAuthority
  tsa: TrustedAuthority
}): unknown {
  const validFor = { start: new Date(0), end: undefined }
  const operator = 'example.internal'
  const log = ({ baseUrl, publicKey }: TrustedLog) => ({
    baseUrl,
    hashAlgorithm: HashAlgorithm.SHA2_256,
    publicKey: { rawBytes: publicKey, keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256, validFor },
    logId: { keyId: createHash('sha256').update(publicKey).digest() },
    checkpointKeyId: undefined,
    operator,
  })
  const authority = ({ uri, certificates }: TrustedAuthority) => ({
    subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
    uri,
    certChain: { certificates: certificates.map((der) => ({ rawBytes: Buffer.from(der) })) },
    validFor,
    operator,
  })
  return TrustedRoot.toJSON({
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [log(parts.log)],
    certificateAuthorities: [authority(parts.ca)],
    ctlogs: [log(parts.ctLog)],
    timestampAuthorities: [authority(parts.tsa)],
  })
}
