import type { Facts } from '../errors.ts'
import type { Hint } from '../hints.ts'

/** A client's reports while it works. The caller decides whether and how to show them. */
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
  /**
   * A host asked to be left alone, or cannot be reached: nothing is sent there until `until`. Once for all waiting
   * requests.
   */
  | {
      type: 'held'
      /** The registry, or the host of its token service or of its storage. */
      registry: string
      /** 429 or 503; undefined if it cannot be reached. */
      status: number | undefined
      /** Begins with the host: `registry.example is busy (429 Too Many Requests)`. */
      reason: string
      delayMs: number
      /** Milliseconds since 1970. */
      until: number
    }
  /** A host is given up for now, and tried again later. What other hosts have is read there. */
  | { type: 'unavailable'; registry: string; reason: string }
  /** A host gets fewer simultaneous transfers, because it pushes back. Once for each host. */
  | { type: 'slower'; registry: string; transfers: number; before: number }
  /** Little is left of a registry's pull limit, as Docker Hub reports it. */
  | {
      type: 'quota'
      registry: string
      remaining: number
      limit: number | undefined
      /** The time that the limit counts over. */
      windowSeconds: number | undefined
      /** Who it is counted for: an address, or an account's number. */
      source: string | undefined
    }
  /**
   * A host, `HOST[:PORT]`, that is contacted without encryption, or without checking its certificate. Once for each
   * host.
   */
  | { type: 'insecure'; registry: string; how: 'plain-http' | 'unverified' }
  /** How a host is reached, before the first request. Once for each host. */
  | {
      type: 'way'
      /** `HOST[:PORT]` */
      host: string
      /** `HOST:PORT` of the proxy, and the setting that names it; neither for a direct connection. */
      proxy?: string
      proxyFrom?: string
      /** Files of CAs that are trusted besides the usual roots. */
      caFiles: string[]
      /** The file of the client certificate, which is presented if the host asks. */
      clientCertificate?: string
    }
  | { type: 'note'; message: string; hints?: readonly Hint[] }
  /** `clock`: the warning is about a host's clock, which is this far behind this machine's, or ahead if negative. */
  | { type: 'warning'; message: string; hints?: readonly Hint[]; clock?: { host: string; behindMs: number } }

export type OnNotice = (notice: RegistryNotice) => void

/** What an error message names: the registry, the operation, and the image. */
export interface Context {
  registry: string
  /** Completes "cannot …". */
  operation: string
  /** The image or repository of the operation, as messages name it. */
  subject?: string
}

/** The operation and the subject, for an error. */
export function during({ operation, subject }: Context): Pick<Facts, 'doing' | 'subject'> {
  return { doing: operation, subject }
}
