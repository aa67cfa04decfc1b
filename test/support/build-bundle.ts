import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Built } from '../../fixtures/images/index.ts'
import { BUNDLE_TYPE, type BundleDescription, type ImageEntry } from '../../src/bundle/description.ts'
import { sortImages } from '../../src/bundle/layout.ts'
import { blobName, CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { orderBlobs } from '../../src/bundle/plan.ts'
import { encodeHeader, END_SIZE, paddingLength } from '../../src/bundle/tar.ts'
import { formatChecksums } from '../../src/bundle/checksums.ts'
import { pack } from '../../src/pack/pack.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseManifest, platformOfConfig } from '../../src/oci/manifest.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { seedRegistry } from '../../fixtures/images/index.ts'
import { startRegistry } from './registry/registry.ts'
import { MemoryStore } from './registry/memory-store.ts'
import {
  closureOf,
  closureSize,
  kindOf,
  nodeOf,
  withDelivered,
  type DocumentNode,
  type LoadDocument,
} from '../../src/content/graph.ts'
import { describingFiles } from '../../src/bundle/layout.ts'
import { selectPlatforms } from '../../src/content/select.ts'
import { parsePublicKey, type SigningKey } from '../../src/trust/keys.ts'
import { signatureOf, type Signature } from '../../src/trust/signature.ts'

export interface TestSigner extends SigningKey {
  /** What `sign` promises, at once. */
  signNow(bytes: Uint8Array): Buffer
}

/** A signing key without a file and without a password. */
export function newSigner(source = 'test.pub'): TestSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const signNow = (bytes: Uint8Array): Buffer => sign('sha256', bytes, privateKey)
  return {
    publicKey: parsePublicKey(Buffer.from(pem), source),
    sign: async (bytes) => signNow(bytes),
    signNow,
    warnings: [],
  }
}

/** The key that the tests trust. */
export const signer = newSigner()

/** A fresh folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'airgap-bundle-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export async function temporaryBundle(bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), 'bundle.tar')
  await writeFile(path, bytes)
  return path
}

/** One entry as a test wants it in the archive; header and padding are the writer's where left out. */
export interface Entry {
  name: string
  content: Uint8Array
  header?: Uint8Array
  padding?: Uint8Array
}

export function entry(name: string, content: Uint8Array | string): Entry {
  return { name, content: Buffer.from(content) }
}

/** Entries one after the other, and the end: nothing is checked. */
export function archiveOf(entries: readonly Entry[], end: Uint8Array = Buffer.alloc(END_SIZE)): Buffer {
  const parts = entries.flatMap(({ name, content, header, padding }) => [
    header ?? encodeHeader(name, content.length),
    content,
    padding ?? Buffer.alloc(paddingLength(content.length)),
  ])
  return Buffer.concat([...parts, end])
}

/** Changes some bytes of a header and makes its checksum right again. */
export function patchHeader(header: Uint8Array, at: number, bytes: string | Uint8Array): Buffer {
  const patched = Buffer.from(header)
  patched.set(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, at)
  return withChecksum(patched)
}

