import {
  isChosen,
  MAX_REFERRERS_OF_IMAGE,
  type ReferrerEntry,
  sortReferrers,
} from '../../bundle/referrers.ts'
import type { ImageEntry } from '../../bundle/description.ts'
import { AirgapError, type ErrorCode } from '../../errors.ts'
import { type Digest, digestFault, shortHex } from '../../oci/digest.ts'
import type { ManifestOrIndex, ReferrerChoice } from '../../oci/manifest.ts'
import { parseReference } from '../../oci/reference.ts'
import { isManifestOrIndexType } from '../../oci/media-types.ts'
import type { Sources } from '../../registry/mirrors/sources.ts'
import { asRegistryFault, forEachImage, type ImageFailure, isHeldBack } from '../../content/failures.ts'
import { closureOf, type LoadDocument } from '../../content/graph.ts'
import { Limits, RunLimits } from '../../content/limits.ts'
import { type Found, referrerEntry, referrerFault } from '../../content/referrers.ts'
import { type LookupOptions, ReferrerLookup, settled } from './lookup.ts'
import pLimit from 'p-limit'
import type { OnEvent } from '../../content/events.ts'
import { DEFAULT_CONCURRENCY } from '../../content/parallel.ts'
import type { DocumentCache } from '../sources.ts'

/** A pinned image, and where it can be read. */
export interface PinnedImage {
  entry: ImageEntry
  /** Manifests and indexes that are delivered. */
  own: ReadonlySet<Digest>
  sources: Sources
}

interface Options {
  choice: ReferrerChoice
  resolveFrom: 'source' | 'mirror'
  cache: DocumentCache
  concurrency?: number | undefined
  mayAllFail: boolean
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

/**
 * Adds referrers to pinned images. An image fails if its referrers cannot be listed: a bundle without its signatures must
 * not look like the bundle of an image that has none.
 *
 * @throws AirgapError as `forEachImage`, if all fail.
 */
export async function addReferrers(
  images: readonly PinnedImage[],
  { choice, mayAllFail, ...options }: Options,
): Promise<{ results: ImageEntry[]; failed: ImageFailure[] }> {
  if (choice === 'none' || images.length === 0)
    return { results: images.map(({ entry }) => entry), failed: [] }
  const { concurrency = DEFAULT_CONCURRENCY, signal, onEvent } = options
  onEvent?.({ type: 'phase', phase: 'referrers', items: images.length, bytes: 0 })
  const common = { ...options, choice, limit: pLimit(concurrency), run: new RunLimits() }
  const lookup = new ReferrerLookup(common)
  const words = {
    nameOf: ({ entry }: PinnedImage) => entry.source,
    faultOf: withWayOut,
    summary: 'could not be resolved together with what refers to them',
  }
  const work = { concurrency, mayAllFail, ...(signal ? { signal } : {}), ...(onEvent ? { onEvent } : {}) }
  return forEachImage(images, work, words, async ({ entry, own, sources }) => {
    const referrers = await findReferrers(entry, own, sources, { ...common, lookup })
    const bytes = referrers.reduce((sum, { size }) => sum + size, 0)
    onEvent?.({ type: 'item', name: entry.source, bytes, outcome: 'listed' })
    return referrers.length === 0 ? entry : { ...entry, referrers }
  })
}

/** Errors that may concern only the list of referrers, while the image itself can be read. */
const OF_THE_LIST: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'REGISTRY',
  'DENIED',
  'UNAUTHORIZED',
  'CONTENT_MISMATCH',
  'UNSUPPORTED_CONTENT',
])

function withWayOut(error: unknown, image: string): unknown {
  const fault = asRegistryFault(error, image)
  if (!(fault instanceof AirgapError) || !OF_THE_LIST.has(fault.code)) return fault
  return fault.with({ hint: [...fault.hints, { id: 'no-referrers' }], cause: error })
}

