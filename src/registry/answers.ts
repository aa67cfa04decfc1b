import { entriesIn } from './faults/quote.ts'
import type { AuthState } from './net/http-errors.ts'

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
