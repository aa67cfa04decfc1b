/** What holds for TLS with one host, and for no other: not for where it redirects to, and not for its token service. */
export interface HostTls {
  /** Certificates of authorities to trust besides the usual ones, PEM, one a text. */
  ca?: readonly string[] | undefined
  /** The client certificate with its chain, PEM. Needs `key`. */
  cert?: string | undefined
  /** The client certificate's private key, PEM, not encrypted. */
  key?: string | undefined
  /** The host's certificate is not checked. */
  skipVerify?: boolean | undefined
  /** Where these come from, as people are told: paths of files. */
  files?: { ca?: readonly string[] | undefined; cert?: string | undefined } | undefined
}

/** {@link HostTls} by `HOST` (any port) or `HOST:PORT`; the one with the port comes first. */
export type HostTlsTable = Readonly<Record<string, HostTls>>
