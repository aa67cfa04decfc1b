import type { LimitFunction } from 'p-limit'
import { cosignTagsOf } from '../../bundle/referrers.ts'
import type { ReferrerChoice } from '../../oci/manifest.ts'
import { AirgapError, type ErrorCode } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Sources } from '../../registry/mirrors/sources.ts'
import type { Source } from '../../content/source.ts'
import type { OnEvent } from '../../content/events.ts'
import { isHeldBack, isOfOneImage } from '../../content/failures.ts'
import type { DocumentCache } from '../sources.ts'

/** What is listed as referring to a digest, and what its cosign tags point to. None of it has been checked. */
export interface Attached {
  /** With the media types from the lists. */
  listed: Map<Digest, string>
  tagged: Map<string, Digest>
  /** Listed digests that are not SHA-256. */
  unusable: Set<string>
}

export interface LookupOptions {
  choice: Exclude<ReferrerChoice, 'none'>
  resolveFrom: 'source' | 'mirror'
  cache: DocumentCache
  /** Limits how many requests run at a time. */
  limit: LimitFunction
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

/** Errors that mean that a registry is out of reach for us, rather than broken. */
const OUT_OF_REACH: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NETWORK',
  'TLS',
  'UNAUTHORIZED',
  'DENIED',
  'CREDENTIALS',
])

/**
 * Asks registries what refers to a digest, once for each digest of a repository in a run.
 *
 * Mirrors often lack the referrers of their images. So the source is asked, too, and all answers are combined; if a cosign
 * tag points to different things, the source's counts. If the source is out of reach but a mirror has answered, there is
 * one warning. With `resolveFrom: 'mirror'` the source is asked only if no mirror answers.
 */
export class ReferrerLookup {
  readonly #options: LookupOptions
  readonly #known = new Map<string, Promise<Attached>>()
  readonly #outOfReach = new Set<string>()
  /** All tags of each repository that was asked; undefined if they cannot be listed. */
  readonly #tags = new Map<string, Promise<ReadonlySet<string> | undefined>>()
  #listed = 0

  constructor(options: LookupOptions) {
    this.#options = options
  }

  /**
   * @param tag the tag that was resolved: a list of tags that lacks it is not trusted.
   * @throws AirgapError if the source does not answer and must; or if nobody answers.
   */
  of(sources: Sources, subject: Digest, tag?: string): Promise<Attached> {
    const key = JSON.stringify([subject, ...sources.all.map(({ name }) => name)])
    const known = this.#known.get(key)
    if (known) return known
    const asked = this.#ask(sources, subject, tag)
    this.#known.set(key, asked)
    asked.catch(() => this.#known.delete(key))
    return asked
  }

  async #ask({ all, source }: Sources, subject: Digest, tag: string | undefined): Promise<Attached> {
    const authority = this.#options.resolveFrom === 'mirror' && all.length > 1 ? undefined : all.at(-1)
    const others = all.filter((place) => place !== authority && (place !== source || all.length === 1))
    const faults: AirgapError[] = []
    const answers = await settled(
      others.map(async (place) => {
        try {
          return [await this.#askAt(place, subject, tag)]
        } catch (error) {
          if (!isOfOneImage(error)) throw error
          faults.push(error)
          place.onPassedOver?.(error)
          return []
        }
      }),
    )
    const found = answers.flat()
    if (authority) found.unshift(...(await this.#askAuthority(authority, subject, tag, found.length > 0)))
    else if (found.length === 0 && source) found.push(await this.#askAt(source, subject, tag))
    else if (found.length === 0 && faults[0]) throw faults[0]
    return union(found)
  }

  async #askAuthority(
    place: Source,
    subject: Digest,
    tag: string | undefined,
    isAnswered: boolean,
  ): Promise<Attached[]> {
    const { registry } = place
    if (isAnswered && this.#outOfReach.has(registry)) return []
    try {
      return [await this.#askAt(place, subject, tag)]
    } catch (error) {
      if (!isAnswered || !isOfOneImage(error) || !OUT_OF_REACH.has(error.code)) throw error
      if (!this.#outOfReach.has(registry)) {
        const message = `${registry} cannot be asked for signatures and other referrers of its images; only what mirrors list is packed: ${error.message}`
        this.#options.onEvent?.({ type: 'warning', message })
      }
      this.#outOfReach.add(registry)
      return []
    }
  }

  /** Limits what is listed, because all of it is kept for the whole run. */
  #count({ registry }: Source, listed: number): void {
    this.#listed += listed
    if (this.#listed <= MAX_LISTED) return
    throw new AirgapError(
      'REGISTRY',
      `${registry} and others list more than ${MAX_LISTED} referrers of these images, which is the limit for one run`,
      { hint: 'Make several bundles, each with some of these images.' },
    )
  }

  /** Whether a repository may have a tag. One list of tags answers this for all digests. */
  async #mayHave(place: Source, tag: string, known: string | undefined): Promise<boolean> {
    const listed =
      // Outside the limit, because the caller may already hold one of its places.
      this.#tags.get(place.name) ?? place.allTags(this.#options.signal)
    this.#tags.set(place.name, listed)
    const tags = await listed
    return tags === undefined || tags.has(tag) || (known !== undefined && !tags.has(known))
  }

  async #askAt(place: Source, subject: Digest, known: string | undefined): Promise<Attached> {
    const { choice, cache, limit, signal, onEvent } = this.#options
    const once = <T>(work: () => Promise<T>): Promise<T> =>
      limit(() => {
        signal?.throwIfAborted()
        return work()
      })
    return union(
      await settled([
        once(async () => {
          const unusable = new Set<string>()
          const listed = await place.referrers(subject, signal, {
            onUnusable: (digest) => void unusable.add(digest),
            mayHave: (tag) => this.#mayHave(place, tag, known),
          })
          this.#count(place, listed.length + unusable.size)
          return {
            listed: new Map(listed.map((one) => [one.digest, one.mediaType])),
            tagged: new Map(),
            unusable,
          }
        }),
        ...cosignTagsOf(subject, choice).map(async (tag) => {
          if (!(await this.#mayHave(place, tag, known))) return NOTHING
          return once(async () => {
            const found = await place.resolveAttached(tag, subject, signal).catch((error: unknown) => {
              if (!isHeldBack(error)) throw error
              const message = `${place.name}:${tag} is left out: ${error.message}`
              onEvent?.({ type: 'warning', message })
              return undefined
            })
            if (found?.document) cache.add(found.document)
            return {
              listed: new Map(),
              tagged: new Map(found ? [[tag, found.digest]] : []),
              unusable: new Set<string>(),
            }
          })
        }),
      ]),
    )
  }
}

const NOTHING: Attached = { listed: new Map(), tagged: new Map(), unusable: new Set() }

/** Most entries in all lists of a run together: fifty for each of ten thousand images. */
const MAX_LISTED = 500_000

/** Combines them; if they differ, the first one counts. */
function union(all: readonly Attached[]): Attached {
  const both: Attached = { listed: new Map(), tagged: new Map(), unusable: new Set() }
  for (const { listed, tagged, unusable } of all.toReversed()) {
    for (const digest of unusable) both.unusable.add(digest)
    for (const [digest, mediaType] of listed) both.listed.set(digest, mediaType)
    for (const [tag, digest] of tagged) both.tagged.set(tag, digest)
  }
  return both
}

/**
 * Waits until all have ended.
 * @throws what the first in their order threw.
 */
export async function settled<T>(all: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(all)
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}
