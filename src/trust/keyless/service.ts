/** A request to one of the signing services. */
export interface ServiceRequest {
  /** Name for people: `Fulcio`. */
  service: string
  /** Completes "cannot …": `get a certificate`. */
  operation: string
  method: 'GET' | 'POST'
  url: URL
  headers?: Record<string, string> | undefined
  authorization?: string | undefined
  body?: string | Uint8Array | undefined
  /** Secrets in the body, which must not appear in messages. */
  secrets?: readonly string[] | undefined
  /** The media type that the answer must have; any if not given. */
  answers?: string | undefined
  /** Maximum size of the answer, in bytes. */
  limit: number
  /** How long the answer may take in milliseconds, if longer than the usual timeout. */
  patienceMs?: number | undefined
  /** Error statuses that are returned too, without the body. */
  mayAnswer?: readonly number[] | undefined
  /** What to do if the service refuses (4xx). */
  hint?: string | undefined
}

export interface ServiceAnswer {
  status: number
  body: Buffer
  /** The Location header. */
  location: string | undefined
}

/**
 * Makes a request to a service. Retries temporary faults a few times. Does not follow redirects, because the request is
 * only for this service.
 * @throws AirgapError `REGISTRY` for every status except success and `mayAnswer`, and for an answer of another media
 *   type or above the limit; `UNAUTHORIZED` and `DENIED` for 401 and 403; `NETWORK`, `TLS`; the signal's reason.
 */
export type AskService = (request: ServiceRequest) => Promise<ServiceAnswer>

/** A URL below the service's own URL, with or without a slash at its end. */
export function below(base: URL, path: string): URL {
  return new URL(`${base.origin}${base.pathname.replace(/\/+$/, '')}${path}`)
}

/** A service for people: its name and its URL, without user part and query. */
export function serviceName(service: string, url: URL): string {
  return `${service} (${url.origin}${url.pathname.replace(/\/$/, '')})`
}
