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
  problemsOf,
  tellFailure,
} from '../content/failures.ts'
import { parseCosignTag } from '../oci/cosign.ts'
import type { PlannedImage, PushPlan, PlannedReferrer } from './planned.ts'

/** What refers to images and does not get into the target, or would not be found there, and why. */
class LostReferrers {
  /** What needs a blob. */
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

  /** The first fault is what it is lost by. */
  add(planned: PlannedReferrer, error: AirgapError): void {
    if (!this.#lost.has(planned)) this.#lost.set(planned, error)
  }

  /** Those of images that lack nothing themselves. */
  failures(isWhole: (image: PlannedImage) => boolean): ImageFailure[] {
    return [...this.#lost].flatMap(([{ images, entry }, error]) => {
      const image = images.find((one) => isWhole(one))?.image
      return image ? [{ source: image.source, part: nameOfReferrer(entry), error }] : []
    })
  }

  /** The error of a push that is complete but for them. */
  error(failures: readonly ImageFailure[]): AirgapError {
    const count = this.#lost.size
    const what = count === 1 ? '1 thing that refers' : `${count} things that refer`
    return incomplete(
      `${what} to images (signatures, attestations, SBOMs) could not be put or would not be found; all images are in place, and all tags are set`,
      failures,
      [
        'Mend it and push again with the same command. Where the registry takes no such things, leave them out.',
        { id: 'no-referrers' },
      ],
    )
  }
}

const UNDER_TAG = { sig: 'signatures', att: 'attestations', sbom: 'SBOM' }

/** For messages. */
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

/** What it was that failed, where it was not a part of the image. */
const UNPLANNED = 'asking the target'

/** After these a repository takes nothing else either. */
const REFUSALS = new Set<ErrorCode>(['UNAUTHORIZED', 'DENIED'])

type Scope = 'registry' | 'project' | 'repository'

/** A refusal that is the same for everything else in a registry, project or repository: nothing more is sent there. */
interface End {
  scope: Scope
  /** What it is the end for, as users know it. */
  place: string
  /** In the words that the user gets. */
  error: Promise<AirgapError>
}

/** How far a push has come. */
export interface Arrived {
  /** In all repositories that need them. */
  blobs: number
  ofBlobs: number
  bytes: number
  ofBytes: number
}

/** What is wrong with the registry or with the account, and so with every image in the same way. */
const OF_THE_REGISTRY = new Set<ErrorCode>([
  'NETWORK',
  'TLS',
  'RATE_LIMITED',
  'UNAUTHORIZED',
  'DENIED',
  'CREDENTIALS',
])

/**
 * Which images of a push lack something in the target, and why: what fails for one does not stop those that can do
 * without it, and no image that lacks anything is tagged.
 */
export class PushFailures {
  readonly #plan: PushPlan
  readonly #onEvent: OnEvent | undefined
  readonly #users = new Map<string, PlannedImage[]>()
  /** Images that lack something, and what has been noted of each. */
  readonly #broken = new Map<PlannedImage, Set<AirgapError>>()
  readonly #lost: LostReferrers
  readonly #failures: ImageFailure[] = []
  readonly #ends = new Map<string, End>()
  /** Call off what is under way in a place. */
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

  /** Whether an image of which nothing has failed so far needs this, or what refers to one. */
  isNeeded({ repository, digest }: Pick<Part, 'repository' | 'digest'>): boolean {
    return (
      this.#usersOf(repository, digest).some((planned) => this.isWhole(planned)) ||
      this.#lost.usersOf(repository, digest).some((planned) => this.#isWanted(planned))
    )
  }

