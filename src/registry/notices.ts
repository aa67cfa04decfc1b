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
  /** Spoken to without encryption, or without checking the certificate. Once a registry. */
  | { type: 'insecure'; registry: string }
  | { type: 'warning'; message: string }

export type OnNotice = (notice: RegistryNotice) => void

/** What an error message needs to know: which registry, and what was being done to which image. */
export interface Context {
  registry: string
  /** Completes "cannot …". */
  operation: string
}
