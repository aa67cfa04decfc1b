/** OCI image-spec media-types.md, and Docker's image manifest version 2, schema 2. */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'

const INDEX_TYPES: ReadonlySet<string> = new Set([OCI_INDEX, DOCKER_LIST])
const MANIFEST_TYPES: ReadonlySet<string> = new Set([OCI_MANIFEST, DOCKER_MANIFEST])
const IMAGE_CONFIG_TYPES: ReadonlySet<string> = new Set([OCI_CONFIG, DOCKER_CONFIG])

/** Our Accept header. Without the right type some registries answer 404, others pick linux/amd64 on their own. */
export const ACCEPTED_MANIFESTS = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(', ')

export function isIndexType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType)
}

export function isManifestType(mediaType: string): boolean {
  return MANIFEST_TYPES.has(mediaType)
}

export function isManifestOrIndexType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType) || MANIFEST_TYPES.has(mediaType)
}

/** Whether this is the config of an image that a container runtime can run. With any other config it is an artifact. */
export function isImageConfigType(mediaType: string): boolean {
  return IMAGE_CONFIG_TYPES.has(mediaType)
}

/** Characters: longer than any media type by RFC 6838 § 4.2, with room for parameters. */
export const MAX_ARTIFACT_TYPE = 1024
