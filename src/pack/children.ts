import { AirgapError, type ErrorCode } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { attestationSubject, type ManifestOrIndex } from '../oci/manifest.ts'
import { isIndexType } from '../oci/media-types.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { answerOf } from '../registry/faults/answer.ts'
import type { Source } from '../content/source.ts'
import { isAbort } from '../content/failures.ts'
import type { LoadDocument } from '../content/graph.ts'
import { inParallel } from '../content/parallel.ts'
import { statedPlatform } from '../content/platforms.ts'
import { isNotServed } from '../content/select.ts'
import type { DocumentCache } from './sources.ts'
import type { Hint } from '../hints.ts'

/** How many children are looked up at most, to say which are available. */
const MOST_ASKED = 100
/** How many unavailable children are named. */
const MOST_NAMED = 5

/** Errors that a child of a good index may have, and that do not say which child. */
const OF_A_CHILD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INVALID_CONTENT',
  'UNSUPPORTED_CONTENT',
  'CONTENT_MISMATCH',
  'REGISTRY',
])

interface Options {
  /** The image, for errors. */
  what: string
  cache: DocumentCache
  repositories: readonly Source[]
  signal?: AbortSignal | undefined
}

/** An entry of an index. */
interface Child {
  digest: Digest
  isIndex: boolean
  platform: Platform | undefined
  /** For an attestation: the digest of the manifest that it describes. */
  attests: string | undefined
}

/** What the hints for unavailable children depend on. */
interface WayOut {
  /** Whether a lock says what to take; a new one is needed then. */
  isLocked?: boolean
  /** Whether the image is named by its digest, which another selection would change. */
  isPinned: boolean
}

/**
 * What an image's index lists, at any depth. Loads it, and makes errors say which child failed: the tag exists, but one
 * platform or one attestation is not available.
 */
export class Children {
  readonly #source: ManifestOrIndex
  readonly #options: Options
  readonly #listed = new Map<Digest, Child>()
  readonly #loaded = new Set<Digest>()
  readonly #faults = new Map<unknown, Digest>()

  constructor(source: ManifestOrIndex, options: Options) {
    this.#source = source
    this.#options = options
    this.#list(source)
  }

  load: LoadDocument = async (descriptor) => {
    const { cache, repositories, signal } = this.#options
    try {
      const document = await cache.loader(repositories, signal)(descriptor)
      this.#loaded.add(descriptor.digest)
      this.#list(document)
      return document
    } catch (error) {
      this.#faults.set(error, descriptor.digest)
      throw error
    }
  }

  /** @throws AirgapError what `work` throws. If loading a child failed, the error names the child. */
  async telling<T>(wayOut: WayOut, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const digest = this.#faults.get(error)
      const child =
        digest === undefined || digest === this.#source.digest ? undefined : this.#listed.get(digest)
      if (!child || !(error instanceof AirgapError) || isAbort(error)) throw error
      if (isNotServed(error)) throw await this.#notServed(child, error, wayOut)
      if (!OF_A_CHILD.has(error.code)) throw error
      throw error.with({
        doing: undefined,
        subject: this.#options.what,
        reason: `${this.roleOf(child.digest)} (${child.digest}): ${error.message}`,
        cause: error,
      })
    }
  }

  /** Describes a child: `linux/arm64`, `the attestation of linux/arm64`. */
  roleOf(digest: Digest): string {
    const child = this.#listed.get(digest)
    if (!child) return 'a part of it'
    const subject = child.attests
    if (subject !== undefined) {
      const described = this.#listed.get(subject as Digest)
      return `the attestation of ${described ? (platformOf(described) ?? subject) : subject}`
    }
    if (child.isIndex) return 'a nested index'
    return platformOf(child) ?? 'a manifest without a platform'
  }

  #list(document: ManifestOrIndex): void {
    if (document.kind !== 'index') return
    for (const child of document.manifests) {
      if (this.#listed.has(child.digest)) continue
      const { digest, mediaType } = child
      const [platform, attests] = [statedPlatform(child), attestationSubject(child)]
      this.#listed.set(digest, { digest, isIndex: isIndexType(mediaType), platform, attests })
    }
  }

  async #notServed(child: Child, error: AirgapError, wayOut: WayOut): Promise<AirgapError> {
    const { what, repositories } = this.#options
    const asked = await this.#ask()
    const there = [...asked].flatMap(([digest, isThere]) => (isThere ? digest : []))
    const missing = [...asked].flatMap(([digest, isThere]) =>
      isThere || digest === child.digest ? [] : digest,
    )
    const names = repositories.map(({ name }) => name)
    const status = answerOf(error)?.status
    const verb = error.code === 'DENIED' ? 'give' : 'have'
    const who =
      names.length === 1 ? `${names[0]} does not ${verb}` : `none of ${names.join(', ')} does ${verb}`
    const others = [...new Set(missing.map((digest) => this.roleOf(digest)))]
    const more = others.length - MOST_NAMED
    const named = `${others.slice(0, MOST_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
    return new AirgapError(
      error.code,
      `its index lists ${this.roleOf(child.digest)} (${child.digest}), which ${who}${status === undefined ? '' : ` (${status})`}${others.length === 0 ? '' : `; these are not available either: ${named}`}`,
      {
        subject: what,
        hint: this.#hint([child.digest, ...missing], there, wayOut),
        problems: error.problems,
        cause: error,
      },
    )
  }

  #hint(
    missing: readonly Digest[],
    there: readonly Digest[],
    { isLocked = false, isPinned }: WayOut,
  ): Hint[] {
    const isAttestation = (digest: Digest): boolean => {
      const child = this.#listed.get(digest)
      return child?.attests !== undefined
    }
    const before: Hint[] = isLocked ? [{ id: 'new-lock' }] : []
    const platforms = [...new Set(there.flatMap((digest) => this.#platformOf(digest)))]
    if (missing.every(isAttestation)) {
      const all =
        platforms.length === 0 ? 'Everything else is' : `All platforms (${platforms.join(', ')}) are`
      return [...before, `${all} available.`, { id: 'allow-missing-attestations', isPinned }]
    }
    if (platforms.length === 0) {
      return [
        ...before,
        'None of its platforms is available.',
        { id: 'take-elsewhere' },
        { id: 'exclude-image' },
      ]
    }
    const isAnyLost = platforms.length > 1 && missing.some(isAttestation)
    return [...before, { id: 'platforms', platforms, isAnyLost, isPinned }]
  }

  #platformOf(digest: Digest): string[] {
    const child = this.#listed.get(digest)
    const platform = child && child.attests === undefined ? platformOf(child) : undefined
    return platform === undefined ? [] : [platform]
  }

  /** Which of them are available: those that were loaded, or that a registry says it has. */
  async #ask(): Promise<Map<Digest, boolean>> {
    const { repositories, signal } = this.#options
    const asked = [...this.#listed.keys()].slice(0, MOST_ASKED)
    const found = await inParallel(asked, signal ? { signal } : {}, async (digest, stop) => {
      if (this.#loaded.has(digest)) return true
      for (const repository of repositories) {
        try {
          if (await repository.resolveManifest(digest, stop)) return true
        } catch (error) {
          // This only improves the message.
          if (isAbort(error)) throw error
        }
      }
      return false
    })
    return new Map(asked.map((digest, i) => [digest, found[i] ?? false]))
  }
}

/** The platform in its descriptor; undefined if there is none. */
function platformOf({ platform }: Child): string | undefined {
  return platform && formatPlatform(platform)
}
