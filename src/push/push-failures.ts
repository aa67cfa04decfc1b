import { formatBytes } from '../bytes.ts'
import { AirgapError, type ErrorCode, type Problem } from '../errors.ts'
import { type Digest, shortHex } from '../oci/digest.ts'
import { projectOf } from '../registry/vendors/harbor.ts'
import type { Repository } from '../registry/repository.ts'
import type { OnEvent } from '../content/events.ts'
import {
  allFailed,
  groupAlike,
  type ImageFailure,
  incomplete,
  isAbort,
  isHeldBack,
  isOfOneImage,
  likeness,
  failureProblems,
  tellFailure,
} from '../content/failures.ts'
import { parseCosignTag } from '../oci/cosign.ts'
import type { PlannedImage, PushPlan, PlannedReferrer } from './planned.ts'

/** The referrers that could not be pushed, or would not be found in the target, and why. */
class LostReferrers {
  /** The referrers that need a blob. */
  readonly #users = new Map<string, PlannedReferrer[]>()
  readonly #lost = new Map<PlannedReferrer, AirgapError>()

  constructor(referrers: readonly PlannedReferrer[]) {
    for (const planned of referrers) {
      for (const digest of planned.graph.closure.blobs.keys()) {
        const key = `${planned.repository.name} ${digest}`
        const users = this.#users.get(key)
        if (users) users.push(planned)
        else this.#users.set(key, [planned])
      }
    }
  }

  get all(): ReadonlyMap<PlannedReferrer, AirgapError> {
    return this.#lost
  }

  usersOf({ name }: Repository, digest: Digest): readonly PlannedReferrer[] {
    return this.#users.get(`${name} ${digest}`) ?? []
  }

  has(planned: PlannedReferrer): boolean {
    return this.#lost.has(planned)
  }

  /** Records that a referrer is lost. Only its first error counts. */
  add(planned: PlannedReferrer, error: AirgapError): void {
    if (!this.#lost.has(planned)) this.#lost.set(planned, error)
  }

  /** The failures for images that are complete themselves. */
  failures(isWhole: (image: PlannedImage) => boolean): ImageFailure[] {
    return [...this.#lost].flatMap(([{ images, entry }, error]) => {
      const image = images.find((one) => isWhole(one))?.image
      return image ? [{ source: image.source, part: nameOfReferrer(entry), error }] : []
    })
  }

  /** The error of a push in which only referrers are missing. */
  error(failures: readonly ImageFailure[]): AirgapError {
    const count = this.#lost.size
    const what = count === 1 ? '1 referrer' : `${count} referrers`
    return incomplete(
      `${what} of images (signatures, attestations, SBOMs) could not be pushed or would not be found; all images are in place, and all tags are set`,
      failures,
      [
        'Fix the cause and push again with the same command. If the registry does not accept referrers, leave them out.',
        { id: 'no-referrers' },
      ],
    )
  }
}

const UNDER_TAG = { sig: 'signatures', att: 'attestations', sbom: 'SBOM' }

/** A referrer's name for messages. */
function nameOfReferrer({ tag, digest, subject }: PlannedReferrer['entry']): string {
  const parsed = tag === undefined ? undefined : parseCosignTag(tag)
  return parsed ? `${UNDER_TAG[parsed.kind]} (${shortHex(subject)})` : `referrer ${shortHex(digest)}`
}

/** A part of an image, in one repository of the target. */
interface Part {
  repository: Repository
  digest: Digest
  /** Bytes. */
  size: number
  kind: 'blob' | 'manifest'
}

/** The failed part of an image about which the target could not be asked. */
const UNPLANNED = 'asking the target'

/** After these errors a repository accepts nothing else either. */
const REFUSALS = new Set<ErrorCode>(['UNAUTHORIZED', 'DENIED'])

type Scope = 'registry' | 'project' | 'repository'

/** A refusal that applies to a whole registry, project or repository: nothing more is sent there. */
interface End {
  scope: Scope
  /** The registry, project or repository, by the name that users know. */
  place: string
  /** The explained error for the user. */
  error: Promise<AirgapError>
}

/** How far a push has come, counted over all repositories that need a blob. */
export interface Arrived {
  /** Blobs that have arrived. */
  blobs: number
  ofBlobs: number
  bytes: number
  ofBytes: number
}

/** Errors of the registry or the account, which affect all images in the same way. */
const OF_THE_REGISTRY = new Set<ErrorCode>([
  'NETWORK',
  'TLS',
  'RATE_LIMITED',
  'UNAUTHORIZED',
  'DENIED',
  'CREDENTIALS',
])

/**
 * Records which images of a push are incomplete in the target, and why. A failure does not stop images that do not need
 * the failed part, and no incomplete image is tagged.
 */
