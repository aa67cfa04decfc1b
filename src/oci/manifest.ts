import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { digestFault, digestOf, isDigest, type Digest } from './digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from './json.ts'
import { isImageConfigType, isIndexType, isManifestType, OCI_INDEX, OCI_MANIFEST } from './media-types.ts'
import type { Platform } from './platform.ts'

/** Manifests and indexes are held in memory, so they are capped; registries' usual limit is 4 MiB. */
export const MAX_MANIFEST_SIZE = 8 * 1024 * 1024

/** OCI image-spec descriptor.md. Unknown fields are kept, so that a descriptor can be passed on verbatim. */
export interface Descriptor {
  mediaType: string
  digest: Digest
  /** Bytes. */
  size: number
  platform?: Platform | undefined
  annotations?: Record<string, string> | null | undefined
  urls?: string[] | null | undefined
  artifactType?: string | undefined
  data?: string | undefined
}

interface Document {
  /** The body's own media type, or the one that goes with its form where the body states none. */
  mediaType: string
  /** The exact bytes: what is hashed, stored and pushed. */
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

const DigestSchema = v.pipe(
  text,
  v.rawTransform(({ dataset, addIssue, NEVER }): Digest => {
    if (isDigest(dataset.value)) return dataset.value
    addIssue({ message: digestFault(dataset.value) })
    return NEVER
  }),
)

const PlatformSchema = v.looseObject({
  architecture: text,
  os: text,
  variant: v.optional(text),
  'os.version': v.optional(text),
})

const DescriptorSchema = v.looseObject({
  mediaType: v.pipe(text, v.minLength(1, 'a media type is missing')),
  digest: DigestSchema,
  size: v.pipe(
    v.number(),
    v.safeInteger('a size is a whole number'),
    v.minValue(0, 'a size is not negative'),
  ),
  platform: v.optional(PlatformSchema),
  annotations: v.optional(v.nullable(annotations)),
  urls: v.optional(v.nullable(v.array(text))),
  artifactType: v.optional(text),
  data: v.optional(text),
})

const common = {
  schemaVersion: v.literal(2, 'schemaVersion must be 2'),
  mediaType: v.optional(text),
  artifactType: v.optional(text),
  subject: v.optional(v.nullable(DescriptorSchema)),
  annotations: v.optional(v.nullable(annotations)),
}
const ManifestSchema = v.looseObject({
  ...common,
  config: DescriptorSchema,
  layers: v.array(DescriptorSchema),
})
const IndexSchema = v.looseObject({ ...common, manifests: v.array(DescriptorSchema) })

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
 * Reads a manifest or an index, Docker's or OCI's, from its bytes.
 *
 * Refused: documents that could be read as two kinds (GHSA-77vh-xpmg-72qh), Docker schema 1, keys that differ
 * from known ones only in case, digests other than sha256, descriptors whose embedded `data` is not what their
 * digest says, and whatever {@link parseStrictJson} refuses.
 *
 * @param what names the document in errors.
 * @param statedType the media type that a Content-Type header or a descriptor gave; must agree with the body.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseManifest(bytes: Uint8Array, what: string, statedType?: string): ManifestOrIndex {
  const fail = (reason: string, hint?: string): never => {
    throw new AirgapError('INVALID_CONTENT', `${what}: ${reason}`, { hint })
  }
  if (bytes.length > MAX_MANIFEST_SIZE) fail(`its manifest is larger than ${MAX_MANIFEST_SIZE} bytes`)
  const value = parseStrictJson(bytes, what)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fail('it is not a JSON object')
  checkKeyCase(value, TOP_KEYS, what)
  const has = (key: string): boolean => Object.hasOwn(value, key)

  if ((value as { schemaVersion?: unknown }).schemaVersion === 1) {
    fail(
      'it is a Docker schema 1 manifest, a format that registries dropped and that cannot be checked by digest',
      'Have the image rebuilt or pushed again with a current tool, which writes schema 2 or OCI.',
    )
  }
  const looksLikeIndex = has('manifests')
  const looksLikeManifest = has('config') || has('layers')
  if (looksLikeIndex && looksLikeManifest) fail('it could be read both as an index and as a manifest')
  if (!looksLikeIndex && !looksLikeManifest) fail('it is neither an image manifest nor an image index')

  const declared = (value as { mediaType?: unknown }).mediaType
  if (declared !== undefined && typeof declared !== 'string') fail('its mediaType is not text')
  const ownType = (declared as string | undefined) ?? (looksLikeIndex ? OCI_INDEX : OCI_MANIFEST)
  if (!(looksLikeIndex ? isIndexType(ownType) : isManifestType(ownType))) {
    fail(
      `its media type ${JSON.stringify(ownType)} does not go with its form (${looksLikeIndex ? 'an index' : 'a manifest'})`,
    )
  }
  if (statedType !== undefined && statedType !== ownType) {
    fail(`its media type is ${ownType}, but it was announced as ${JSON.stringify(statedType)}`)
  }

  const digest = digestOf(bytes)
  if (looksLikeIndex) {
    const parsed = checkShape(IndexSchema, value, what)
    // The descriptors as they were parsed, not as the schema rebuilt them: they are passed on verbatim.
    const { manifests } = value as { manifests: Descriptor[] }
    for (const [i, child] of manifests.entries()) checkDescriptor(child, `${what}, manifests[${i}]`)
    return { kind: 'index', mediaType: ownType, bytes, digest, manifests, ...shared(parsed, what) }
  }
  const parsed = checkShape(ManifestSchema, value, what)
  const { config, layers } = value as { config: Descriptor; layers: Descriptor[] }
  checkDescriptor(config, `${what}, config`)
  for (const [i, layer] of layers.entries()) checkDescriptor(layer, `${what}, layers[${i}]`)
  return { kind: 'manifest', mediaType: ownType, bytes, digest, config, layers, ...shared(parsed, what) }
}

function shared(
  parsed: v.InferOutput<typeof ManifestSchema> | v.InferOutput<typeof IndexSchema>,
  what: string,
): Pick<Document, 'artifactType' | 'subject' | 'annotations'> {
  if (parsed.subject) checkDescriptor(parsed.subject, `${what}, subject`)
  return {
    artifactType: parsed.artifactType,
    subject: (parsed.subject as Descriptor | null | undefined) ?? undefined,
    annotations: parsed.annotations ?? undefined,
  }
}

function checkDescriptor(descriptor: Descriptor, what: string): void {
  checkKeyCase(descriptor, DESCRIPTOR_KEYS, what)
  if (descriptor.platform) checkKeyCase(descriptor.platform, PLATFORM_KEYS, `${what}, platform`)
  const isDocument = isIndexType(descriptor.mediaType) || isManifestType(descriptor.mediaType)
  if (isDocument && descriptor.size > MAX_MANIFEST_SIZE) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${what}: a manifest of ${descriptor.size} bytes is larger than ${MAX_MANIFEST_SIZE} bytes`,
    )
  }
  if (descriptor.data !== undefined) {
    const data = Buffer.from(descriptor.data, 'base64')
    if (data.length !== descriptor.size || digestOf(data) !== descriptor.digest) {
      throw new AirgapError('INVALID_CONTENT', `${what}: its embedded data is not what its digest says`)
    }
  }
}

/** The descriptors that a document points to and cannot do without. `subject` is not one: it may be absent. */
export function childrenOf(document: ManifestOrIndex): Descriptor[] {
  return document.kind === 'index' ? document.manifests : [document.config, ...document.layers]
}

/** Whether a container runtime can run it; anything else (a Helm chart, a signature) is an artifact. */
export function isRunnable(manifest: Manifest): boolean {
  return isImageConfigType(manifest.config.mediaType)
}

/**
 * An attestation (BuildKit's provenance or SBOM) listed in an index beside the manifest that it describes:
 * the digest of that manifest, or undefined for an ordinary child.
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
 * The platform that an image's own config states (OCI image-spec config.md).
 * @returns undefined where the config names none.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function platformOfConfig(bytes: Uint8Array, what: string): Platform | undefined {
  const value = parseStrictJson(bytes, what)
  const config = checkShape(ConfigSchema, value, what)
  checkKeyCase(config, PLATFORM_KEYS, what)
  if (!config.os || !config.architecture) return undefined
  return {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant ? { variant: config.variant } : {}),
    ...(config['os.version'] ? { 'os.version': config['os.version'] } : {}),
  }
}
