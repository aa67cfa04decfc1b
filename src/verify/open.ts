import { type Checksums, parseChecksums } from '../bundle/checksums.ts'
import {
  blobName,
  CHECKSUMS,
  DESCRIPTION,
  digestOfBlobName,
  FIXED_NAMES,
  MAX_JSON_ENTRY,
  RAW_SIGNATURE,
  SIGSTORE_SIGNATURE,
} from '../bundle/names.ts'
import { orderBlobs } from '../bundle/plan.ts'
import { type BundleEntry, BundleReader, isCutOff } from '../bundle/reader.ts'
import { END_SIZE, entryLength } from '../bundle/tar.ts'
import { AirgapError, type Problem } from '../errors.ts'
import { type Digest, digestOf } from '../oci/digest.ts'
import { authenticate, type Trust } from './authenticate.ts'
import { checkClock } from './clock.ts'
import { type Walk, walkImages } from './images.ts'
import { asProblem, type CutOff, faultCounter, type OpenedBundle, readChecked } from './opened-bundle.ts'
import { checkRules, signerVerdicts } from './policy-rules.ts'
import { type BundleDescription, parseDescription, requiredFeatures } from '../bundle/description.ts'
import { checkDeliveredNames, sortImages } from '../bundle/layout.ts'
import { alsoThere } from '../bundle/skipped.ts'
import { formatMoment } from '../bytes.ts'

/**
 * Opens a bundle and checks everything except the content of its layers.
 *
 * The signature is checked before anything that it covers is parsed. If it fails, nothing more is read.
 * Trust comes from `trust` only, never from the file.
 *
 * @throws AirgapError `FILE` if the file cannot be read; the signal's reason if aborted. Everything else is a problem in
 *   the result.
 */
export async function openBundle(path: string, trust: Trust, signal?: AbortSignal): Promise<OpenedBundle> {
  const reader = await BundleReader.open(path)
  try {
    return await check(reader, trust, signal)
  } catch (error) {
    await reader.close()
    throw error
  }
}

async function check(
  reader: BundleReader,
  trust: Trust,
  signal: AbortSignal | undefined,
): Promise<OpenedBundle> {
  const opened: OpenedBundle = {
    reader,
    bundleDigest: digestOf(''),
    authentication: { state: 'failed' },
    checksums: new Map(),
    entries: new Map(),
    description: undefined,
    images: [],
    faulty: new Map(),
    problems: [],
    checked: new Map(),
  }
  const { problems } = opened
  const done = faultCounter(opened)
  try {
    const head = await reader.readHead()
    opened.bundleDigest = digestOf(head.checksums)
    opened.authentication = authenticate(head, opened.bundleDigest, trust, problems)
    opened.rules = signerVerdicts(opened.authentication)
    done('signature')
    if (opened.authentication.state === 'failed') return opened
    opened.checksums = parseChecksums(head.checksums)
  } catch (error) {
    opened.authentication = { state: 'failed' }
    problems.push(asProblem(CHECKSUMS, error))
    if (isCutOff(error)) {
      opened.cutOff = cutOffOf(opened, { zerosFrom: (await reader.holdsNothing()) ? 0 : undefined })
    }
    done('archive')
    return opened
  }

  const scan = await reader.scan(opened.checksums.size + SIGNED_AND_SIGNATURES.length, signal)
  problems.push(...scan.problems)
  const isShort = scan.problems.some(({ kind }) => kind === 'cut-off')
  opened.entries = checkNames(scan.entries, opened.checksums, problems, isShort)
  if (isShort) opened.cutOff = cutOffOf(opened, scan)
  done('archive')

  const description = await readDescription(opened)
  if (description) {
    opened.description = description
    checkDescription(description, trust, problems)
    checkRules(opened, description, trust)
    checkClock(opened, description, trust)
  }
  done('description')
  if (!description) return opened
  const found = await walkImages(opened, description, signal)
  opened.images = found.images
  opened.faulty = found.faulty
  if (isShort) opened.cutOff = cutOffOf(opened, { ...scan, walk: found })
  // These checks need the graphs of all images.
  if (found.isComplete) {
    checkUse(opened, found.needed)
    checkOrder(scan.entries, found.first, problems)
  }
  // If the file is cut off, the missing part was not checked.
  if (found.isComplete || !isShort) done('images')
  return opened
}

/**
 * How much is left of a file that ends too early, and how much there should be.
 * @returns undefined if, by the sizes in the manifests, all of it is there: then a header lies about its size.
 */
function cutOffOf(
  { checksums, entries, reader }: OpenedBundle,
  { zerosFrom, walk }: { zerosFrom?: number | undefined; walk?: Walk },
): CutOff | undefined {
  const there = zerosFrom ?? reader.fileSize
  const head = SIGNED_AND_SIGNATURES.flatMap((name) => entries.get(name) ?? [])
  let whole: number | undefined = END_SIZE + sumOf(head.map(({ size }) => entryLength(size)))
  for (const name of checksums.keys()) {
    const digest = digestOfBlobName(name)
    const size = entries.get(name)?.size ?? (digest && walk?.isComplete ? walk.sizes.get(digest) : undefined)
    whole = size === undefined || whole === undefined ? undefined : whole + entryLength(size)
  }
  if (checksums.size === 0) whole = undefined
  if (whole !== undefined && whole <= there) return undefined
  const missing = [...checksums.keys()].filter((name) => !entries.has(name)).length
  return { there, whole, missing, entries: checksums.size + head.length }
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0)
}