export class PushFailures {
  readonly #plan: PushPlan
  readonly #onEvent: OnEvent | undefined
  readonly #users = new Map<string, PlannedImage[]>()
  /** The incomplete images, and the errors noted for each. */
  readonly #broken = new Map<PlannedImage, Set<AirgapError>>()
  readonly #lost: LostReferrers
  readonly #failures: ImageFailure[] = []
  readonly #ends = new Map<string, End>()
  /** Abort running work in a registry, project or repository. */
  readonly #calls = new Map<string, AbortController>()
  readonly #explain: (error: AirgapError) => Promise<AirgapError>
  readonly #told = new Set<string>()

  constructor(
    plan: PushPlan,
    {
      onEvent,
      explain = async (error) => error,
    }: {
      onEvent?: OnEvent | undefined
      explain?: (error: AirgapError) => Promise<AirgapError>
    },
  ) {
    this.#plan = plan
    this.#onEvent = onEvent
    this.#explain = explain
    this.#lost = new LostReferrers(plan.referrers)
    for (const planned of plan.images) {
      const { documents, blobs } = planned.graph.closure
      for (const digest of [...documents.keys(), ...blobs.keys()]) {
        const key = `${planned.repository.name} ${digest}`
        const users = this.#users.get(key)
        if (users) users.push(planned)
        else this.#users.set(key, [planned])
      }
      if (!planned.fault) continue
      this.#note([planned], UNPLANNED, planned.fault)
      this.#tell([planned], UNPLANNED, planned.fault)
    }
  }

  /** Whether nothing of an image has failed so far. */
  isWhole(planned: PlannedImage): boolean {
    return !this.#broken.has(planned)
  }

  /** Whether a complete image, or a referrer of one, needs this content. */
  isNeeded({ repository, digest }: Pick<Part, 'repository' | 'digest'>): boolean {
    return (
      this.#usersOf(repository, digest).some((planned) => this.isWhole(planned)) ||
      this.#lost.usersOf(repository, digest).some((planned) => this.#isWanted(planned))
    )
  }

  /** The referrers that could not be pushed, or are not found in the target, and why. */
  get lostReferrers(): ReadonlyMap<PlannedReferrer, AirgapError> {
    return this.#lost.all
  }

