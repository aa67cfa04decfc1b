import { AirgapError, type Answer, type ErrorCode, type Refusal } from '../../errors.ts'
import { entriesIn } from './quote.ts'
import type { Hints } from '../../hints.ts'

/** @param body the answer's body, as far as it was read. */
export function answerFrom(body: Uint8Array, about: Pick<Answer, 'status' | 'path' | 'auth'>): Answer {
  return { ...about, errors: errorsIn(body), text: Buffer.from(body).toString('utf8') }
}

/** The registry's answer behind an error, if there is one. */
export function answerOf(error: unknown): Answer | undefined {
  return error instanceof AirgapError ? error.answer : undefined
}

/** The codes of the answer behind an error. */
export function codesOf(error: unknown): string[] {
  return answerOf(error)?.errors.map(({ code }) => code) ?? []
}

/** The entries of an OCI error body; none for any other body. */
export function errorsIn(body: Uint8Array): { code: string; message: string }[] {
  const entries = entriesIn(Buffer.from(body).toString('utf8')) ?? []
  return entries.slice(0, 10).map((entry) => {
    const { code, message } = (entry ?? {}) as { code?: unknown; message?: unknown }
    return { code: typeof code === 'string' ? code : '', message: typeof message === 'string' ? message : '' }
  })
}

/** The most bytes to read of an error's body. */
export const MAX_ERROR_BODY = 64 * 1024

/** The authentication that a request was sent with; it decides what a 401 means. */
export type AuthState = Stranger | Account

export interface Stranger {
  kind: 'none' | 'anonymous'
  /** Where credentials were searched for, and what was found there. */
  places?: readonly string[] | undefined
  /** Why credential helpers failed. */
  troubles?: readonly string[] | undefined
  /** When the token was issued, by the token service's clock. Milliseconds of `Date.now()`. */
  issuedAt?: number | undefined
}

/** A request with credentials. */
export interface Account {
  kind: 'basic' | 'token'
  /** Where they were found; undefined where they were given by the caller. */
  source: string | undefined
  /** Undefined where they name no user, like a bare access token. */
  username?: string | undefined
  issuedAt?: number | undefined
}

export function isAccount(auth: AuthState): auth is Account {
  return auth.kind === 'basic' || auth.kind === 'token'
}

export interface FailedAnswer {
  status: number
  /** Whether the request was a write. */
  isWrite?: boolean | undefined
  /** Whether it was to open an upload session. */
  isUpload?: boolean | undefined
  contentType: string
  retryAfter?: string | undefined
  /** Docker Hub's `ratelimit-limit`: `100;w=21600`. */
  rateLimit?: string | undefined
  /** The `Date` header. */
  date?: string | undefined
  body: Buffer
  /** The host that answered, where a redirect led elsewhere. */
  redirectedTo?: string | undefined
  /** The host that answered, where it is the registry's token service. */
  tokenService?: string | undefined
  auth: AuthState
}

/** What an answer means. */
export interface Meaning {
  code: ErrorCode
  /** In plain words; the message continues with who answered what. Empty when there is nothing to say. */
  cause: string
  hint?: Hints | undefined
  /** There is no such tag or digest. */
  isTagMissing?: boolean
  /** A retry would not help, even if the status looks as if it could. */
  refusal?: Refusal
}
