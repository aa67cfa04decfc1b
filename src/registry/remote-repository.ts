import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'
import { openBlob, statBlob } from './blobs/blobs.ts'
import type { Connection, Shared } from './net/connection.ts'
import { downloadBlob } from './blobs/download.ts'
import { type ApiPlace, Location } from './net/location.ts'
import { fetchManifest, ifThere, putManifest, resolveManifest } from './manifests.ts'
import { ensureReferrer, listReferrers } from './referrers.ts'
import type { Repository } from './repository.ts'
import { mountBlob } from './blobs/uploads/session.ts'
import { uploadBlob } from './blobs/uploads/upload.ts'
import { allTags, someTags } from './tags.ts'
import type { BlobStream, ManifestInfo, ReferrersOptions, UploadMemory } from '../content/source.ts'

/** A repository on a registry, over the network. */
export class RemoteRepository implements Repository {
  readonly registry: string
  readonly repository: string
  readonly name: string
  readonly #location: Location
  readonly onPassedOver: Repository['onPassedOver']
  readonly #client: { readonly shared: Shared }

  constructor(
    connection: Connection,
    repository: string,
    client: { readonly shared: Shared },
    place: ApiPlace & Pick<Repository, 'onPassedOver'> = {},
  ) {
    this.onPassedOver = place.onPassedOver
    this.#location = new Location(connection, repository, place)
    this.#client = client
    this.registry = this.#location.registry
    this.repository = repository
    this.name = this.#location.name
  }

  get isSlow(): boolean {
    return this.#client.shared.hosts.isSlow(this.registry)
  }

  wasSlow(): void {
    this.#client.shared.hosts.wasSlow(this.registry)
  }

  async resolveManifest(ref: string, signal?: AbortSignal): Promise<ManifestInfo | undefined> {
    return resolveManifest(this.#location, ref, signal)
  }

  async fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex> {
    return fetchManifest(this.#location, ref, signal)
  }

  async resolveAttached(
    tag: string,
    subject: Digest,
    signal?: AbortSignal,
  ): Promise<ManifestInfo | undefined> {
    return ifThere(this.#location, subject, signal, () => resolveManifest(this.#location, tag, signal))
  }

  async fetchAttached(
    tag: string,
    subject: Digest,
    signal?: AbortSignal,
  ): Promise<ManifestOrIndex | undefined> {
    return ifThere(this.#location, subject, signal, () => fetchManifest(this.#location, tag, signal))
  }

  async someTags(signal?: AbortSignal): Promise<string[] | undefined> {
    return someTags(this.#location, signal)
  }

  async allTags(signal?: AbortSignal): Promise<ReadonlySet<string> | undefined> {
    return allTags(this.#location, signal)
  }

  async statBlob(digest: Digest, signal?: AbortSignal): Promise<{ size: number | undefined } | undefined> {
    return statBlob(this.#location, digest, signal)
  }

  async fetchSmallBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    const { digest, size } = descriptor
    if (size > maxBytes) {
      throw new AirgapError(
        'INVALID_CONTENT',
        `the blob ${digest} of ${this.name} is stated to have ${size} bytes, but at most ${maxBytes} are allowed`,
      )
    }
    const whole: Uint8Array[] = []
    const sink = {
      restartable: true,
      write: async (bytes: Uint8Array, position: number): Promise<void> => {
        if (position === 0) whole.length = 0
        whole.push(Buffer.from(bytes))
      },
    }
    await downloadBlob([this], { digest, size }, sink, {
      client: this.#client,
      signal,
    })
    return Buffer.concat(whole)
  }

  async openBlob(
    digest: Digest,
    offset: number,
    signal?: AbortSignal,
    leastRate?: number,
  ): Promise<BlobStream> {
    return openBlob(this.#location, digest, offset, signal, leastRate)
  }

  async putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void> {
    return putManifest(this.#location, ref, document, signal)
  }

  async referrers(digest: Digest, signal?: AbortSignal, options?: ReferrersOptions): Promise<Descriptor[]> {
    return listReferrers(this.#location, digest, signal, options)
  }

  async ensureReferrer(
    document: ManifestOrIndex,
    signal?: AbortSignal,
  ): Promise<'listed' | 'added' | 'tagged'> {
    return ensureReferrer(this.#location, document, signal)
  }

  async mountBlob(digest: Digest, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    return mountBlob(this.#location, digest, fromRepository, signal)
  }

  async uploadBlob(
    descriptor: { digest: Digest; size: number },
    open: (from: number) => AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
    onProgress?: (bytes: number) => void,
    memory?: UploadMemory,
  ): Promise<void> {
    return uploadBlob(this.#location, descriptor, open, { signal, onProgress, memory })
  }
}
