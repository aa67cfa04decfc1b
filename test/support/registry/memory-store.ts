import { AirgapError } from '../../../src/errors.ts'
import { digestOf, isDigest, type Digest } from '../../../src/oci/digest.ts'
import { compareBytes } from '../../../src/oci/json.ts'
import {
  type Descriptor,
  type ManifestOrIndex,
  parseManifest,
  referrerOf,
} from '../../../src/oci/manifest.ts'
import type { ContentStore, StoredBlob, StoredManifest } from '../../../src/serve/registry/store.ts'

type ManifestInMemory = StoredManifest & { bytes: Uint8Array }

interface Repository {
  tags: Map<string, Digest>
  manifests: Map<Digest, ManifestInMemory>
  blobs: Map<Digest, Uint8Array>
  /** Descriptors of referrers, by their own digest, for each subject. */
  referrers: Map<string, Map<Digest, Descriptor>>
}

const PIECE = 64 * 1024

/**
 * A registry's content in memory. It checks nothing: what is put in directly may be broken on purpose. Requests
 * are checked by the handlers before they come here.
 */
export class MemoryStore implements ContentStore {
  readonly #repositories = new Map<string, Repository>()

  repositories(): string[] {
    return [...this.#repositories.keys()].toSorted(compareBytes)
  }

  tags(repository: string): string[] | undefined {
    const found = this.#repositories.get(repository)
    return found && [...found.tags.keys()].toSorted(compareBytes)
  }

  manifest(repository: string, reference: string): ManifestInMemory | undefined {
    const found = this.#repositories.get(repository)
    const digest = isDigest(reference) ? reference : found?.tags.get(reference)
    return digest && found?.manifests.get(digest)
  }

  blob(repository: string, digest: Digest): StoredBlob | undefined {
    const bytes = this.#repositories.get(repository)?.blobs.get(digest)
    return bytes && { digest, size: bytes.length, read: (start, end) => pieces(bytes.subarray(start, end)) }
  }

  referrers(repository: string, digest: Digest): Descriptor[] {
    return [...(this.#repositories.get(repository)?.referrers.get(digest)?.values() ?? [])]
  }

  /** @param digest what the caller has computed from `bytes`; computed here where it is left out */
  putBlob(repository: string, bytes: Uint8Array, digest: Digest = digestOf(bytes)): Digest {
    this.#open(repository).blobs.set(digest, bytes)
    return digest
  }

  mountBlob(from: string, to: string, digest: Digest): boolean {
    const bytes = this.#repositories.get(from)?.blobs.get(digest)
    if (bytes === undefined) return false
    this.#open(to).blobs.set(digest, bytes)
    return true
  }

  putManifest(repository: string, bytes: Uint8Array, mediaType: string, tag?: string): Digest {
    const digest = digestOf(bytes)
    const found = this.#open(repository)
    const manifest = { digest, mediaType, bytes }
    found.manifests.set(digest, manifest)
    const document = parsed(manifest)
    if (document?.subject) {
      const listed = found.referrers.get(document.subject.digest) ?? new Map<Digest, Descriptor>()
      found.referrers.set(document.subject.digest, listed.set(digest, referrerOf(document)))
    }
    if (tag !== undefined) found.tags.set(tag, digest)
    return digest
  }

  deleteBlob(repository: string, digest: Digest): boolean {
    return this.#repositories.get(repository)?.blobs.delete(digest) ?? false
  }

  deleteManifest(repository: string, digest: Digest): boolean {
    const found = this.#repositories.get(repository)
    if (!found?.manifests.delete(digest)) return false
    for (const listed of found.referrers.values()) listed.delete(digest)
    for (const [tag, target] of found.tags) if (target === digest) found.tags.delete(tag)
    return true
  }

  deleteTag(repository: string, tag: string): boolean {
    return this.#repositories.get(repository)?.tags.delete(tag) ?? false
  }

  #open(repository: string): Repository {
    let found = this.#repositories.get(repository)
    if (!found) {
      found = { tags: new Map(), manifests: new Map(), blobs: new Map(), referrers: new Map() }
      this.#repositories.set(repository, found)
    }
    return found
  }
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE)
}

/** A manifest put in broken on purpose has no subject that could be read. */
function parsed(manifest: ManifestInMemory): ManifestOrIndex | undefined {
  try {
    return parseManifest(manifest.bytes, manifest.digest)
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return undefined
    throw error
  }
}