  #isWanted(planned: PlannedReferrer): boolean {
    return !this.#lost.has(planned) && planned.images.some((image) => this.isWhole(image))
  }

  get isAnyWhole(): boolean {
    return this.#plan.images.some((planned) => this.isWhole(planned))
  }

  /**
   * Runs work on a part of images. If it fails, the images that need the part become incomplete.
   * @param work gets a signal that also aborts when a refusal ends everything in that place.
   * @returns whether it succeeded.
   * @throws errors of `work` that concern the whole push.
   */
  async attempt(
    { repository, digest, size, kind }: Part,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    const what = `${kind} ${shortHex(digest)} (${size} bytes)`
    const lose = (error: AirgapError): void => {
      for (const planned of this.#lost.usersOf(repository, digest)) this.#lose(planned, error)
    }
    return this.attemptFor(this.#usersOf(repository, digest), repository, what, signal, work, {
      onFault: lose,
    })
  }

  /**
   * Runs work on a referrer. If it fails, the images stay complete, and the repository is still used: a registry can
   * accept images and refuse referrers.
   * @returns whether it succeeded; also false if nobody needs the referrer any more.
   * @throws errors of `work` that concern the whole push.
   */
  async attemptReferrer(
    planned: PlannedReferrer,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    if (!this.#isWanted(planned)) return false
    const { repository } = planned
    const end = this.#endOf(repository)
    if (end) {
      this.#lose(planned, await end.error)
      return false
    }
    const own = this.#signalFor(repository, signal)
    try {
      await work(own)
      return true
    } catch (error) {
      if (!signal.aborted && isHeldBack(error)) {
        this.#warnOfHeldBack(planned, error)
        return true
      }
      // A tag in the registry can hold anything, so its content is not a fault of the bundle.
      const isOfContent = error instanceof AirgapError && error.code === 'INVALID_CONTENT'
      if (signal.aborted || !(isOfContent || isOfOneImage(error) || isCalledOff(error, own))) throw error
      const fault = await this.#faultOf(error, repository, own, (scope) => scope !== 'repository')
      this.#lose(planned, fault)
      return false
    }
  }

  /**
   * Runs work for images that is not about their content.
   * @param options.isRead the work only reads, so an earlier refusal does not prevent it.
   */
  async attemptFor(
    images: readonly PlannedImage[],
    repository: Repository,
    what: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
    options: { isRead?: boolean; onFault?: (error: AirgapError) => void } = {},
  ): Promise<boolean> {
    const end = options.isRead ? undefined : this.#endOf(repository)
    if (end) {
      const fault = await end.error
      this.#note(images, what, fault)
      options.onFault?.(fault)
      return false
    }
    const own = options.isRead ? signal : this.#signalFor(repository, signal)
    try {
      await work(own)
      return true
    } catch (error) {
      // Work that was aborted because of another failure has no error of its own.
      if (signal.aborted || !(isOfOneImage(error) || isCalledOff(error, own))) throw error
      const isFirst = this.#endOf(repository) === undefined
      const fault = await this.#faultOf(error, repository, own, () => true)
      if (isFirst && !this.#isOfAll(this.#endOf(repository))) this.#tell(images, what, fault)
      this.#note(images, what, fault)
      options.onFault?.(fault)
      return false
    }
  }

  /** The refusal that has ended everything for a repository, if any. */
  #endOf(repository: Repository): End | undefined {
    return scopesOf(repository)
      .map(([, place]) => this.#ends.get(place))
      .find((end) => end !== undefined)
  }

  #signalFor(repository: Repository, signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, ...scopesOf(repository).map(([, place]) => this.#callOf(place).signal)])
  }

  #callOf(place: string): AbortController {
    const call = this.#calls.get(place) ?? new AbortController()
    this.#calls.set(place, call)
    return call
  }

  /**
   * Explains an error for the user. A permanent refusal ends everything in its place, including running work, which then
   * has the same error.
   * @param mayEnd whether a refusal of this work also applies to other work in that scope.
   */
  async #faultOf(
    error: unknown,
    repository: Repository,
    own: AbortSignal,
    mayEnd: (scope: Scope) => boolean,
  ): Promise<AirgapError> {
    const known = this.#endOf(repository)
    if (!(error instanceof AirgapError)) {
      if (known) return known.error
      throw error
    }
    const scope = scopeOf(error)
    if (known && (isCalledOff(error, own) || scope !== undefined)) return known.error
    const explained = this.#explain(error)
    if (scope !== undefined && mayEnd(scope)) {
      const place = new Map(scopesOf(repository)).get(scope) ?? repository.name
      this.#ends.set(place, { scope, place, error: explained })
      this.#callOf(place).abort(error)
    }
    return explained
  }

  /** Whether a refusal leaves nothing else to do. It is then reported as the error of the push. */
  #isOfAll(end: End | undefined): boolean {
    return (
      end !== undefined &&
      this.#plan.images.every(({ repository }) =>
        scopesOf(repository).some(([, place]) => place === end.place),
      )
    )
  }

  /** Warns, once per repository, that a referrer is there but the registry lets nobody read it. */
  #warnOfHeldBack({ repository, entry, images }: PlannedReferrer, error: AirgapError): void {
    if (this.#told.has(`held back in ${repository.name}`)) return
    this.#told.add(`held back in ${repository.name}`)
    const what = `${nameOfReferrer(entry)} of ${images[0]?.image.source ?? ''}`
    const message = `${repository.name} has accepted something that nobody can read there (${what}, and maybe more): ${error.message}`
    this.#onEvent?.({ type: 'warning', message })
  }

  /**
   * @throws AirgapError `INCOMPLETE` if some images have failed; if all have failed for the same kind of cause, an error with
   *   the cause's own code.
   */
  async throwIfAny(arrived: Arrived): Promise<void> {
    const ended = await this.#endError(arrived)
    if (ended) throw ended
    const all = groupAlike(this.#failures)
    const lost = groupAlike(this.#lost.failures((image) => this.isWhole(image)))
    const count = this.#plan.images.length
    if (all.length === 0) {
      if (lost.length > 0) throw this.#lost.error(lost)
      return
    }
    const summary = `the push of ${this.#broken.size} of ${count} images could not be completed`
    const isOne = new Set(all.map(({ error }) => error.code)).size === 1
    if (isOne && this.#broken.size === count) throw ofAll(all, count, summary)
    const order = new Map(this.#plan.images.map(({ image }, i) => [image.source, i]))
    const sorted = all.toSorted((a, b) => (order.get(a.source) ?? 0) - (order.get(b.source) ?? 0))
    const others = this.#broken.size === count ? '' : 'The other images are in place. '
    throw incomplete(
      summary,
      [...sorted, ...lost],
      [`${others}Fix the cause and push again with the same command: only what is missing is sent.`],
    )
  }

  /** The error of a push that a refusal has ended in a registry or project: the cause, how far the push came, what to do. */
  async #endError(arrived: Arrived): Promise<AirgapError | undefined> {
    const ends = [...this.#ends.values()].filter(({ scope }) => scope !== 'repository')
    const faults = await Promise.all(ends.map(({ error }) => error))
    const [first] = faults
    const broken = this.#broken.size
    if (!first || (broken === 0 && this.#lost.all.size === 0)) return undefined
    const count = this.#plan.images.length
    const known = new Set(faults)
    const others = groupAlike(this.#failures.filter(({ error }) => !known.has(error)))
    const places = ends.map(({ place }) => place).join(', ')
    const { blobs, ofBlobs, bytes, ofBytes } = arrived
    const state = `Nothing more was sent to ${places}. In place: ${count - broken} of ${count} images; ${blobs} of ${ofBlobs} blobs (${formatBytes(bytes)} of ${formatBytes(ofBytes)}) have arrived.`
    const problems: Problem[] = faults.slice(1).map((error, i) => ({
      entry: ends[i + 1]?.place ?? '',
      message: error.message,
      code: error.code,
    }))
    const isOne = problems.length === 0 && others.length === 0 && broken === count
    return first.with({
      code: isOne ? first.code : 'INCOMPLETE',
      problems: [...problems, ...failureProblems(others)],
      hint: [`${state}\n`, ...first.hints, ...(first.refusal?.kind === 'room' ? [] : [`\n${AGAIN}`])],
      cause: first,
    })
  }

  #lose(planned: PlannedReferrer, error: AirgapError): void {
    if (this.#lost.has(planned)) return
    this.#lost.add(planned, error)
    this.#tell(planned.images, nameOfReferrer(planned.entry), error)
  }

  #usersOf({ name }: Repository, digest: Digest): readonly PlannedImage[] {
    return this.#users.get(`${name} ${digest}`) ?? []
  }

  #tell(images: readonly PlannedImage[], part: string, error: AirgapError): void {
    const [first] = images
    if (!first) return
    // Report a cause that is the same for all only once now; the full list comes at the end.
    const cause = OF_THE_REGISTRY.has(error.code) ? error.code : (error.refusal?.kind ?? likeness(error))
    if (this.#told.has(cause)) return
    this.#told.add(cause)
    tellFailure(this.#onEvent, { source: first.image.source, part, error })
  }

  /** Notes an error for images; the same error only once for each. */
  #note(images: readonly PlannedImage[], part: string, error: AirgapError): void {
    for (const planned of images) {
      const noted = this.#broken.get(planned) ?? new Set()
      this.#broken.set(planned, noted)
      if (noted.has(error)) continue
      noted.add(error)
      this.#failures.push({ source: planned.image.source, part, error })
    }
  }
}

const AGAIN = 'Then push again with the same command: what has arrived is not sent again.'

/** The registry and project of a repository, and the repository itself, the widest first. */
function scopesOf({ registry, repository, name }: Repository): [Scope, string][] {
  const project = projectOf(repository) ?? repository
  return [
    ['registry', registry],
    ['project', `${registry}/${project}`],
    ['repository', name],
  ]
}

/** The scope to which an error applies as a whole; undefined if it concerns only one part of an image. */
function scopeOf({ refusal, code }: AirgapError): Scope | undefined {
  if (refusal && refusal.of !== 'content') return refusal.of
  return REFUSALS.has(code) ? 'repository' : undefined
}

/** Whether work ended because it was aborted, not because of an error of its own. */
function isCalledOff(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (error === signal.reason || isAbort(error))
}

function unplanned(images: readonly PlannedImage[]): ImageFailure[] {
  return images.flatMap(({ image, fault }) => (fault ? [{ source: image.source, error: fault }] : []))
}

/** The error of a push of which no image can be planned. */
export function noneCanBe(images: readonly PlannedImage[]): AirgapError {
  const failures = unplanned(images)
  return ofAll(failures, images.length, `none of the ${images.length} images can be pushed`)
}

/**
 * For a plan that is only shown.
 * @throws AirgapError `INCOMPLETE` if some images cannot be pushed.
 */
export function throwIfUnplanned(images: readonly PlannedImage[]): void {
  const failures = unplanned(images)
  if (failures.length === 0) return
  throw incomplete(`${failures.length} of ${images.length} images cannot be pushed`, failures, [
    'The push would still send the others.',
    { id: 'go-on-without', images: failures.map(({ source }) => source), canSkip: false },
  ])
}

/** The error if all images failed. A fault of the registry, which is the same for all images, is given only once. */
function ofAll(failures: readonly ImageFailure[], images: number, summary: string): AirgapError {
  const [first] = failures
  if (!first) return allFailed(failures, summary)
  const isSame = failures.every(({ error }) => error.message === first.error.message)
  if (images === 1) return isSame ? first.error : allFailed(failures, summary)
  const isRefusal = isSame && first.error.refusal !== undefined
  if (!isRefusal && !failures.every(({ error }) => OF_THE_REGISTRY.has(error.code))) {
    return allFailed(failures, summary)
  }
  return first.error.with({
    reason: `${first.error.reason} (and so for all ${images} images)`,
    cause: first.error,
  })
}
