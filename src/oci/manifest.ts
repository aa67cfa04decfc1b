import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { type Digest, digestFault, digestOf, isDigest, isOtherAlgorithm } from './digest.ts'
import { checkKeyCase, checkShape, parseStrictJson, withoutNulls } from './json.ts'
import { isImageConfigType, isIndexType, isManifestType, OCI_INDEX, OCI_MANIFEST } from './media-types.ts'
import type { Platform } from './platform.ts'
import type { Hints } from '../hints.ts'

/** Which referrers of an image travel with it. */
export const REFERRER_CHOICES = ['all', 'signatures', 'none'] as const
export type ReferrerChoice = (typeof REFERRER_CHOICES)[number]

/**
 * The descriptor of a manifest or index in a list of referrers (OCI distribution-spec § Listing Referrers): without an
 * artifactType of its own, it gets the config's media type.
 */
export function referrerOf(document: ManifestOrIndex): Descriptor {
  const artifactType =
    document.artifactType || (document.kind === 'manifest' ? document.config.mediaType : undefined)
  return {
    mediaType: document.mediaType,
    digest: document.digest,
    size: document.bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(document.annotations === undefined ? {} : { annotations: document.annotations }),
  }
}

/** Bytes. Manifests and indexes are held in memory, so their size is limited. Registries usually allow 4 MiB. */
export const MAX_MANIFEST_SIZE = 8 * 1024 * 1024

/** Brackets and commas in one manifest: as many descriptors as fit into that size have about 350,000. */
const MAX_MANIFEST_VALUES = 500_000

/** OCI image-spec descriptor.md. Unknown fields are kept, members that are `null` are removed. */
export interface Descriptor {
  mediaType: string
  digest: Digest
  /** Bytes. */
  size: number
  platform?: Platform | undefined
  annotations?: Record<string, string> | undefined
  urls?: string[] | undefined
  artifactType?: string | undefined
  data?: string | undefined
}

interface Document {
  /** The media type that the body states; if it states none, the OCI type for its form. */
  mediaType: string
  /** The exact bytes, which are hashed, stored and pushed. */
  bytes: Uint8Array
  digest: Digest
  artifactType?: string | undefined
  subject?: Descriptor | undefined
  annotations?: Record<string, string> | undefined
}

export interface Manifest extends Document {
  kind: 'manifest'
  config: Descriptor
  layers: Descriptor[]
}

export interface Index extends Document {
  kind: 'index'
  manifests: Descriptor[]
}

export type ManifestOrIndex = Manifest | Index

const text = v.string()
const annotations = v.record(text, text)

const PlatformSchema = v.looseObject({
  architecture: text,
  os: text,
  variant: v.optional(text),
  'os.version': v.optional(text),
})

const DescriptorSchema = v.looseObject({
  mediaType: v.pipe(text, v.minLength(1, 'a media type is missing')),
  // Checked by `checkDescriptor`, whose error has a hint.
  digest: text,
  size: v.pipe(
    v.number(),
    v.safeInteger('a size is a whole number'),
    v.minValue(0, 'a size is not negative'),
  ),
  platform: v.optional(PlatformSchema),
  annotations: v.optional(annotations),
  urls: v.optional(v.array(text)),
  artifactType: v.optional(text),
  data: v.optional(text),
})

const common = {
  schemaVersion: v.literal(2, 'schemaVersion must be 2'),
  mediaType: v.optional(text),
  artifactType: v.optional(text),
  subject: v.optional(DescriptorSchema),
  annotations: v.optional(annotations),
}
const ManifestSchema = v.looseObject({
  ...common,
  config: DescriptorSchema,
  layers: v.optional(v.array(DescriptorSchema), []),
})
const IndexSchema = v.looseObject({ ...common, manifests: v.optional(v.array(DescriptorSchema), []) })

const TOP_KEYS = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
]
const DESCRIPTOR_KEYS = [
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'platform',
  'artifactType',
]
const PLATFORM_KEYS = ['architecture', 'os', 'os.version', 'os.features', 'variant', 'features']

