import type { Facts } from '../errors.ts'
import type { Hint } from '../hints.ts'

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
  /** A host asked to be left alone, or cannot be reached: until then nobody sends there. Once for all that wait. */
  | {
      type: 'held'
      /** The registry, or the host of its token service or of its storage. */
      registry: string
      /** 429 or 503; undefined where it cannot be reached. */
      status: number | undefined
      /** Begins with the host: `registry.example is busy (429 Too Many Requests)`. */
      reason: string
      delayMs: number
      /** Milliseconds since 1970. */
      until: number
    }
  /** A host is given up for now, and asked again a while later. What can be had elsewhere is. */
  | { type: 'unavailable'; registry: string; reason: string }
  /** A host gets fewer transfers at a time, because it pushes back. Once a host. */
  | { type: 'slower'; registry: string; transfers: number; before: number }
  /** Little is left of what a registry allows, as Docker Hub tells. */
  | {
      type: 'quota'
      registry: string
      remaining: number
      limit: number | undefined
      /** What the limit counts over. */
      windowSeconds: number | undefined
      /** Whom it is counted for: an address, or an account's number. */
      source: string | undefined
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
  | { type: 'note'; message: string; hints?: readonly Hint[] }
  /** `clock`: it is about a host whose clock is so far behind this machine's; ahead of it where that is negative. */
  | { type: 'warning'; message: string; hints?: readonly Hint[]; clock?: { host: string; behindMs: number } }

export type OnNotice = (notice: RegistryNotice) => void

/** What an error message needs to know: which registry, and what was being done to which image. */
export interface Context {
  registry: string
  /** Completes "cannot …". */
  operation: string
  /** The image or repository that it is done to, as messages name it. */
  subject?: string
}

/** What an error knows of what was being done. */
export function during({ operation, subject }: Context): Pick<Facts, 'doing' | 'subject'> {
  return { doing: operation, subject }
}