  /** What refers to images and did not get into the target, or is not found there, and why. */
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
   * Does something about a part of images. Where it fails, those that need it are out.
   * @param work gets a signal that is also set off when a refusal ends everything there.
   * @returns whether it was done.
   * @throws what `work` throws and concerns everything.
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
   * Does something about what refers to images. Where it fails, the images are none the less whole, and so is the
   * repository: it may take images and not this.
   * @returns whether it was done; false as well where nobody needs it any more.
   * @throws what `work` throws and concerns everything.
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
      // What the registry keeps in a tag may be anything.
      const isOfContent = error instanceof AirgapError && error.code === 'INVALID_CONTENT'
      if (signal.aborted || !(isOfContent || isOfOneImage(error) || isCalledOff(error, own))) throw error
      const fault = await this.#faultOf(error, repository, own, (scope) => scope !== 'repository')
      this.#lose(planned, fault)
      return false
    }
  }

  /**
   * The same for something that is not content.
   * @param options.isRead it sends nothing, as far as is known, so that no refusal stands against it.
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
      // What is called off because of another one has no fault of its own.
      if (signal.aborted || !(isOfOneImage(error) || isCalledOff(error, own))) throw error
      const isFirst = this.#endOf(repository) === undefined
      const fault = await this.#faultOf(error, repository, own, () => true)
      if (isFirst && !this.#isOfAll(this.#endOf(repository))) this.#tell(images, what, fault)
      this.#note(images, what, fault)
      options.onFault?.(fault)
      return false
    }
  }

  /** The end that has come for a repository, if any. */
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
   * What failed in the words that the user gets. A refusal that lasts ends everything in its place, what is under way
   * there included; all of that has the same fault then.
   * @param mayEnd whether this work is such that its refusal says something about others.
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

  /** Whether nothing at all is left to be done after an end, which is then told as the error. */
  #isOfAll(end: End | undefined): boolean {
    return (
      end !== undefined &&
      this.#plan.images.every(({ repository }) =>
        scopesOf(repository).some(([, place]) => place === end.place),
      )
    )
  }

  /** It is there, and nobody can read it, whatever a push does. Told once a repository. */
  #warnOfHeldBack({ repository, entry, images }: PlannedReferrer, error: AirgapError): void {
    if (this.#told.has(`held back in ${repository.name}`)) return
    this.#told.add(`held back in ${repository.name}`)
    const what = `${nameOfReferrer(entry)} of ${images[0]?.image.source ?? ''}`
    const message = `${repository.name} has taken something that nobody can read there (${what}, and maybe more): ${error.message}`
    this.#onEvent?.({ type: 'warning', message })
  }

  /**
   * @throws AirgapError `INCOMPLETE` when some images have failed; the cause's own code where all have, and all for one
   *   kind of cause.
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
      [`${others}Mend it and push again with the same command: only what is missing is sent.`],
    )
  }

  /** One block for a push that a refusal has ended, in a registry or project: cause, how far it came, what to do. */
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
      problems: [...problems, ...problemsOf(others)],
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
    // What is the same for all is said once now, and in full at the end.
    const cause = OF_THE_REGISTRY.has(error.code) ? error.code : (error.refusal?.kind ?? likeness(error))
    if (this.#told.has(cause)) return
    this.#told.add(cause)
    tellFailure(this.#onEvent, { source: first.image.source, part, error })
  }

  /** One and the same fault is noted once for an image. */
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

/** The places that a repository is in, the widest first. */
function scopesOf({ registry, repository, name }: Repository): [Scope, string][] {
  const project = projectOf(repository) ?? repository
  return [
    ['registry', registry],
    ['project', `${registry}/${project}`],
    ['repository', name],
  ]
}

/** For what else a fault is the same; undefined where for nothing. */
function scopeOf({ refusal, code }: AirgapError): Scope | undefined {
  if (refusal && refusal.of !== 'content') return refusal.of
  return REFUSALS.has(code) ? 'repository' : undefined
}

/** Whether work has ended because it was called off, and not by a fault of its own. */
function isCalledOff(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (error === signal.reason || isAbort(error))
}

function unplanned(images: readonly PlannedImage[]): ImageFailure[] {
  return images.flatMap(({ image, fault }) => (fault ? [{ source: image.source, error: fault }] : []))
}

/** The error of a push of which nothing can be planned. */
export function noneCanBe(images: readonly PlannedImage[]): AirgapError {
  const failures = unplanned(images)
  return ofAll(failures, images.length, `none of the ${images.length} images can be pushed`)
}

/** The error of a plan that does not hold every image; it is only shown. */
export function throwIfUnplanned(images: readonly PlannedImage[]): void {
  const failures = unplanned(images)
  if (failures.length === 0) return
  throw incomplete(`${failures.length} of ${images.length} images cannot be pushed`, failures, [
    'The push would send the others all the same.',
    { id: 'go-on-without', images: failures.map(({ source }) => source), canSkip: false },
  ])
}

/** What is the registry's fault is the same for all images, and is said once. */
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
