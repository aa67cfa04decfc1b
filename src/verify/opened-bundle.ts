import type { Checksums } from '../bundle/checksums.ts'
import type { BundleDescription, ImageEntry } from '../bundle/description.ts'
import { digestOfBlobName, blobName } from '../bundle/names.ts'
import { isCutOff, type BundleEntry, type BundleReader } from '../bundle/reader.ts'
import { AirgapError, problemOf, type Problem } from '../errors.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_SIZE, parseManifest, type ManifestOrIndex } from '../oci/manifest.ts'
import type { Amount } from '../content/events.ts'
import type { Closure, DocumentNode } from '../content/graph.ts'
import type { ReferrerGraph } from '../content/referrers.ts'
import type { UpstreamVerdict } from '../upstream/verdict.ts'
import type { RuleVerdict } from '../trust/policy/requirement.ts'
import type { Authentication } from './authenticate.ts'

/** A clock that is earlier than the bundle's creation. RFC 3339. */
export interface ClockFault {
  /** The time by this machine's clock. */
  now: string
  /** When the bundle was created, according to itself. */
  created: string
}

/** What receipts say about remembered sequences. */
export interface SequenceEvidence {
  /** found: an earlier push is remembered; none: no earlier push is; off: pushes are not remembered. */
  sequenceMemory: 'found' | 'none' | 'off'
  /** The last accepted sequence of this name and signer. */
  previousSequence?: number | undefined
}

/** An image of an opened bundle, with everything that its delivered digest reaches. */
export interface ImageGraph {
  image: ImageEntry
  closure: Closure
  /** The source's indexes, if only part of them is delivered. What they list need not be in the bundle. */
  evidence: readonly DocumentNode[]
  /** The image's referrers in the bundle. */
  referrers: readonly ReferrerGraph[]
}

/**
 * The parts of a verification, in order: signatures and the approved digest; headers, names and order of the archive;
 * what `airgap.json` says; manifests, indexes and what they reach; the bytes of every blob.
 */
export type CheckedPart = 'signature' | 'archive' | 'description' | 'images' | 'content'

/**
 * A bundle after the checks that need no hashing of layers: steps 1 to 5 of the verification (docs/bundle-format.md).
 * `authentication` says who signed it; without `problems` it is consistent.
 */
export interface OpenedBundle {
  reader: BundleReader
  bundleDigest: Digest
  authentication: Authentication
  checksums: Checksums
  entries: Map<string, BundleEntry>
  /** Undefined if it could not be read; then `problems` says why. */
  description: BundleDescription | undefined
  /** One for each image of the description. */
  images: ImageGraph[]
  /** The verdict on every rule of the policy that could be checked; undefined without a policy. */
  rules?: readonly RuleVerdict[] | undefined
  /** What the file of sequences says, if there was one to check. */
  sequences?: SequenceEvidence | undefined
  /** Set if this machine's clock is earlier than the bundle. */
  clock?: ClockFault | undefined
  /** The result of checking the upstreams' signatures, if requested: one for each image. */
  upstream?: readonly UpstreamVerdict[]
  /** Set if the file ends too early. */
  cutOff?: CutOff | undefined
  /** The images that are faulty, by the entry that is missing or altered. */
  faulty: Map<string, string[]>
  problems: Problem[]
  /** The number of faults in each part. A part that is missing here was not checked completely. */
  checked: Map<CheckedPart, number>
  /** The SHA-256 of the whole file, if requested. */
  fileDigest?: Digest
}

/** How much there is of a file that was not copied completely. */
export interface CutOff {
  /** Bytes. */
  there: number
  /** Bytes of the whole file; undefined if the manifests that tell its size are missing, too. */
  whole: number | undefined
  /** Entries that are missing or incomplete. */
  missing: number
  /** All entries. */
  entries: number
}

/**
 * Counts the faults of each part. Call the result at the end of each part, in order. Unmet expectations are not counted,
 * because they are not faults of the file.
 */
export function faultCounter({ problems, checked }: OpenedBundle): (part: CheckedPart) => void {
  let counted = 0
  return (part) => {
    const faults = problems.filter(({ kind }) => kind !== 'expectation').length
    checked.set(part, faults - counted)
    counted = faults
  }
}

/**
 * Counts what an archive holds below `blobs/`: manifests and indexes, including those of evidence and referrers, and all
 * other blobs. If the manifests cannot be read, they count as blobs.
 */
export function contentSums({ entries, images }: OpenedBundle): { blobs: Amount; manifests: Amount } {
  const documents = new Set(
    images.flatMap(({ closure, evidence, referrers }) => [
      ...closure.documents.keys(),
      ...evidence.map(({ digest }) => digest),
      ...referrers.flatMap((referrer) => [...referrer.closure.documents.keys()]),
    ]),
  )
  const sums = { blobs: { count: 0, bytes: 0 }, manifests: { count: 0, bytes: 0 } }
  for (const { name, size } of entries.values()) {
    const digest = digestOfBlobName(name)
    if (digest === undefined) continue
    const sum = documents.has(digest) ? sums.manifests : sums.blobs
    sum.count += 1
    sum.bytes += size
  }
  return sums
}

/** A bundle without problems. */
export interface VerifiedBundle extends OpenedBundle {
  description: BundleDescription
}

/**
 * Reads an entry once, compares the hash of these bytes with the list, and returns the same bytes for parsing.
 * @returns undefined if the entry is missing, too large or altered; then a problem has been reported.
 */
export async function readChecked(
  opened: OpenedBundle,
  name: string,
  limit: number,
): Promise<Buffer | undefined> {
  const entry = opened.entries.get(name)
  const expected = opened.checksums.get(name)
  // Missing entries have been reported when the archive was scanned.
  if (!entry || !expected) return undefined
  try {
    const bytes = await opened.reader.read(entry, limit)
    const actual = digestOf(bytes)
    if (actual === expected) return bytes
    opened.problems.push({ entry: name, message: alteredMessage(actual, expected) })
  } catch (error) {
    opened.problems.push(asProblem(name, error))
  }
  return undefined
}

/**
 * Reads again a manifest or index that was checked before, and checks it again, so that what is sent is what was checked.
 * @throws AirgapError `INVALID_CONTENT` if the file has changed since, `FILE`
 */
export async function readDocument(
  { reader, entries }: Pick<OpenedBundle, 'reader' | 'entries'>,
  { digest, mediaType }: Pick<DocumentNode, 'digest' | 'mediaType'>,
): Promise<ManifestOrIndex> {
  const name = blobName(digest)
  const entry = entries.get(name)
  if (!entry) throw new AirgapError('INTERNAL', `${digest} is not in the bundle`)
  const bytes = await reader.read(entry, MAX_MANIFEST_SIZE)
  const actual = digestOf(bytes)
  if (actual !== digest)
    throw new AirgapError('INVALID_CONTENT', alteredMessage(actual, digest), { subject: name })
  return parseManifest(bytes, name, mediaType)
}

export function alteredMessage(actual: Digest, expected: Digest): string {
  return `its content has been altered: its digest is ${actual}, but the list says ${expected}`
}

/** Turns an error about content into a problem of an entry. Throws any other error, such as one of the file system. */
export function asProblem(entry: string, error: unknown): Problem {
  if (
    error instanceof AirgapError &&
    (error.code === 'INVALID_CONTENT' || error.code === 'UNSUPPORTED_CONTENT')
  ) {
    return { ...problemOf(entry, error), ...(isCutOff(error) ? { kind: 'cut-off' } : {}) }
  }
  throw error
}
