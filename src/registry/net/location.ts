import { AirgapError } from '../../errors.ts'
import { isDigest, parseDigest, type Digest } from '../../oci/digest.ts'
import { isTag } from '../../oci/reference.ts'
import type { Connection } from './connection.ts'
import type { Context } from '../notices.ts'

/** The paths of a mirror that differ from a registry's. */
export interface ApiPlace {
  /** The root of the API, without a slash at the end; `/v2` by default. */
  apiRoot?: string | undefined
  /** The upstream registry, sent as `?ns=` like containerd does. */
  namespace?: string | undefined
}

/** Where a repository is: its connection, its paths and scopes, and its name in errors. */
export class Location {
  readonly #apiRoot: string
  readonly #query: string
  readonly registry: string
  readonly repository: string
  /** `registry/repository`. */
  readonly name: string
  readonly connection: Connection
  /** Upload sessions that refused mounts left behind, by digest. The upload that follows uses them. */
  readonly sessions = new Map<Digest, URL>()
  /** For each manifest pushed: the OCI-Subject that the registry answered with. */
  readonly subjects = new Map<Digest, string | undefined>()
  /** Whether a manifest could be read here, as far as known. */
  isReadable = false
  /** Whether the user was told that 403 is taken for "not found" here. */
  isForbiddingTold = false

  constructor(connection: Connection, repository: string, { apiRoot = '/v2', namespace }: ApiPlace = {}) {
    this.#apiRoot = apiRoot
    this.#query = namespace === undefined ? '' : `?ns=${encodeURIComponent(namespace)}`
    this.registry = connection.registry
    this.repository = repository
    this.name = `${this.registry}/${repository}`
    this.connection = connection
  }

  /** The context for errors of an operation on this repository. */
  context(operation: string, subject = this.name): Context {
    return { registry: this.registry, operation, subject }
  }

  get pull(): string {
    return `repository:${this.repository}:pull`
  }

  get push(): string {
    return `repository:${this.repository}:pull,push`
  }

  /** `name:tag` or `name@digest`. */
  refText(ref: string): string {
    return ref.includes(':') ? `${this.name}@${ref}` : `${this.name}:${ref}`
  }

  /** Path of a manifest, for a strictly valid tag or digest. */
  manifestPath(ref: string): string {
    if (!isDigest(ref) && !isTag(ref)) {
      if (ref.includes(':')) parseDigest(ref)
      throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(ref)} is neither a tag nor a digest`)
    }
    return `${this.#apiRoot}/${this.repository}/manifests/${ref}${this.#query}`
  }

  /** Path of the list of what refers to a digest (distribution-spec § Listing Referrers). */
  referrersPath(digest: Digest): string {
    return `${this.#apiRoot}/${this.repository}/referrers/${parseDigest(digest)}${this.#query}`
  }

  /** Path of the list of tags (distribution-spec § Listing Tags). */
  tagsPath(most: number): string {
    return `${this.#apiRoot}/${this.repository}/tags/list${this.#query === '' ? '?' : `${this.#query}&`}n=${most}`
  }

  /** What has one answer to whether there is a referrers API: a host can serve several registries by their first part. */
  get group(): string {
    return `${this.#apiRoot}/${this.repository.split('/')[0]}`
  }

  blobPath(digest: Digest): string {
    return `${this.#apiRoot}/${this.repository}/blobs/${parseDigest(digest)}${this.#query}`
  }
}
