import type { Digest } from '../oci/digest.ts'
import type { PublicKey } from './keys.ts'

/** An entry of a transparency log that was checked: what it says, as evidence. */
export interface LogEntry {
  /** Lower-case hexadecimal SHA-256 of the log's public key. */
  logId: string
  /**
   * The entry's place in the log, decimal: the one that the log has promised, or else the one that its proof is for, which
   * counts within a part of the log.
   */
  logIndex: string
  /** Seconds since 1970, where the log has promised it under its signature. */
  integratedTime?: number | undefined
}

/** Made with a key that the caller has named. */
export interface SignedByKey {
  kind: 'key'
  key: PublicKey
}

/** Made with a short-lived certificate that names somebody, by an authority of the caller's trusted root. */
export interface SignedByIdentity {
  kind: 'identity'
  /** The certificate's one subject alternative name: an e-mail address, a URI, or a user name. */
  identity: string
  /** Who has vouched for that identity: the OpenID Connect issuer. */
  issuer: string
  /** When it was signed, by each verified witness (log or timestamp authority). Milliseconds since 1970. */
  times: readonly number[]
  logEntries: readonly LogEntry[]
  /** The trusted root that it was checked with: its file, and the SHA-256 of its bytes. */
  root: { source: string; digest: Digest }
}

export type SignedBy = SignedByKey | SignedByIdentity

/** A signature over a bundle's `SHA256SUMS` that was verified. */
export interface VerifiedSignature {
  /** The entry of the bundle or the file that holds it. */
  name: string
  form: 'sigstore-bundle' | 'raw'
  by: SignedBy
}
