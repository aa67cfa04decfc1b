import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { readCaFile } from './tls.ts'

/** Certificates for one host, as PEM text. */
export interface HostTls {
  /** Authorities to trust besides the default ones. */
  ca?: string | undefined
  /** A client certificate, with its chain. */
  cert?: string | undefined
  /** The key of the client certificate. */
  key?: string | undefined
}

/**
 * A TLS context for one host, which trusts Node's default roots, those of `caFile`, and the host's own.
 * @throws AirgapError `FILE` where the CA file is of no use.
 */
export function secureContextFor({ ca, cert, key }: HostTls, caFile: string | undefined): SecureContext {
  const files = caFile === undefined ? [] : readCaFile(caFile)
  return createSecureContext({
    ca: [...getCACertificates('default'), ...files, ...(ca === undefined ? [] : [ca])],
    cert,
    key,
  })
}
