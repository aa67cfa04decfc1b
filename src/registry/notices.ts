/** What a client has to tell while it works; the caller decides how, and whether, to show it. */
export type RegistryNotice =
  | {
      type: 'retry'
      registry: string
      /** Completes "cannot …": `fetch the manifest docker.io/library/nginx:1.27`. */
      operation: string
      /** The attempt that has just failed, counted from 1. */
      attempt: number
      reason: string
      delayMs: number
    }
  /** A host, `HOST[:PORT]`, that is spoken to without encryption, or without checking its certificate. Once a host. */
  | { type: 'insecure'; registry: string; how: 'plain-http' | 'unverified' }
  /** How a host is reached, before the first request. Once a host. */
  | {
      type: 'way'
      /** `HOST[:PORT]` */
      host: string
      /** `HOST:PORT` of the proxy, and what names it; neither where the host is contacted directly. */
      proxy?: string
      proxyFrom?: string
      /** Files of authorities that are trusted besides the usual roots. */
      caFiles: string[]
      /** The file of the client certificate that is shown if the host asks. */
      clientCertificate?: string
    }
  | { type: 'warning'; message: string }

export type OnNotice = (notice: RegistryNotice) => void

/** What an error message needs to know: which registry, and what was being done to which image. */
export interface Context {
  registry: string
  /** Completes "cannot …". */
  operation: string
}
