import type { Digest } from '../oci/digest.ts'
import type { PublicKey } from './keys.ts'

/** A verified entry of a transparency log, as evidence. */
export interface LogEntry {
  /** Lower-case hexadecimal SHA-256 of the log's public key. */
  logId: string
  /**
   * The entry's index in the log, decimal: the one that the log promised, or else that of its proof, which counts
   * within a part of the log.
   */
  logIndex: string
  /** Seconds since 1970, if the log promised it with its signature. */
  integratedTime?: number | undefined
}

/** Made with a key that the caller named. */
export interface SignedByKey {
  kind: 'key'
  key: PublicKey
}

/** Made with a short-lived certificate from an authority in the caller's trusted root. */
export interface SignedByIdentity {
  kind: 'identity'
  /** The certificate's only subject alternative name: an e-mail address, a URI, or a user name. */
  identity: string
  /** The OpenID Connect issuer that vouched for that identity. */
  issuer: string
  /** The signing time by each verified witness (log or timestamp authority), in milliseconds since 1970. */
  times: readonly number[]
  logEntries: readonly LogEntry[]
  /** The trusted root that it was verified with: its file, and the SHA-256 of its bytes. */
  root: { source: string; digest: Digest }
}

export type SignedBy = SignedByKey | SignedByIdentity

/** A verified signature over a bundle's `SHA256SUMS`. */
export interface VerifiedSignature {
  /** The bundle entry or the file that contains it. */
  name: string
  form: 'sigstore-bundle' | 'raw'
  by: SignedBy
}
