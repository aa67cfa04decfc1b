import { AirgapError, type ErrorCode } from '../../errors.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import type { Repository } from '../../registry/repository.ts'
import type { OnEvent } from '../events.ts'
import {
  allFailed,
  excludeFlags,
  groupAlike,
  incomplete,
  isHeldBack,
  isOfOneImage,
  likeness,
  tellFailure,
  type ImageFailure,
} from '../failures.ts'
import { Unreachable } from '../unreachable.ts'
import type { PlannedImage, PushPlan } from './plan.ts'
import { LostReferrers, nameOfReferrer } from './referrers/lost.ts'
import type { PlannedReferrer } from './referrers/plan.ts'

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
  readonly #refused = new Map<string, AirgapError>()
  readonly #told = new Set<string>()
  readonly #unreachable = new Unreachable()

  constructor(plan: PushPlan, onEvent: OnEvent | undefined) {
    this.#plan = plan
    this.#onEvent = onEvent
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
   * @returns whether it was done.
   * @throws what `work` throws and concerns everything.
   */
  async attempt(
    { repository, digest, size, kind }: Part,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<boolean> {
    const what = `${kind} ${shortHex(digest)} (${size} bytes)`
    const lose = (error: AirgapError): void => {
      for (const planned of this.#lost.usersOf(repository, digest)) this.#lose(planned, error)
    }
    return this.attemptFor(this.#usersOf(repository, digest), repository, what, signal, work, lose)
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
    work: () => Promise<void>,
  ): Promise<boolean> {
    if (!this.#isWanted(planned)) return false
    const { registry, name } = planned.repository
    const refusal = this.#refused.get(name)
    if (refusal) {
      this.#lose(planned, refusal)
      return false
    }
    try {
      await this.#unreachable.ask([registry], work)
      return true
    } catch (error) {
      if (!signal.aborted && isHeldBack(error)) {
        this.#warnOfHeldBack(planned, error)
        return true
      }
      // What the registry keeps in a tag may be anything.
      const isOfContent = error instanceof AirgapError && error.code === 'INVALID_CONTENT'
      if (signal.aborted || !(isOfContent || isOfOneImage(error))) throw error
      this.#lose(planned, error)
      return false
    }
  }

  /** It is there, and nobody can read it, whatever a push does. Told once a repository. */
  #warnOfHeldBack({ repository, entry, images }: PlannedReferrer, error: AirgapError): void {
    if (this.#told.has(`held back in ${repository.name}`)) return
    this.#told.add(`held back in ${repository.name}`)
    const what = `${nameOfReferrer(entry)} of ${images[0]?.image.source ?? ''}`
    const message = `${repository.name} has taken something that nobody can read there (${what}, and maybe more): ${error.message}`
    this.#onEvent?.({ type: 'warning', message })
  }

  /** The same for something that is not content. */
  async attemptFor(
    images: readonly PlannedImage[],
    { name, registry }: Repository,
    what: string,
    signal: AbortSignal,
    work: () => Promise<void>,
    onFault?: (error: AirgapError) => void,
  ): Promise<boolean> {
    const refusal = this.#refused.get(name)
    if (refusal) {
      this.#note(images, what, refusal)
      onFault?.(refusal)
      return false
    }
    try {
      await this.#unreachable.ask([registry], work)
      return true
    } catch (error) {
      // What is called off because of another one has no fault of its own.
      if (signal.aborted || !isOfOneImage(error)) throw error
      // Several are under way when a repository begins to refuse.
      const known = this.#refused.get(name)
      const fault = known && REFUSALS.has(error.code) ? known : error
      if (fault === error) this.#tell(images, what, error)
      if (REFUSALS.has(error.code)) this.#refused.set(name, fault)
      this.#note(images, what, fault)
      onFault?.(fault)
      return false
    }
  }

  /**
   * @throws AirgapError `INCOMPLETE` when some images have failed; the cause's own code where all have, and all for one
   *   kind of cause.
   */
  throwIfAny(): void {
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
    if (!first || this.#unreachable.isUntried(error)) return
    // What is the same for all is said once now, and in full at the end.
    const cause = OF_THE_REGISTRY.has(error.code) ? error.code : likeness(error)
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
    'The push would send the others all the same. To plan it without these:',
    ...excludeFlags(failures.map(({ source }) => source)),
  ])
}

/** What is the registry's fault is the same for all images, and is said once. */
function ofAll(failures: readonly ImageFailure[], images: number, summary: string): AirgapError {
  const [first] = failures
  if (!first || images === 1 || !failures.every(({ error }) => OF_THE_REGISTRY.has(error.code))) {
    return allFailed(failures, summary)
  }
  const { code, message, hint } = first.error
  return new AirgapError(code, `${message} (and so for all ${images} images)`, { hint, cause: first.error })
}