/** The entries that `SHA256SUMS` does not list, in their order in the file. */
const SIGNED_AND_SIGNATURES = [CHECKSUMS, SIGSTORE_SIGNATURE, RAW_SIGNATURE]

/**
 * Step 2 of the verification: checks that the archive has exactly the listed names and the signature files, without
 * duplicates, and the describing files in order.
 * @param isShort the file ends too early, so do not report missing names.
 */
function checkNames(
  found: readonly BundleEntry[],
  checksums: Checksums,
  problems: Problem[],
  isShort: boolean,
): Map<string, BundleEntry> {
  const entries = new Map<string, BundleEntry>()
  for (const entry of found) {
    if (entries.has(entry.name)) {
      problems.push({ entry: entry.name, message: 'it occurs twice in the archive' })
    } else if (checksums.has(entry.name) || SIGNED_AND_SIGNATURES.includes(entry.name)) {
      entries.set(entry.name, entry)
    } else {
      problems.push({ entry: entry.name, message: `it is not listed in ${CHECKSUMS}` })
    }
  }
  for (const name of checksums.keys()) {
    if (!entries.has(name) && !isShort)
      problems.push({ entry: name, message: `it is listed in ${CHECKSUMS}, but is not in the archive` })
  }
  for (const name of FIXED_NAMES.slice(0, 3)) {
    if (!checksums.has(name))
      problems.push({
        entry: name,
        message: `${CHECKSUMS} does not list it, but every bundle has to have it`,
      })
  }
  const order = [...SIGNED_AND_SIGNATURES, ...FIXED_NAMES].filter((name) => entries.has(name))
  const names = [...entries.keys()]
  for (const [i, name] of order.entries()) {
    if (names[i] === name) continue
    problems.push({ entry: names[i] ?? name, message: `it is out of order: ${name} belongs here` })
    break
  }
  if (entries.has(RAW_SIGNATURE) && !entries.has(SIGSTORE_SIGNATURE)) {
    problems.push({ entry: RAW_SIGNATURE, message: `it is there without ${SIGSTORE_SIGNATURE}` })
  }
  return entries
}

/** Checks that the list has no blob that no image needs. */
function checkUse({ checksums, problems }: OpenedBundle, needed: ReadonlySet<Digest>): void {
  for (const [name, digest] of checksums) {
    if (digestOfBlobName(name) !== undefined && !needed.has(digest)) {
      problems.push({ entry: name, message: 'no image of the bundle needs it' })
    }
  }
}

/** Checks the order of the blobs: manifests and configs before all others, each group sorted by digest. */
function checkOrder(found: readonly BundleEntry[], first: ReadonlySet<Digest>, problems: Problem[]): void {
  const blobs = found.flatMap(({ name }) => {
    const digest = digestOfBlobName(name)
    return digest === undefined ? [] : [{ digest, first: first.has(digest) }]
  })
  const expected = orderBlobs(blobs)
  const odd = blobs.find((blob, i) => blob !== expected[i])
  if (odd) problems.push({ entry: blobName(odd.digest), message: 'it is out of order' })
}

/** Step 3 of the verification: reads `airgap.json`. */
async function readDescription(opened: OpenedBundle): Promise<BundleDescription | undefined> {
  const bytes = await readChecked(opened, DESCRIPTION, MAX_JSON_ENTRY)
  if (!bytes) return undefined
  try {
    return parseDescription(bytes)
  } catch (error) {
    opened.problems.push(asProblem(DESCRIPTION, error))
    return undefined
  }
}

/** Step 4 of the verification: checks name, sequence and expiry against what the caller expects, and the list of images. */
function checkDescription(description: BundleDescription, trust: Trust, problems: Problem[]): void {
  const report = (message: string): void => {
    problems.push({ entry: DESCRIPTION, message })
  }
  const expect = (message: string): void => {
    problems.push({ entry: DESCRIPTION, message, kind: 'expectation' })
  }
  const { name, sequence, expires, images } = description
  if (trust.expectName !== undefined && trust.expectName !== name) {
    expect(
      `the bundle's name is ${JSON.stringify(name)}, not ${JSON.stringify(trust.expectName)} as expected`,
    )
  }
  if (trust.minSequence !== undefined && sequence < trust.minSequence) {
    expect(
      `the bundle's sequence is ${sequence}, but at least ${trust.minSequence} is expected: it is an older bundle`,
    )
  }
  if (expires !== undefined && Date.parse(expires) <= trust.now) {
    expect(`the bundle expired at ${expires}: this machine's clock says ${formatMoment(trust.now)}`)
  }
  for (const feature of requiredFeatures(images)) {
    if (!description.requires.includes(feature))
      report(`it uses the feature ${feature}, but does not list it under requires`)
  }
  if (sortImages(images).some((image, i) => image !== images[i])) report('its images are not in order')
  for (const source of alsoThere(images, description.skipped))
    report(`${source} is listed under skipped, but is among the images`)
  try {
    checkDeliveredNames(images)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    for (const problem of error.problems) report(`${problem.entry}: ${problem.message}`)
  }
}
