import { AirgapError, messageOf, type ErrorCode, type Problem } from '../errors.ts'

/**
 * One error for everything that failed. A single failure is passed on as it is.
 * @param summary the message when there are several, like `3 of 20 images could not be resolved`.
 */
export function combineFailures(failures: { name: string; error: unknown }[], summary: string): unknown {
  const [first] = failures
  if (failures.length <= 1) return first?.error
  const codes = new Set(failures.map(({ error }) => (error instanceof AirgapError ? error.code : 'INTERNAL')))
  const [only] = codes
  const code: ErrorCode = codes.size === 1 && only !== undefined ? only : mixedCode(codes)
  const problems: Problem[] = failures.flatMap(({ name, error }) => [
    { entry: name, message: messageOf(error) },
    ...(error instanceof AirgapError ? error.problems : []),
  ])
  const fault = failures.find(({ error }) => !(error instanceof AirgapError))
  const hints = new Set(
    failures.flatMap(({ error }) => (error instanceof AirgapError ? (error.hint ?? []) : [])),
  )
  return new AirgapError(code, summary, {
    problems,
    hint: [...hints].join('\n') || undefined,
    cause: fault?.error,
  })
}

/** An unexpected fault must not hide behind expected ones; otherwise it is the registry's answers that failed. */
function mixedCode(codes: ReadonlySet<ErrorCode>): ErrorCode {
  if (codes.has('INTERNAL')) return 'INTERNAL'
  return 'REGISTRY'
}

/**
 * An image's fault as the registry's: content that a registry gave and that cannot be used is no bundle that failed
 * its verification. The message names the image.
 */
export function asRegistryFault(error: unknown, image: string): unknown {
  if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') return error
  const message = error.message.includes(image) ? error.message : `${image}: ${error.message}`
  return new AirgapError('UNSUPPORTED_CONTENT', message, {
    hint: error.hint,
    problems: error.problems,
    cause: error,
  })
}
