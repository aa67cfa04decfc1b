import { AirgapError, type ErrorCode } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { ManifestOrIndex } from '../oci/manifest.ts'
import type { LoadDocument } from './graph.ts'
import type { Hints } from '../hints.ts'

const MIB = 1024 * 1024

/** Manifests and indexes of one image, and again of its referrers. */
export const MAX_DOCUMENTS = 10_000
/** Total bytes of these. Registries usually accept 4 MiB for a manifest; real ones have a few thousand bytes. */
export const MAX_DOCUMENT_BYTES = 128 * MIB
/** How many children, configs and layers these list together. */
export const MAX_LISTED = 100_000
/** The same for all images together: two hundred each for ten thousand images. */
export const MAX_LISTED_OF_RUN = 2_000_000

/** What somebody who packs can do. */
export const LEAVE_OUT: Hints = [
  'No real image comes close to that: find out who made it, or do without it.',
  { id: 'exclude-image' },
]

export const WITHOUT_REFERRERS: Hints = [
  'No real image has so many signatures, attestations and SBOMs, or such large ones: look at what the registry lists.',
  { id: 'no-referrers' },
]

/** Counts what all images of a run or of a bundle list. */
export class RunLimits {
  readonly #hint: Hints | undefined
  #listed = 0

  /** @param hint what the user can do. */
  constructor(hint?: Hints) {
    this.#hint = hint
  }

  /** @throws AirgapError with `code` if it is too much. */
  list(count: number, code: ErrorCode): void {
    this.#listed += count
    if (this.#listed <= MAX_LISTED_OF_RUN) return
    throw new AirgapError(
      code,
      `the images list more than ${MAX_LISTED_OF_RUN} manifests and blobs together, which is the limit for one bundle`,
      { hint: this.#hint },
    )
  }
}

interface LimitsOptions {
  /** Names the image in errors; left out if the caller adds it. */
  image?: string
  /** Whether these are the image's own manifests and indexes, or those of its referrers. */
  of?: 'image' | 'referrers'
  code?: ErrorCode
  /** What the user can do. */
  hint?: Hints | undefined
}

/**
 * Limits the number and the size of one image's manifests and indexes, so that an image cannot use up time, memory or
 * disks. Each is counted once, however often it is read.
 */
export class Limits {
  readonly #run: RunLimits
  readonly #options: LimitsOptions
  readonly #seen = new Set<Digest>()
  #bytes = 0
  #listed = 0
  #excess: AirgapError | undefined

  constructor(run: RunLimits, options: LimitsOptions = {}) {
    this.#run = run
    this.#options = options
  }

  /** The same loader, but it counts the documents. */
  counting(load: LoadDocument): LoadDocument {
    return async (descriptor) => {
      this.check()
      return this.read(await load(descriptor))
    }
  }

  /** @throws AirgapError if a limit was exceeded before: then nothing more needs to be read. */
  check(): void {
    if (this.#excess) throw this.#excess
  }

  /** @throws AirgapError `INVALID_CONTENT`, or the code from the options, if this document exceeds a limit. */
  read<T extends ManifestOrIndex>(document: T): T {
    if (this.#seen.has(document.digest)) return document
    this.#seen.add(document.digest)
    this.#bytes += document.bytes.length
    if (this.#seen.size > MAX_DOCUMENTS) this.#exceed(`are more than ${MAX_DOCUMENTS}`)
    if (this.#bytes > MAX_DOCUMENT_BYTES)
      this.#exceed(`have more than ${MAX_DOCUMENT_BYTES / MIB} MiB together`)
    return document
  }

  /** @throws AirgapError as {@link read}, if documents list too much. */
  list(count: number): void {
    this.#listed += count
    if (this.#listed > MAX_LISTED) this.#exceed(`list more than ${MAX_LISTED} children, configs and layers`)
    this.#run.list(count, this.#code)
  }

  #exceed(what: string): void {
    const { image, of = 'image', hint } = this.#options
    const whose =
      of === 'image' ? 'its manifests and indexes' : 'the manifests and indexes of what refers to it'
    this.#excess = new AirgapError(this.#code, `${whose} ${what}, which is the limit for one image`, {
      subject: image,
      hint,
    })
    throw this.#excess
  }

  get #code(): ErrorCode {
    return this.#options.code ?? 'INVALID_CONTENT'
  }
}
