import { AirgapError, systemCode, type ErrorCode, type Problem } from '../errors.ts'
import type { Hint } from '../hints.ts'
import type { OnEvent } from './events.ts'
import { inParallel } from './parallel.ts'

/** An image, or a part of it, that some work could not be done on. */
export interface ImageFailure {
  source: string
  error: AirgapError
  /** Which part of the image; left out where it is the image as such. */
  part?: string
}

/**
 * Faults of one image, or of whoever has it or is to take it: other images can do without it. All others (files, the
 * disk, mistakes of the caller or of ours, being called off) concern everything.
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

/** Whether a fault leaves other images alone, so that work on these can go on. */
export function isOfOneImage(error: unknown): error is AirgapError {
  return error instanceof AirgapError && OF_ONE_IMAGE.has(error.code)
}

/** Whether something is there, and a policy of the registry lets nobody read it. */
export function isHeldBack(error: unknown): error is AirgapError {
  return error instanceof AirgapError && error.refusal?.kind === 'held-back'
}

/** Whether this is the work being called off, rather than a fault. */
export function isAbort(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'AbortError' || (error instanceof AirgapError && error.code === 'INTERRUPTED'))
  )
}

/**
 * Works on everything, a bounded number at a time. What fails by a fault of its own does not stop the rest; any other
 * fault does, and is thrown.
 *
 * @returns results and failures, both in the order of the items.
 * @throws the first fault that concerns everything, or the signal's reason.
 */
export async function tryEach<T, R>(
  items: readonly T[],
  options: {
    concurrency?: number | undefined
    signal?: AbortSignal | undefined
    /** Told of each failure when it happens. */
    onFailed?: (item: T, error: AirgapError) => void
  },
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<{ results: R[]; failed: { item: T; error: AirgapError }[] }> {
  type Outcome = { value: R } | { item: T; error: AirgapError }
  const all = await inParallel(items, options, async (item, signal): Promise<Outcome> => {
    try {
      return { value: await work(item, signal) }
    } catch (error) {
      // What is called off because of another one has no fault of its own.
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
 * Works on every image, as {@link tryEach} does. Of several that fail alike, the first is told of at once.
 *
 * @param faultOf makes of what was thrown the error that the user gets.
 * @param summary the message when all of several have failed, behind `20 of 20 images`.
 * @throws AirgapError when all have failed, unless they may: what is wrong with the only one, or with each.
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
 * The same for faults that have one cause: what a host answers, or that it does not answer, fails everything that is to
 * come from there. Two faults that come from no host are one only where they say the same.
 */
export function likeness({ code, reason, origin, refusal, answer, cause }: AirgapError): string {
  if (!origin && !answer) return JSON.stringify([code, reason])
  const { host } = origin ?? {}
  if (origin?.isOfHost === true) return JSON.stringify([code, host])
  const codes = answer?.errors.map((said) => said.code)
  return JSON.stringify([code, host, origin?.status ?? answer?.status, refusal, codes, systemCode(cause)])
}

/** So many parts of an image are named that have failed alike. */
const MAX_PARTS = 5

/** A message that does not name the image again. What is about another place, as a mirror, names that one. */
function causeOf({ source, error: { subject, reason, message } }: ImageFailure): string {
  if (subject === undefined) return message
  const digest = /@sha256:[0-9a-f]{64}$/.exec(subject)?.[0] ?? ''
  // By another digest it may be a part of the image that is meant.
  const isSame = withoutTag(subject) === withoutTag(source) && source.endsWith(digest)
  return isSame ? reason : `${subject}: ${reason}`
}

function withoutTag(reference: string): string {
  return reference.replace(/@sha256:[0-9a-f]{64}$/, '').replace(/:[^/:]*$/, '')
}

/** Parts of an image that have failed alike, as one failure. */
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
 * Reports a failure when it happens, before the result of the run is known. A failure of a whole host is not repeated for
 * its images: the notices about the host have said it.
 */
export function tellFailure(onEvent: OnEvent | undefined, { source, part, error }: ImageFailure): void {
  if (error.origin?.isOfHost === true) return
  const name = part === undefined ? source : `${part} of ${source}`
  const { code, doing, subject } = error
  // What names nothing itself is said of the image.
  const message = doing === undefined && subject === undefined ? `${name}: ${error.message}` : error.message
  onEvent?.({ type: 'failed', name, code, message })
}

/**
 * One error for all that failed, where nothing was achieved. A single failure is passed on as it is.
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
 * The error of work of which a part failed and can be taken up again.
 * @param ways how to go on; behind the hints of what failed.
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
    // Where several places were asked, each has its own reason, and the last is the error's.
    const message = problems.length > 1 ? messagesOf(problems) : causeOf(failure)
    return { entry: source, message: part === undefined ? message : `${part}: ${message}`, code }
  })
}

function messagesOf(problems: readonly Problem[]): string {
  return problems.map(({ message }) => message).join('; ')
}

/** So many different hints are given; each of them alone tells its own. */
const MAX_HINTS = 10

/** The hints of what failed, each once and a line each. Where they differ, each says what it is for. */
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
  'Have the image built and pushed there again with a current tool, or do without it.',
  { id: 'exclude-image' },
]

/**
 * An image's fault as the registry's: content that a registry gave and that cannot be used is no bundle that failed
 * its verification. The message names the image.
 *
 * @param hint for those that have none.
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
