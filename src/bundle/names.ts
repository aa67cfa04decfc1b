import { hexOf, type Digest } from '../oci/digest.ts'

/** The entries of a bundle, by their names in the archive. */
export const CHECKSUMS = 'SHA256SUMS'
export const SIGSTORE_SIGNATURE = 'SHA256SUMS.sigstore.json'
export const RAW_SIGNATURE = 'SHA256SUMS.sig'
export const DESCRIPTION = 'airgap.json'
export const OCI_LAYOUT = 'oci-layout'
export const INDEX = 'index.json'
export const DOCKER_MANIFEST_LIST = 'manifest.json'

/** In their order in the file, after the checksums and signatures and before the blobs. */
export const FIXED_NAMES: readonly string[] = [DESCRIPTION, OCI_LAYOUT, INDEX, DOCKER_MANIFEST_LIST]

const BLOB_PREFIX = 'blobs/sha256/'

export function blobName(digest: Digest): string {
  return `${BLOB_PREFIX}${hexOf(digest)}`
}

/** The digest in a blob entry's name; undefined for every other name. */
export function digestOfBlobName(name: string): Digest | undefined {
  const hex = name.startsWith(BLOB_PREFIX) ? name.slice(BLOB_PREFIX.length) : ''
  return /^[0-9a-f]{64}$/.test(hex) ? `sha256:${hex}` : undefined
}

/** The largest accepted sizes of entries that are read into memory, in bytes. */
export const MAX_CHECKSUMS = 64 * 1024 * 1024
export const MAX_SIGSTORE_SIGNATURE = 1024 * 1024
export const MAX_RAW_SIGNATURE = 4 * 1024
/** Enough for airgap.json, index.json and manifest.json of some ten thousand images. */
export const MAX_JSON_ENTRY = 64 * 1024 * 1024
