import { AirgapError, systemCode, type ErrorCode, type Problem } from '../errors.ts'
import type { Hint } from '../hints.ts'
import type { OnEvent } from './events.ts'
import { inParallel } from './parallel.ts'

/** An image, or a part of it, that failed. */
export interface ImageFailure {
  source: string
  error: AirgapError
  /** Which part of the image; left out if the image as a whole failed. */
  part?: string
}

/**
 * Errors of one image, or of the registry that it comes from or goes to: other images can still succeed. All other errors
 * (files, the disk, wrong arguments, bugs, cancellation) concern everything.
 */
const OF_ONE_IMAGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NETWORK',
  'TLS',
  'REGISTRY',
  'NOT_FOUND',
  'RATE_LIMITED',
  'CONTENT_MISMATCH',
  'UNSUPPORTED_CONTENT',
  'PLATFORM_MISSING',
  'UNAUTHORIZED',
  'DENIED',
  'CREDENTIALS',
  'INVALID_LOCK',
  'TAG_WOULD_MOVE',
  'UPSTREAM_NOT_VERIFIED',
])

/** Whether an error concerns one image only, so that the work on the others can continue. */
export function isOfOneImage(error: unknown): error is AirgapError {
  return error instanceof AirgapError && OF_ONE_IMAGE.has(error.code)
}

/** Whether the content exists, but a policy of the registry lets nobody read it. */
export function isHeldBack(error: unknown): error is AirgapError {
  return error instanceof AirgapError && error.refusal?.kind === 'held-back'
}

/** Whether this means that the work was cancelled, rather than that it failed. */
export function isAbort(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'AbortError' || (error instanceof AirgapError && error.code === 'INTERRUPTED'))
  )
}

/**
 * Runs `work` on every item, a bounded number at a time. An error that concerns one item does not stop the others; any
 * other error does, and is thrown.
 *
 * @returns results and failures, both in the order of the items.
 * @throws the first error that concerns everything, or the signal's reason.
 */
export async function tryEach<T, R>(
  items: readonly T[],
  options: {
    concurrency?: number | undefined
    signal?: AbortSignal | undefined
    /** Called for each failure when it happens. */
    onFailed?: (item: T, error: AirgapError) => void
  },
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<{ results: R[]; failed: { item: T; error: AirgapError }[] }> {
  type Outcome = { value: R } | { item: T; error: AirgapError }
  const all = await inParallel(items, options, async (item, signal): Promise<Outcome> => {
    try {
      return { value: await work(item, signal) }
    } catch (error) {
      // An item that was cancelled because of another one has not failed itself.
      if (signal.aborted || !isOfOneImage(error)) throw error
      options.onFailed?.(item, error)
      return { item, error }
    }
  })
  return {
    results: all.flatMap((one) => ('value' in one ? [one.value] : [])),
    failed: all.flatMap((one) => ('error' in one ? [one] : [])),
  }
}

/**
 * Runs `work` on every image, as {@link tryEach} does. Of several that fail for the same reason, the first is reported at
 * once.
 *
 * @param faultOf turns what was thrown into the error that the user gets.
 * @param summary how the message continues after `20 of 20 images`, if all of several fail.
 * @throws AirgapError when all failed, unless `mayAllFail`: the only one's error, or one that lists all of them.
 */
export async function forEachImage<T, R>(
  images: readonly T[],
  options: {
    concurrency?: number | undefined
    signal?: AbortSignal | undefined
    onEvent?: OnEvent | undefined
    mayAllFail?: boolean | undefined
  },
  words: {
    nameOf: (image: T) => string
    faultOf: (error: unknown, name: string) => unknown
    summary: string
  },
  work: (image: T) => Promise<R>,
): Promise<{ results: R[]; failed: ImageFailure[] }> {
  const { onEvent, mayAllFail = false, ...others } = options
  const told = new Set<string>()
  const onFailed = (image: T, error: AirgapError): void => {
    const cause = likeness(error)
    if ((images.length === 1 && !mayAllFail) || told.has(cause)) return
    told.add(cause)
    tellFailure(onEvent, { source: words.nameOf(image), error })
  }
  const { results, failed } = await tryEach(images, { ...others, onFailed }, async (image) => {
    try {
      return await work(image)
    } catch (error) {
      throw words.faultOf(error, words.nameOf(image))
    }
  })
  const failures = failed.map(({ item, error }) => ({ source: words.nameOf(item), error }))
  if (failures.length > 0 && results.length === 0 && !mayAllFail) {
    throw allFailed(failures, `${failures.length} of ${images.length} images ${words.summary}`)
  }
  return { results, failed: failures }
}

/**
 * A string that is equal for errors with the same cause. Errors from a host have the same cause if the host failed in the
 * same way, whatever was asked of it. Other errors have the same cause only if they say the same.
 */
export function likeness({ code, reason, origin, refusal, answer, cause }: AirgapError): string {
  if (!origin && !answer) return JSON.stringify([code, reason])
  const { host } = origin ?? {}
  if (origin?.isOfHost === true) return JSON.stringify([code, host])
  const codes = answer?.errors.map((said) => said.code)
  return JSON.stringify([code, host, origin?.status ?? answer?.status, refusal, codes, systemCode(cause)])
}

/** How many parts of an image are named that failed for the same reason. */
const MAX_PARTS = 5

/** The message without the image's name. If it is about another place, such as a mirror, it names that one. */
function causeOf({ source, error: { subject, reason, message } }: ImageFailure): string {
  if (subject === undefined) return message
  const digest = /@sha256:[0-9a-f]{64}$/.exec(subject)?.[0] ?? ''
  // With another digest, a part of the image may be meant.
  const isSame = withoutTag(subject) === withoutTag(source) && source.endsWith(digest)
  return isSame ? reason : `${subject}: ${reason}`
}

function withoutTag(reference: string): string {
  return reference.replace(/@sha256:[0-9a-f]{64}$/, '').replace(/:[^/:]*$/, '')
}

/** Joins the parts of an image that failed for the same reason into one failure. */
export function groupAlike(failures: readonly ImageFailure[]): ImageFailure[] {
  const groups = Map.groupBy(failures, ({ source, error }) => `${source} ${likeness(error)}`)
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    const parts = group.flatMap(({ part }) => part ?? [])
    if (!first || parts.length < 2) return group
    const left = parts.length - MAX_PARTS
    const named = parts.slice(0, MAX_PARTS).join(', ')
    return [{ ...first, part: left > 0 ? `${named} and ${left} more` : named }]
  })
}

