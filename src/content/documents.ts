import type { Digest } from '../oci/digest.ts'
import type { ManifestOrIndex } from '../oci/manifest.ts'

const MIB = 1024 * 1024

/** A cache with a limit; the entries that were used least recently go first. */
export class LruCache<K, V> {
  readonly #most: number
  readonly #entries = new Map<K, { value: V; weight: number }>()
  #weight = 0

  /** @param most the most that all entries may weigh together; an entry that weighs more by itself is not kept. */
  constructor(most: number) {
    this.#most = most
  }

  has(key: K): boolean {
    return this.#entries.has(key)
  }

  get(key: K): V | undefined {
    const found = this.#entries.get(key)
    if (!found) return undefined
    // A Map keeps its order of insertion, so this moves the entry to the end.
    this.#entries.delete(key)
    this.#entries.set(key, found)
    return found.value
  }

  set(key: K, value: V, weight: number): void {
    this.delete(key)
    if (weight > this.#most) return
    this.#entries.set(key, { value, weight })
    this.#weight += weight
    for (const oldest of this.#entries.keys()) {
      if (this.#weight <= this.#most) break
      this.delete(oldest)
    }
  }

  delete(key: K): void {
    const found = this.#entries.get(key)
    if (!found) return
    this.#entries.delete(key)
    this.#weight -= found.weight
  }
}

/**
 * Parsed documents that were read recently: the small ones (nearly all are), because many images share them, and the
 * last large one, because it is usually needed again right away.
 */
export class ParsedDocuments {
  readonly #kept: LruCache<Digest, ManifestOrIndex>
  #large: ManifestOrIndex | undefined

  /** @param most how many bytes the small ones may take; an estimate. */
  constructor(most: number = 64 * MIB) {
    this.#kept = new LruCache(most)
  }

  get(digest: Digest): ManifestOrIndex | undefined {
    return this.#large?.digest === digest ? this.#large : this.#kept.get(digest)
  }

  add(document: ManifestOrIndex): void {
    // Parsed JSON takes several times its bytes.
    const weight = 8 * document.bytes.length + 1024
    if (weight > 4 * MIB) this.#large = document
    else this.#kept.set(document.digest, document, weight)
  }
}
