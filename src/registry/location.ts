import { AirgapError } from '../errors.ts'
import { isDigest, parseDigest, type Digest } from '../oci/digest.ts'
import { isTag } from '../oci/reference.ts'
import type { Connection } from './connection.ts'
import type { Context } from './notices.ts'

/** Where a repository is: its connection, its paths and scopes, and the words for it in errors. */
export class Location {
  readonly registry: string
  readonly repository: string
  /** `registry/repository`. */
  readonly name: string
  readonly connection: Connection
  /** Upload sessions that refused mounts have left behind, by digest; the upload that follows takes them. */
  readonly sessions = new Map<Digest, URL>()
  /** Of manifests that were put: whose referrers the registry has taken them for, by OCI-Subject. */
  readonly subjects = new Map<Digest, string | undefined>()

  constructor(connection: Connection, repository: string) {
    this.registry = connection.registry
    this.repository = repository
    this.name = `${this.registry}/${repository}`
    this.connection = connection
  }

  /** The context for errors of an operation on this repository. */
  context(operation: string): Context {
    return { registry: this.registry, operation }
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

  /** Path of a manifest, for a tag or a digest by the strict grammar only. */
  manifestPath(ref: string): string {
    if (!isDigest(ref) && !isTag(ref)) {
      if (ref.includes(':')) parseDigest(ref)
      throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(ref)} is neither a tag nor a digest`)
    }
    return `/v2/${this.repository}/manifests/${ref}`
  }

  blobPath(digest: Digest): string {
    return `/v2/${this.repository}/blobs/${parseDigest(digest)}`
  }
}
