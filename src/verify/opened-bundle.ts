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

/** A clock that is earlier than the bundle which it is to judge. RFC 3339. */
export interface ClockFault {
  /** What this machine's clock said. */
  now: string
  /** When the bundle says that it was created. */
  created: string
}

/** What receipts say of remembered sequences. */
export interface SequenceEvidence {
  /** found: an earlier push is remembered; none: there was none; off: nothing is remembered. */
  sequenceMemory: 'found' | 'none' | 'off'
  /** The last sequence of this name and signer that was accepted before. */
  previousSequence?: number | undefined
}

/** One image of an opened bundle, with everything that its delivered digest reaches. */
export interface ImageGraph {
  image: ImageEntry
  closure: Closure
  /** The source's indexes, where a part of them is delivered; what they list need not be in the bundle. */
  evidence: readonly DocumentNode[]
  /** What refers to the image and travels along, as its entry lists it. */
  referrers: readonly ReferrerGraph[]
}

/**
 * The parts of a verification, in their order: signatures, and the digest that was approved; headers, names and order of
 * the archive; what `airgap.json` says; manifests, indexes and what they reach; the bytes of every blob.
 */
export type CheckedPart = 'signature' | 'archive' | 'description' | 'images' | 'content'

/**
 * A bundle after the checks that need no hashing of layers: steps 1 to 5 of the format's verification. What is
 * here has been authenticated as far as `authentication` says, and is consistent unless `problems` says not.
 */
export interface OpenedBundle {
  reader: BundleReader
  bundleDigest: Digest
  authentication: Authentication
  checksums: Checksums
  entries: Map<string, BundleEntry>
  /** Undefined when it could not be read; then `problems` says why. */
  description: BundleDescription | undefined
  /** One for each image of the description. */
  images: ImageGraph[]
  /** Every rule of the policy that could be measured; undefined without a policy. */
  rules?: readonly RuleVerdict[] | undefined
  /** What a file of sequences says, where one was looked into. */
  sequences?: SequenceEvidence | undefined
  /** The clock of this machine is earlier than the bundle; undefined where it is not. */
  clock?: ClockFault | undefined
  /** What came of the upstreams' signatures, where that was asked for: one for each image. */
  upstream?: readonly UpstreamVerdict[]
  /** The file ends too early; undefined where it does not. */
  cutOff?: CutOff | undefined
  /** The images that something is wrong with, by the entry that is missing or altered. */
  faulty: Map<string, string[]>
  problems: Problem[]
  /** How many faults each part has shown; a part that is not here was not checked to its end. */
  checked: Map<CheckedPart, number>
  /** The SHA-256 of the whole file, where it was asked for. */
  fileDigest?: Digest
}

/** What is there of a file that was not copied whole. */
export interface CutOff {
  /** Bytes. */
  there: number
  /** Bytes of the whole file, where the manifests are there to say it. */
  whole: number | undefined
  /** Entries that are not there, or not whole. */
  missing: number
  /** All entries. */
  entries: number
}

/**
 * Counts what each part has found: call it at the end of each, in their order. Whatever is expected of a bundle is no
 * fault of its file, and is not counted.
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
 * What an archive holds below `blobs/`, each thing once: manifests and indexes, evidence and referrers' included, and the
 * blobs that these list. Where the manifests cannot be read, everything is a blob.
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

/** A bundle with nothing wrong in it. */
export interface VerifiedBundle extends OpenedBundle {
  description: BundleDescription
}

/**
 * Reads an entry once, hashes these bytes against the list, and returns the same bytes for parsing.
 * @returns undefined, with a problem noted, when the entry is missing, too large or altered.
 */
export async function readChecked(
  opened: OpenedBundle,
  name: string,
  limit: number,
): Promise<Buffer | undefined> {
  const entry = opened.entries.get(name)
  const expected = opened.checksums.get(name)
  // Missing entries have been reported by the walk over the archive.
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
 * Reads a manifest or index again, whose graph has been walked: what is sent is what was checked.
 * @throws AirgapError `INVALID_CONTENT` where the file has been written to since; `FILE`
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
  return `its content has been altered: it hashes to ${actual}, and the list says ${expected}`
}

/** Any error as a problem of an entry. Faults of the file system are not problems of the bundle: they are thrown. */
export function asProblem(entry: string, error: unknown): Problem {
  if (
    error instanceof AirgapError &&
    (error.code === 'INVALID_CONTENT' || error.code === 'UNSUPPORTED_CONTENT')
  ) {
    return { ...problemOf(entry, error), ...(isCutOff(error) ? { kind: 'cut-off' } : {}) }
  }
  throw error
}
