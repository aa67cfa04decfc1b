import { AirgapError, type ErrorCode } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { ManifestOrIndex } from '../oci/manifest.ts'
import type { LoadDocument } from './graph.ts'
import type { Hints } from '../hints.ts'

const MIB = 1024 * 1024

/** Manifests and indexes of one image, and as many again of what refers to it. */
export const MAX_DOCUMENTS = 10_000
/** Bytes of these. Registries take 4 MiB a manifest as a rule; genuine ones have some thousand bytes. */
export const MAX_DOCUMENT_BYTES = 128 * MIB
/** What these list: children of indexes, configs, layers. */
export const MAX_LISTED = 100_000
/** The same of all images together: two hundred things each of ten thousand images. */
export const MAX_LISTED_OF_RUN = 2_000_000

/** The way out for whoever packs. */
export const LEAVE_OUT: Hints = [
  'No genuine image comes near that: find out who has made it, or do without it.',
  { id: 'exclude-image' },
]

export const WITHOUT_REFERRERS: Hints = [
  'No genuine image has so many or so large signatures, attestations and SBOMs: look at what the registry lists.',
  { id: 'no-referrers' },
]

/** What all images of a run or of a bundle list, counted together. */
export class RunLimits {
  readonly #hint: Hints | undefined
  #listed = 0

  /** @param hint what whoever gives the images can do. */
  constructor(hint?: Hints) {
    this.#hint = hint
  }

  /** @throws AirgapError with `code` where it is too much. */
  list(count: number, code: ErrorCode): void {
    this.#listed += count
    if (this.#listed <= MAX_LISTED_OF_RUN) return
    throw new AirgapError(
      code,
      `the images list more than ${MAX_LISTED_OF_RUN} manifests and blobs together, the most of one bundle`,
      { hint: this.#hint },
    )
  }
}

interface LimitsOptions {
  /** Names it in errors; left out where whoever tells of them does. */
  image?: string
  /** Whose manifests and indexes they are: the image's own, or those of what refers to it. */
  of?: 'image' | 'referrers'
  code?: ErrorCode
  /** What can be done about it. */
  hint?: Hints | undefined
}

/**
 * Holds the manifests and indexes of one image to a number and to a size, so that nobody fills time, memory or disks
 * with them. Each is counted once, however often it is read.
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

  /** The same loader, whose documents are counted. */
  counting(load: LoadDocument): LoadDocument {
    return async (descriptor) => {
      this.check()
      return this.read(await load(descriptor))
    }
  }

  /** @throws AirgapError where it was too much before: then nothing more need be read. */
  check(): void {
    if (this.#excess) throw this.#excess
  }

  /** @throws AirgapError `INVALID_CONTENT`, or another code that was given, where the document is one too many. */
  read<T extends ManifestOrIndex>(document: T): T {
    if (this.#seen.has(document.digest)) return document
    this.#seen.add(document.digest)
    this.#bytes += document.bytes.length
    if (this.#seen.size > MAX_DOCUMENTS) this.#exceed(`are more than ${MAX_DOCUMENTS}`)
    if (this.#bytes > MAX_DOCUMENT_BYTES)
      this.#exceed(`have more than ${MAX_DOCUMENT_BYTES / MIB} MiB together`)
    return document
  }

  /** @throws AirgapError as {@link read}, where a document lists more than may be listed. */
  list(count: number): void {
    this.#listed += count
    if (this.#listed > MAX_LISTED) this.#exceed(`list more than ${MAX_LISTED} children, configs and layers`)
    this.#run.list(count, this.#code)
  }

  #exceed(what: string): void {
    const { image, of = 'image', hint } = this.#options
    const name = image === undefined ? '' : `${image}: `
    const whose =
      of === 'image' ? 'its manifests and indexes' : 'the manifests and indexes of what refers to it'
    this.#excess = new AirgapError(this.#code, `${name}${whose} ${what}, the most for one image`, {
      hint,
    })
    throw this.#excess
  }

  get #code(): ErrorCode {
    return this.#options.code ?? 'INVALID_CONTENT'
  }
}