/** How deep referrers of referrers may go. A signature of an SBOM of a signature is already unusual. */
const MAX_DEPTH = 8
/** How many left-out things are named for each image. */
const MOST_NAMED = 3

export interface FindOptions extends LookupOptions {
  lookup: ReferrerLookup
  run: RunLimits
}

const TOO_MANY_REFERRERS =
  'No real image has so many signatures, attestations and SBOMs: look at what the registry lists.'

/** What refers to a digest. */
interface Below {
  entries: ReferrerEntry[]
  /** Those that are part of the image. */
  own: Digest[]
}

/** Something that a list names, or that a cosign tag points to. */
interface Candidate {
  digest: Digest
  /** As the list says; used only to skip what we cannot read. */
  mediaType: string | undefined
  found: Found
  /** Whether a cosign tag points to it, too. */
  isTagged: boolean
}

/** Errors of what was listed, not of the list: nobody could fetch it from there. */
const OF_THE_CONTENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_FOUND',
  'INVALID_CONTENT',
  'UNSUPPORTED_CONTENT',
])

/**
 * Finds what refers to an image: to its source, to the delivered manifest or index, to each platform's manifest, and in
 * turn to what was found. For an index that was made for a choice of platforms, no registry is asked, because none knows
 * it.
 *
 * A listed manifest that is not what the list says is left out with a warning: lists are not authenticated, so a stray
 * entry must neither be trusted nor prevent the image from being packed.
 *
 * @param own the delivered manifests and indexes; these do not count as referrers of each other.
 * @returns the referrers, sorted.
 * @throws AirgapError if a registry cannot be asked, or if there are too many or too deep ones.
 */
export async function findReferrers(
  image: ImageEntry,
  own: ReadonlySet<Digest>,
  sources: Sources,
  options: FindOptions,
): Promise<ReferrerEntry[]> {
  const search = new Search(image, own, sources, options)
  try {
    return await search.run()
  } finally {
    search.tell()
  }
}

class Search {
  readonly #image: ImageEntry
  readonly #own: ReadonlySet<Digest>
  readonly #sources: Sources
  readonly #options: FindOptions
  readonly #load: LoadDocument
  readonly #limits: Limits
  /** The tag that was resolved. */
  readonly #tag: string | undefined
  readonly #leftOut: string[] = []
  #candidates = 0