/**
 * Reports a failure when it happens, before the result of the run is known. The failure of a whole host is not repeated
 * for its images, because a notice has already reported it.
 */
export function tellFailure(onEvent: OnEvent | undefined, { source, part, error }: ImageFailure): void {
  if (error.origin?.isOfHost === true) return
  const name = part === undefined ? source : `${part} of ${source}`
  const { code, doing, subject } = error
  // A message that names nothing gets the name of the image.
  const message = doing === undefined && subject === undefined ? `${name}: ${error.message}` : error.message
  onEvent?.({ type: 'failed', name, code, message })
}

/**
 * One error for everything that failed, if nothing succeeded. A single failure is returned as it is.
 * @param summary the message when there are several, like `20 of 20 images could not be resolved`.
 */
export function allFailed(failures: readonly ImageFailure[], summary: string): AirgapError {
  const [first] = failures
  if (first && failures.length === 1) return first.error
  const codes = new Set(failures.map(({ error }) => error.code))
  const [only] = codes
  return new AirgapError(codes.size === 1 && only !== undefined ? only : 'REGISTRY', summary, {
    problems: failureProblems(failures),
    hint: hintsOf(failures),
    cause: first?.error,
  })
}

/**
 * The error of work that failed in part and can be resumed.
 * @param ways hints on how to continue, after the hints of what failed.
 */
export function incomplete(
  summary: string,
  failures: readonly ImageFailure[],
  ways: readonly Hint[],
): AirgapError {
  return new AirgapError('INCOMPLETE', summary, {
    problems: failureProblems(failures),
    hint: [...hintsOf(failures), ...ways.map((way) => (typeof way === 'string' ? `\n${way}` : way))],
    cause: failures[0]?.error,
  })
}

export function failureProblems(failures: readonly ImageFailure[]): Problem[] {
  return failures.map((failure) => {
    const { source, part, error } = failure
    const { code, problems } = error
    // If several places were asked, each has its own reason; the error has only the last one.
    const message = problems.length > 1 ? messagesOf(problems) : causeOf(failure)
    return { entry: source, message: part === undefined ? message : `${part}: ${message}`, code }
  })
}

function messagesOf(problems: readonly Problem[]): string {
  return problems.map(({ message }) => message).join('; ')
}

/** How many different hints are shown. */
const MAX_HINTS = 10

/** The hints of what failed, each once. If they differ, each says which images it is for. */
function hintsOf(failures: readonly ImageFailure[]): Hint[] {
  const hinted = failures.filter(({ error }) => error.hints.length > 0)
  const groups = [...Map.groupBy(hinted, ({ error }) => JSON.stringify(error.hints)).values()]
  const isForAll = groups.length === 1 && hinted.length === failures.length
  if (isForAll) return [...(groups[0]?.[0]?.error.hints ?? [])]
  const hints: Hint[] = []
  for (const group of groups.slice(0, MAX_HINTS)) {
    hints.push(`\n${namesOf(group)}:`, ...(group[0]?.error.hints ?? []))
  }
  const left = groups.length - MAX_HINTS
  return left > 0 ? [...hints, `\n(and ${left} other hints)`] : hints
}

function namesOf(failures: readonly ImageFailure[]): string {
  const [first = '', ...others] = new Set(failures.map(({ source }) => source))
  return others.length === 0 ? first : `${first} and ${others.length} more`
}

const UNUSABLE: readonly Hint[] = [
  'Have the image rebuilt and pushed again with a current tool, or do without it.',
  { id: 'exclude-image' },
]

/**
 * Turns `INVALID_CONTENT`, which means a bad bundle, into `UNSUPPORTED_CONTENT` if the content came from a registry. The
 * message names the image.
 *
 * @param hint for errors that have none.
 */
export function asRegistryFault(
  error: unknown,
  image: string,
  hint: Hint | readonly Hint[] = UNUSABLE,
): unknown {
  if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') return error
  return error.with({
    code: 'UNSUPPORTED_CONTENT',
    subject: error.subject ?? image,
    hint: error.hints.length > 0 ? error.hints : hint,
    cause: error,
  })
}
