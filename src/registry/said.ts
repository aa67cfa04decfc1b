/** What a registry said in a refusal, for code that has to tell one refusal from another. */
export interface Said {
  status: number
  /** The codes of an OCI error body (distribution-spec § Error Codes), a few at most. */
  codes: readonly string[]
  /** The body as text, as far as it was read. Foreign: not to be shown as it is. */
  text: string
}

const MOST_CODES = 16
const answers = new WeakMap<Error, Said>()

/** Notes the answer that an error stands for. Returns the error. */
export function noteSaid<E extends Error>(error: E, status: number, body: Buffer): E {
  const text = body.toString('utf8')
  answers.set(error, { status, codes: codesIn(text), text })
  return error
}

/** The answer that an error stands for, if it is one of a registry; also where another error was put around it. */
export function saidIn(error: unknown): Said | undefined {
  for (let inner = error, depth = 0; inner instanceof Error && depth < 4; inner = inner.cause, depth += 1) {
    const said = answers.get(inner)
    if (said) return said
  }
  return undefined
}

function codesIn(text: string): string[] {
  try {
    const { errors } = JSON.parse(text) as { errors?: unknown }
    if (!Array.isArray(errors)) return []
    return errors.slice(0, MOST_CODES).flatMap((entry: unknown) => {
      const code = typeof entry === 'object' && entry !== null && 'code' in entry ? entry.code : undefined
      return typeof code === 'string' ? [code] : []
    })
  } catch {
    // A page of a proxy, or nothing: no codes.
    return []
  }
}