  constructor(image: ImageEntry, own: ReadonlySet<Digest>, sources: Sources, options: FindOptions) {
    this.#image = image
    this.#own = own
    this.#sources = sources
    this.#options = options
    this.#tag = parseReference(image.source).tag
    // `REGISTRY` fails the image. An error of the content would leave out what may be the real signature.
    this.#limits = new Limits(options.run, {
      image: image.source,
      of: 'referrers',
      code: 'REGISTRY',
      hint: TOO_MANY_REFERRERS,
    })
    const load = this.#limits.counting(options.cache.loader(sources.all, options.signal))
    this.#load = (descriptor) => this.#request(() => load(descriptor))
  }

  async run(): Promise<ReferrerEntry[]> {
    const found: ReferrerEntry[] = []
    const asked = new Set<Digest>()
    let subjects = this.#subjects()
    for (let depth = 0; subjects.size > 0; depth += 1) {
      for (const subject of subjects) asked.add(subject)
      const all = await settled([...subjects].map((subject) => this.#below(subject)))
      const entries = all.flatMap((below) => below.entries)
      if (depth >= MAX_DEPTH && entries.length > 0) throw this.#tooMany(`deeper than ${MAX_DEPTH} levels`)
      found.push(...entries)
      const next = [...entries.map(({ digest }) => digest), ...all.flatMap((below) => below.own)]
      subjects = new Set(next.filter((digest) => !asked.has(digest)))
    }
    return sortReferrers(found)
  }

  /** Warns of what was left out. */
  tell(): void {
    const all = this.#leftOut.toSorted()
    const left = all.length - MOST_NAMED
    for (const one of all.slice(0, MOST_NAMED)) this.#warn(one)
    if (left > 0) this.#warn(`and ${left} more like these are left out`)
  }

  #warn(what: string): void {
    this.#options.onEvent?.({ type: 'warning', message: `${this.#image.source}: ${what}` })
  }

  #subjects(): Set<Digest> {
    const { sourceDigest, digest, platforms } = this.#image
    const isDerived = digest !== sourceDigest && platforms.every((one) => one.digest !== digest)
    return new Set([sourceDigest, ...(isDerived ? [] : [digest]), ...platforms.map((one) => one.digest)])
  }

  async #below(subject: Digest): Promise<Below> {
    const { lookup, choice } = this.#options
    const { listed, tagged, unusable } = await lookup.of(this.#sources, subject, this.#tag)
    this.#candidates += listed.size + tagged.size + unusable.size
    if (this.#candidates > MAX_REFERRERS_OF_IMAGE) throw this.#tooMany(`more than ${MAX_REFERRERS_OF_IMAGE}`)
    for (const digest of unusable) this.#leave(digest, { subject }, digestFault(digest))
    // Harbor also lists what it finds by cosign tags, even if it names no subject. It is packed under its tag.
    const byTag = new Set(tagged.values())
    const own = [...listed.keys()].filter((digest) => this.#own.has(digest))
    const candidates = [
      ...[...listed]
        .filter(([digest]) => !this.#own.has(digest))
        .map(([digest, mediaType]) => ({
          digest,
          mediaType,
          found: { subject },
          isTagged: byTag.has(digest),
        })),
      ...[...tagged].map(([tag, digest]) => ({
        digest,
        mediaType: undefined,
        found: { subject, tag },
        isTagged: false,
      })),
    ]
    const entries = await settled(candidates.map((candidate) => this.#examine(candidate)))
    return { own, entries: entries.flat().filter((entry) => isChosen(entry, choice)) }
  }

  async #examine({ digest, mediaType, found, isTagged }: Candidate): Promise<ReferrerEntry[]> {
    if (mediaType !== undefined && !isManifestOrIndexType(mediaType)) {
      return this.#leave(
        digest,
        found,
        `it is of type ${JSON.stringify(mediaType.slice(0, 100))}, which is neither a manifest nor an index`,
      )
    }
    try {
      const document = this.#limits.read(await this.#fetch(digest))
      const fault = referrerFault(document, found)
      if (isTagged && document.subject === undefined) return []
      if (fault !== undefined) return this.#leave(digest, found, fault)
      const root = { mediaType: document.mediaType, digest, size: document.bytes.length }
      const closure = await closureOf(root, this.#load, this.#image.source, undefined, this.#limits)
      return [referrerEntry(document, closure, found)]
    } catch (error) {
      const isOfContent = error instanceof AirgapError && OF_THE_CONTENT.has(error.code)
      if (!isOfContent && !isHeldBack(error)) throw error
      return this.#leave(digest, found, error.message)
    }
  }

  #fetch(digest: Digest): Promise<ManifestOrIndex> {
    const { cache, signal } = this.#options
    return this.#request(() => cache.fetch(digest, this.#sources.all, signal))
  }

  #request<T>(work: () => Promise<T>): Promise<T> {
    const { limit, signal } = this.#options
    return limit(() => {
      signal?.throwIfAborted()
      this.#limits.check()
      return work()
    })
  }

  #leave(digest: string, { subject, tag }: Found, why: string): [] {
    const name = this.#sources.all.at(-1)?.name
    this.#leftOut.push(
      tag === undefined
        ? `${digest}, listed as referring to ${shortHex(subject)}, is left out: ${why}`
        : `${name}:${tag} is left out: ${why}`,
    )
    return []
  }

  #tooMany(what: string): AirgapError {
    return new AirgapError('REGISTRY', `${this.#image.source}: what refers to it is ${what}`, {
      hint: TOO_MANY_REFERRERS,
    })
  }
}
