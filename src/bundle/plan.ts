import { digestOf, type Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import { formatChecksums } from './checksums.ts'
import { blobName, CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from './names.ts'
import { encodeHeader, END_SIZE, entryLength, headerLength } from './tar.ts'

/** A signature over `SHA256SUMS`, in the two forms that a bundle holds. */
export interface BundleSignature {
  /** Sigstore bundle v0.3, JSON. */
  sigstore: Buffer
  /** The same signature as raw DER; only if it was made with a plain key. */
  raw?: Buffer | undefined
}

/** Space for a signature that is made after everything else: `SHA256SUMS.sigstore.json` will have `size` bytes. */
export interface ReservedSignature {
  size: number
}

/** A blob that the bundle will hold. */
export interface PlannedBlob {
  digest: Digest
  /** Bytes. */
  size: number
  /** True for manifests, indexes and configs, which come before all other blobs. */
  first: boolean
  /** Returns the bytes of a blob that was read while planning (manifests, configs). */
  read?: (() => Promise<Uint8Array>) | undefined
}

/** One entry of the archive with its place. Offsets and sizes in bytes. */
export interface PlannedEntry {
  name: string
  size: number
  headerOffset: number
  contentOffset: number
  /** The blob's digest; undefined for the files that describe the bundle. */
  digest: Digest | undefined
  /** Returns content that is known when planning; undefined for fetched content and for signatures. */
  read: (() => Promise<Uint8Array>) | undefined
  /** A signature that is known when planning. */
  signature?: Uint8Array | undefined
  /** Signatures are written last, so that an unfinished file is never signed. */
  isSignature: boolean
}

/** The layout of the whole archive, made before its first byte is written. */
export interface BundlePlan {
  entries: PlannedEntry[]
  /** Bytes of the finished file. */
  totalSize: number
  /** SHA-256 of `SHA256SUMS`: the digest that people quote, approve and sign. */
  bundleDigest: Digest
  checksums: Buffer
}

/** Sorts manifests and configs before all other blobs, each group by digest. */
export function orderBlobs<T extends { digest: Digest; first: boolean }>(blobs: readonly T[]): T[] {
  return blobs.toSorted((a, b) => {
    if (a.first !== b.first) return a.first ? -1 : 1
    return compareBytes(a.digest, b.digest)
  })
}

/** `SHA256SUMS` for a bundle of these files and blobs. */
export function checksumsOf(
  files: readonly { name: string; bytes: Uint8Array }[],
  blobs: readonly PlannedBlob[],
): Buffer {
  return formatChecksums([
    ...files.map(({ name, bytes }) => [name, digestOf(bytes)] as const),
    ...blobs.map(({ digest }) => [blobName(digest), digest] as const),
  ])
}

/**
 * Lays out the archive: every entry's offset, the total size and the bundle digest.
 *
 * @param files `airgap.json`, `oci-layout`, `index.json` and, if there is one, `manifest.json`, in that order.
 * @param blobs each digest once, in any order.
 * @param checksums what {@link checksumsOf} returned for the same files and blobs, and what `signature` signs.
 * @param signature a signature, or space for one that is made later.
 */
export function planBundle(
  files: readonly { name: string; bytes: Uint8Array }[],
  blobs: readonly PlannedBlob[],
  checksums: Buffer,
  signature?: BundleSignature | ReservedSignature,
): BundlePlan {
  const entries: PlannedEntry[] = []
  let offset = 0
  const add = (
    name: string,
    size: number,
    more: Pick<PlannedEntry, 'read' | 'signature'> & { digest?: Digest; isSignature?: boolean },
  ): void => {
    const { isSignature = false, digest, ...content } = more
    const contentOffset = offset + headerLength(size)
    entries.push({ name, size, headerOffset: offset, contentOffset, digest, isSignature, ...content })
    offset += entryLength(size)
  }
  const known = (name: string, bytes: Uint8Array): void =>
    add(name, bytes.length, { read: async () => bytes })
  const sign = (name: string, size: number, bytes?: Uint8Array): void =>
    add(name, size, { read: undefined, signature: bytes, isSignature: true })
  known(CHECKSUMS, checksums)
  if (signature && 'size' in signature) {
    sign(SIGSTORE_SIGNATURE, signature.size)
  } else if (signature) {
    sign(SIGSTORE_SIGNATURE, signature.sigstore.length, signature.sigstore)
    if (signature.raw) sign(RAW_SIGNATURE, signature.raw.length, signature.raw)
  }
  for (const { name, bytes } of files) known(name, bytes)
  for (const { digest, size, read } of orderBlobs(blobs)) add(blobName(digest), size, { read, digest })
  return { entries, totalSize: offset + END_SIZE, bundleDigest: digestOf(checksums), checksums }
}

export function entryHeader(entry: PlannedEntry): Buffer {
  return encodeHeader(entry.name, entry.size)
}
