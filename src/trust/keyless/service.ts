/** One request to a service that takes part in a signature. */
export interface ServiceRequest {
  /** As people call it: `Fulcio`. */
  service: string
  /** Completes "cannot …": `get a certificate`. */
  operation: string
  method: 'GET' | 'POST'
  url: URL
  headers?: Record<string, string> | undefined
  authorization?: string | undefined
  body?: string | Uint8Array | undefined
  /** What is secret in the body: no message quotes it. */
  secrets?: readonly string[] | undefined
  /** The media type that an answer must have; any where left out. */
  answers?: string | undefined
  /** The most that an answer may have, in bytes. */
  limit: number
  /** How long the answer may take, where that is longer than a peer may be silent. Milliseconds. */
  patienceMs?: number | undefined
  /** What is no success and is returned, too, without its body. */
  mayAnswer?: readonly number[] | undefined
  /** What to do where the service refuses (4xx). */
  hint?: string | undefined
}

export interface ServiceAnswer {
  status: number
  body: Buffer
  /** The Location header. */
  location: string | undefined
}

/**
 * Asks a service. What may pass by itself is tried again, a few times. No redirect is followed: what is sent is for
 * this service alone.
 * @throws AirgapError `REGISTRY` for every status but success and `mayAnswer`, and for an answer of another media type or
 *   beyond the limit; `UNAUTHORIZED` and `DENIED` for 401 and 403; `NETWORK`, `TLS`; the signal's reason.
 */
export type AskService = (request: ServiceRequest) => Promise<ServiceAnswer>

/** A URL below a service's own, whatever that ends in. */
export function below(base: URL, path: string): URL {
  return new URL(`${base.origin}${base.pathname.replace(/\/+$/, '')}${path}`)
}

/** A service in words: its name and its URL, without user part and query. */
export function serviceName(service: string, url: URL): string {
  return `${service} (${url.origin}${url.pathname.replace(/\/$/, '')})`
}