/**
 * Parses a manifest or an index, in Docker's or OCI's format.
 *
 * Refuses documents that could be both manifest and index (GHSA-77vh-xpmg-72qh), Docker schema 1, keys that differ from
 * known ones only in case, digests other than sha256, descriptors whose embedded `data` does not match their digest, and
 * whatever {@link parseStrictJson} refuses.
 *
 * A member that is `null` counts as absent ({@link withoutNulls}). A manifest without `layers` has no layers.
 *
 * @param what names the document in errors.
 * @param statedType the media type from a Content-Type header or a descriptor; it must match the body.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseManifest(bytes: Uint8Array, what: string, statedType?: string): ManifestOrIndex {
  const { raw, value, isIndex, mediaType } = readForm(bytes, what, statedType)
  const digest = digestOf(bytes)
  // Take the descriptors as parsed: those that the schema rebuilds have their members in another order.
  if (isIndex) {
    const parsed = checkShape(IndexSchema, value, what)
    const manifests = checkDescriptors(value.manifests, raw.manifests, `${what}, manifests`)
    return { kind: 'index', mediaType, bytes, digest, manifests, ...shared(parsed, value, raw, what) }
  }
  const parsed = checkShape(ManifestSchema, value, what)
  const config = checkDescriptor(value.config ?? parsed.config, raw.config, `${what}, config`)
  const layers = checkDescriptors(value.layers, raw.layers, `${what}, layers`)
  return { kind: 'manifest', mediaType, bytes, digest, config, layers, ...shared(parsed, value, raw, what) }
}

/**
 * Parses a list of referrers (OCI distribution-spec § Listing Referrers) like {@link parseManifest}, but leaves out
 * entries whose digests use other algorithms: nobody vouches for the list, and one entry must not make the others useless.
 *
 * @param onUnusable is called with the digest of each entry that is left out.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseReferrersList(
  bytes: Uint8Array,
  what: string,
  statedType?: string,
  onUnusable?: (digest: string) => void,
): ManifestOrIndex {
  const { raw, value, isIndex, mediaType } = readForm(bytes, what, statedType)
  if (!isIndex) return parseManifest(bytes, what, statedType)
  const parsed = checkShape(IndexSchema, value, what)
  const manifests = (value.manifests ?? []).flatMap((descriptor, i) => {
    const isUnusable = isOtherAlgorithm(descriptor.digest)
    if (isUnusable) onUnusable?.(descriptor.digest)
    return isUnusable ? [] : checkDescriptor(descriptor, raw.manifests?.[i], `${what}, manifests[${i}]`)
  })
  const digest = digestOf(bytes)
  return { kind: 'index', mediaType, bytes, digest, manifests, ...shared(parsed, value, raw, what) }
}

/** The descriptors that an index lists, with all members exactly as in its bytes, to copy into another document. */
export function listedVerbatim({ bytes, manifests }: Index): object[] {
  if (manifests.length === 0 && bytes.length === 0) return []
  return (JSON.parse(Buffer.from(bytes).toString('utf8')) as { manifests?: object[] | null }).manifests ?? []
}

/** A descriptor of the right shape, whose digest is not checked yet. */
type Shaped = Omit<Descriptor, 'digest'> & { digest: string }

/** The members of a document that hold descriptors. Until its shape is checked they can be anything. */
interface Members<D> {
  config?: D
  layers?: D[]
  manifests?: D[]
  subject?: D
}

/** Tells a manifest from an index, and refuses what could be both. */
function readForm(
  bytes: Uint8Array,
  what: string,
  statedType: string | undefined,
): { raw: Members<object>; value: Members<Shaped>; isIndex: boolean; mediaType: string } {
  const fail = (reason: string, hint?: string): never => {
    throw new AirgapError('INVALID_CONTENT', reason, { subject: what, hint })
  }
  if (bytes.length > MAX_MANIFEST_SIZE) fail(`its manifest is larger than ${MAX_MANIFEST_SIZE} bytes`)
  const raw = parseStrictJson(bytes, what, MAX_MANIFEST_VALUES)
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return fail('it is not a JSON object')
  checkKeyCase(raw, TOP_KEYS, what)
  const value = withoutNulls(raw) as { schemaVersion?: unknown; mediaType?: unknown }

  if (value.schemaVersion === 1) {
    fail(
      'it is a Docker schema 1 manifest, a format that registries dropped and that cannot be checked by digest',
      'Have the image rebuilt or pushed again with a current tool, which writes schema 2 or OCI.',
    )
  }
  const has = (object: object, ...keys: string[]): boolean => keys.some((key) => Object.hasOwn(object, key))
  const isManifest = has(value, 'config', 'layers')
  // An index that lists nothing may have null here.
  const isIndex = has(value, 'manifests') || (!isManifest && has(raw, 'manifests'))
  if (isIndex && (isManifest || (!has(value, 'manifests') && has(raw, 'config', 'layers'))))
    fail('it could be read both as an index and as a manifest')
  if (!isIndex && !isManifest) fail('it is neither an image manifest nor an image index')

  const { mediaType: declared } = value
  if (declared !== undefined && typeof declared !== 'string') return fail('its mediaType is not text')
  const mediaType = declared ?? (isIndex ? OCI_INDEX : OCI_MANIFEST)
  if (!(isIndex ? isIndexType(mediaType) : isManifestType(mediaType))) {
    fail(
      `its media type ${JSON.stringify(mediaType)} does not match its content (${isIndex ? 'an index' : 'a manifest'})`,
    )
  }
  if (statedType !== undefined && statedType !== mediaType) {
    fail(`its media type is ${mediaType}, but it was announced as ${JSON.stringify(statedType)}`)
  }
  return { raw, value: value as Members<Shaped>, isIndex, mediaType }
}