export function withChecksum(header: Buffer): Buffer {
  header.fill(' ', 148, 156)
  let sum = 0
  for (const byte of header.subarray(0, 512)) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** What a bundle will hold, before it is laid out: tests change it as a hostile signer could. */
export interface Draft {
  description: BundleDescription
  blobs: Map<Digest, { bytes: Uint8Array; first: boolean }>
  /** Instead of the files that follow from the description; undefined leaves one out. */
  files: Record<string, Uint8Array | undefined>
}

export interface DraftImage {
  source: string
  built: Built
  /** Default all. */
  platforms?: string[]
}

/** An honest draft, made with the engines' own rules and without a registry. */
export async function draftOf(
  images: readonly DraftImage[],
  more: Partial<BundleDescription> = {},
): Promise<Draft> {
  const blobs: Draft['blobs'] = new Map()
  const entries: ImageEntry[] = []
  for (const image of images) entries.push(await draftImage(image, blobs))
  const description: BundleDescription = {
    type: BUNDLE_TYPE,
    formatVersion: '1.0',
    requires: [],
    name: 'test.tar',
    sequence: 7,
    created: '2026-01-01T00:00:00Z',
    tool: { name: 'airgap', version: '0.1.0' },
    platforms: images.every(({ platforms }) => platforms === undefined)
      ? 'all'
      : [...new Set(images.flatMap(({ platforms }) => platforms ?? []))],
    images: sortImages(entries),
    ...more,
  }
  return { description, blobs, files: {} }
}

async function draftImage(
  { source, built, platforms }: DraftImage,
  blobs: Draft['blobs'],
): Promise<ImageEntry> {
  const pieces = new Map<Digest, Uint8Array>()
  collect(built, pieces)
  const load: LoadDocument = async ({ digest }) =>
    parseManifest(pieces.get(digest) ?? Buffer.alloc(0), digest)
  const reference = parseReference(source)
  const sourceDocument = parseManifest(built.bytes, source)
  const {
    delivered,
    evidence,
    platforms: kept,
  } = await selectPlatforms(sourceDocument, {
    wanted: platforms?.map((platform) => parsePlatform(platform)) ?? 'all',
    isPinned: reference.digest !== undefined,
    rewriteDigests: true,
    allowMissing: false,
    load,
    configPlatform: async ({ config }) =>
      platformOfConfig(pieces.get(config.digest) ?? Buffer.alloc(0), 'config'),
    what: source,
  })
  pieces.set(delivered.digest, delivered.bytes)
  const root = { mediaType: delivered.mediaType, digest: delivered.digest, size: delivered.bytes.length }
  const closure = await closureOf(root, withDelivered(load, delivered), source)
  const add = (digest: Digest, first: boolean): void => {
    blobs.set(digest, {
      bytes: pieces.get(digest) ?? Buffer.alloc(0),
      first: first || blobs.get(digest)?.first === true,
    })
  }
  for (const digest of [...closure.documents.keys(), ...evidence.map((one) => one.digest)]) add(digest, true)
  for (const digest of closure.blobs.keys()) add(digest, closure.configs.has(digest))
  return {
    source,
    resolvedFrom: 'source',
    sourceDigest: sourceDocument.digest,
    digest: delivered.digest,
    mediaType: delivered.mediaType,
    kind: kindOf(closure),
    platforms: kept,
    size: closureSize(closure),
    from: 'argument',
  }
}

function collect(built: Built, pieces: Map<Digest, Uint8Array>): void {
  pieces.set(built.descriptor.digest, built.bytes)
  if (built.kind === 'index') for (const child of built.children) collect(child, pieces)
  else
    for (const { descriptor, bytes } of [built.config, ...built.layers]) pieces.set(descriptor.digest, bytes)
}

/** All entries of a draft but checksums and signatures, in their order. */
export function contentEntries(draft: Draft): Entry[] {
  const lookup = (digest: Digest): DocumentNode | undefined => {
    const blob = draft.blobs.get(digest)
    try {
      return blob && nodeOf(parseManifest(blob.bytes, digest))
    } catch {
      // Broken on purpose; then the describing files are not what the test is about.
      return undefined
    }
  }
  const files = describingFiles(draft.description, lookup).map(({ name, bytes }) => [name, bytes] as const)
  const chosen = new Map<string, Uint8Array | undefined>([...files, ...Object.entries(draft.files)])
  const blobs = orderBlobs([...draft.blobs].map(([digest, { first, bytes }]) => ({ digest, first, bytes })))
  return [
    ...[...chosen].flatMap(([name, bytes]) => (bytes ? [entry(name, bytes)] : [])),
    ...blobs.map(({ digest, bytes }) => entry(blobName(digest), bytes)),
  ]
}

/** A signature over `bytes` in its two forms. */
export function signedBy(key: TestSigner, bytes: Uint8Array): Signature {
  const signature = signatureOf(bytes, key.signNow(bytes), key.publicKey)
  if (!signature) throw new Error('a signer of the tests signs wrongly')
  return signature
}

/** Puts `SHA256SUMS` and a signature by `key` in front: what a signer would sign of any content. */
export function signEntries(
  content: readonly Entry[],
  key: TestSigner = signer,
  checksums: Uint8Array = formatChecksums(content.map(({ name, content: bytes }) => [name, digestOf(bytes)])),
): Entry[] {
  const { bundleJson, der } = signedBy(key, checksums)
  return [
    entry(CHECKSUMS, checksums),
    entry(SIGSTORE_SIGNATURE, bundleJson),
    entry(RAW_SIGNATURE, der),
    ...content,
  ]
}

/** A draft as a signed bundle's entries. */
export function entriesOf(draft: Draft, key: TestSigner = signer): Entry[] {
  return signEntries(contentEntries(draft), key)
}

export function bundleOf(draft: Draft, key: TestSigner = signer): Buffer {
  return archiveOf(entriesOf(draft, key))
}

/** Replaces a blob under a new digest wherever the description names it, as a hostile signer would. */
export function replaceBlob(draft: Draft, old: Digest, bytes: Uint8Array): Digest {
  const digest = digestOf(bytes)
  const first = draft.blobs.get(old)?.first ?? true
  draft.blobs.delete(old)
  draft.blobs.set(digest, { bytes, first })
  for (const image of draft.description.images) {
    if (image.digest === old) image.digest = digest
    if (image.sourceDigest === old) image.sourceDigest = digest
    for (const platform of image.platforms) if (platform.digest === old) platform.digest = digest
  }
  return digest
}

export interface PackedImage {
  /** Under `example.test/`, which a mirror serves. */
  reference: string
  built: Built
}

/** Packs images with the real engines out of the embedded registry, to `path`. */
export async function packBundle(
  path: string,
  images: readonly PackedImage[],
  { platforms = 'all', key = signer }: { platforms?: 'all' | string[]; key?: SigningKey | undefined } = {},
): Promise<void> {
  const store = new MemoryStore()
  for (const { reference, built } of images) seedRegistry(store, reference, built)
  await using registry = await startRegistry({ store })
  await pack({
    images: images.map(({ reference }) => `example.test/${reference}`),
    platforms,
    output: path,
    key: key ?? 'unsigned',
    name: 'test.tar',
    sequence: 7,
    created: Date.parse('2026-01-01T00:00:00Z'),
    registries: { plainHttp: [registry.host] },
    mirrors: [`example.test=${registry.host}`],
    resolveFrom: 'mirror',
  })
}
