import type { ErrorCode, Refusal } from '../../errors.ts'
import { entriesIn } from './quote.ts'

/** What a registry has answered that became an error: for those who can make more of it than its text. */
export interface RefusedAnswer {
  status: number
  /** The registry's codes and messages, at most ten (distribution-spec § Error Codes). */
  errors: { code: string; message: string }[]
  /** The body as text, as far as it was read. Foreign: not to be shown as it is. */
  text: string
  /** Of the URL that was asked for. */
  path: string
  /** With what the request went out. */
  auth: AuthState['kind']
}

const answers = new WeakMap<Error, RefusedAnswer>()
const MAX_CAUSES = 5

/** Remembers the answer behind an error. Returns the error. */
export function noteAnswer<E extends Error>(
  error: E,
  { body, ...answer }: Omit<RefusedAnswer, 'errors' | 'text'> & { body: Uint8Array },
): E {
  answers.set(error, { ...answer, errors: errorsIn(body), text: Buffer.from(body).toString('utf8') })
  return error
}

/** What {@link noteAnswer} remembered of an error or of one that has caused it. */
export function answerOf(error: unknown): RefusedAnswer | undefined {
  let current = error
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
    const found = answers.get(current)
    if (found) return found
    current = current.cause
  }
  return undefined
}

/** The codes of the answer behind an error. */
export function codesOf(error: unknown): string[] {
  return answerOf(error)?.errors.map(({ code }) => code) ?? []
}

/** The entries of an OCI error body; none where it is something else. */
export function errorsIn(body: Uint8Array): { code: string; message: string }[] {
  const entries = entriesIn(Buffer.from(body).toString('utf8')) ?? []
  return entries.slice(0, 10).map((entry) => {
    const { code, message } = (entry ?? {}) as { code?: unknown; message?: unknown }
    return { code: typeof code === 'string' ? code : '', message: typeof message === 'string' ? message : '' }
  })
}

/** The most that is read of an error's body. */
export const MAX_ERROR_BODY = 64 * 1024

/** With what a request went out, which decides what a 401 to it means. */
export type AuthState = Stranger | Account

export interface Stranger {
  kind: 'none' | 'anonymous'
  /** Where credentials were looked for, and what was found there. */
  places?: readonly string[] | undefined
  /** Why a credential helper has not answered. */
  troubles?: readonly string[] | undefined
  /** When the token was issued, by the token service's clock. Milliseconds of `Date.now()`. */
  issuedAt?: number | undefined
}

/** Somebody's credentials. */
export interface Account {
  kind: 'basic' | 'token'
  /** Where they were found; nothing where somebody has just given them. */
  source: string | undefined
  /** Nothing where they name nobody, as an access token alone. */
  username?: string | undefined
  issuedAt?: number | undefined
}

export function isAccount(auth: AuthState): auth is Account {
  return auth.kind === 'basic' || auth.kind === 'token'
}

export interface FailedAnswer {
  status: number
  /** Whether the request was to change something. */
  isWrite?: boolean | undefined
  /** Whether it was to open an upload. */
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
  /** In plain words; the message goes on with who answered what. Empty when there is nothing to say. */
  cause: string
  hint?: string | undefined
  /** Asking again changes nothing, though the status may look as if it could. */
  refusal?: Refusal
}