function shared(
  {
    artifactType,
    annotations: notes,
  }: Pick<v.InferOutput<typeof IndexSchema>, 'artifactType' | 'annotations'>,
  { subject }: Members<Shaped>,
  raw: Members<object>,
  what: string,
): Pick<Document, 'artifactType' | 'subject' | 'annotations'> {
  return {
    artifactType,
    subject: subject && checkDescriptor(subject, raw.subject, `${what}, subject`),
    annotations: notes,
  }
}

function checkDescriptors(
  descriptors: readonly Shaped[] = [],
  raw: readonly object[] | undefined,
  what: string,
): Descriptor[] {
  return descriptors.map((descriptor, i) => checkDescriptor(descriptor, raw?.[i], `${what}[${i}]`))
}

const OTHER_ALGORITHM: Hints = [
  'Digests of that kind are newer than what airgap carries: a bundle names everything by sha256. Take a build of the image with sha256 digests, or do without the image.',
  { id: 'exclude-image' },
]

/** @param raw the same descriptor, including members that are `null`. */
function checkDescriptor(descriptor: Shaped, raw: object = descriptor, what: string): Descriptor {
  checkKeyCase(raw, DESCRIPTOR_KEYS, what)
  const { platform } = raw as { platform?: object | null }
  if (platform) checkKeyCase(platform, PLATFORM_KEYS, `${what}, platform`)
  const { mediaType, digest, size, data } = descriptor
  if (!isDigest(digest)) {
    throw new AirgapError('INVALID_CONTENT', `${what}.digest: ${digestFault(digest)}`, {
      hint: isOtherAlgorithm(digest) ? OTHER_ALGORITHM : undefined,
    })
  }
  const isDocument = isIndexType(mediaType) || isManifestType(mediaType)
  if (isDocument && size > MAX_MANIFEST_SIZE) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `a manifest of ${size} bytes is larger than ${MAX_MANIFEST_SIZE} bytes`,
      { subject: what },
    )
  }
  if (data !== undefined) {
    const embedded = Buffer.from(data, 'base64')
    if (embedded.length !== size || digestOf(embedded) !== digest) {
      throw new AirgapError('INVALID_CONTENT', `its embedded data is not what its digest says`, {
        subject: what,
      })
    }
  }
  return Object.assign(descriptor, { digest })
}

/** The descriptors whose content a document needs. `subject` is not one of them: it may be missing. */
export function childrenOf(document: ManifestOrIndex): Descriptor[] {
  return document.kind === 'index' ? document.manifests : [document.config, ...document.layers]
}

/** Whether a container runtime can run it. Anything else (a Helm chart, a signature) is an artifact. */
export function isRunnable(manifest: Manifest): boolean {
  return isImageConfigType(manifest.config.mediaType)
}

/**
 * For an attestation (BuildKit's provenance or SBOM) in an index, the digest of the manifest that it describes;
 * undefined for any other child.
 */
export function attestationSubject(child: Descriptor): string | undefined {
  const { platform, annotations: notes } = child
  const subject = notes?.['vnd.docker.reference.digest']
  if (subject === undefined) return undefined
  const isUnknown =
    platform === undefined || (platform.os === 'unknown' && platform.architecture === 'unknown')
  return isUnknown || notes?.['vnd.docker.reference.type'] === 'attestation-manifest' ? subject : undefined
}

const ConfigSchema = v.looseObject({
  architecture: v.optional(text),
  os: v.optional(text),
  variant: v.optional(text),
  'os.version': v.optional(text),
})

/**
 * The platform that an image's config states (OCI image-spec config.md).
 * @returns undefined if the config names none.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function platformOfConfig(bytes: Uint8Array, what: string): Platform | undefined {
  const value = parseStrictJson(bytes, what, MAX_MANIFEST_VALUES)
  if (typeof value === 'object' && value !== null) checkKeyCase(value, PLATFORM_KEYS, what)
  const config = checkShape(ConfigSchema, withoutNulls(value), what)
  if (!config.os || !config.architecture) return undefined
  return {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant ? { variant: config.variant } : {}),
    ...(config['os.version'] ? { 'os.version': config['os.version'] } : {}),
  }
}
