import { AirgapError, messageOf, type ErrorCode, type Problem } from '../errors.ts'
import { inParallel } from './parallel.ts'

/**
 * Works on every image, a bounded number at a time. One that fails does not stop the others: what failed is reported
 * together when all have ended. Being called off does stop them.
 *
 * @param faultOf makes of what was thrown the error that the user gets.
 * @param summary the message when several have failed, behind `3 of 20 images`.
 */
export async function forEachImage<T, R>(
  images: readonly T[],
  options: { concurrency?: number; signal?: AbortSignal },
  words: {
    nameOf: (image: T) => string
    faultOf: (error: unknown, name: string) => unknown
    summary: string
  },
  work: (image: T) => Promise<R>,
): Promise<R[]> {
  const failures: { name: string; error: unknown }[] = []
  const results = await inParallel(images, options, async (image): Promise<{ value: R } | undefined> => {
    try {
      return { value: await work(image) }
    } catch (error) {
      if (isAbort(error)) throw error
      const name = words.nameOf(image)
      failures.push({ name, error: words.faultOf(error, name) })
      return undefined
    }
  })
  if (failures.length > 0) {
    throw combineFailures(failures, `${failures.length} of ${images.length} images ${words.summary}`)
  }
  return results.flatMap((result) => (result ? [result.value] : []))
}

/** Whether this is the work being called off, rather than a fault. */
export function isAbort(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'AbortError' || (error instanceof AirgapError && error.code === 'INTERRUPTED'))
  )
}

/**
 * One error for everything that failed. A single failure is passed on as it is.
 * @param summary the message when there are several, like `3 of 20 images could not be resolved`.
 */
function combineFailures(failures: { name: string; error: unknown }[], summary: string): unknown {
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
    hint: [...hints].join('\n\n') || undefined,
    cause: fault?.error,
  })
}

/** An unexpected fault must not hide behind expected ones; otherwise it is the registry's answers that failed. */
function mixedCode(codes: ReadonlySet<ErrorCode>): ErrorCode {
  if (codes.has('INTERNAL')) return 'INTERNAL'
  return 'REGISTRY'
}

const UNUSABLE =
  'Have the image built and pushed there again with a current tool, or leave it out with --exclude.'

/**
 * An image's fault as the registry's: content that a registry gave and that cannot be used is no bundle that failed
 * its verification. The message names the image.
 *
 * @param hint for those that have none.
 */
export function asRegistryFault(error: unknown, image: string, hint = UNUSABLE): unknown {
  if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') return error
  const message = error.message.includes(image) ? error.message : `${image}: ${error.message}`
  return new AirgapError('UNSUPPORTED_CONTENT', message, {
    hint: error.hint ?? hint,
    problems: error.problems,
    cause: error,
  })
}
