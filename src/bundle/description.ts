import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { canonicalJson, checkKeyCase, checkShape, parseStrictJson } from '../oci/json.ts'
import { isManifestOrIndexType } from '../oci/media-types.ts'
import { parsePlatform, formatPlatform } from '../oci/platform.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { DESCRIPTION } from './names.ts'

export const BUNDLE_TYPE = 'dev.airgap.bundle'
export const FORMAT_VERSION = '1.0'

/** Features that a bundle may require of its reader, and that this reader knows: none yet. */
const KNOWN_FEATURES: ReadonlySet<string> = new Set()

/** One platform of an image, and the manifest that carries it. */
export interface ImagePlatform {
  platform: string
  digest: Digest
}

/** What the bundle holds under one name. Shared by `airgap.json` and the lock. */
export interface ImageEntry {
  /** The fully qualified reference, as asked. */
  source: string
  /** Who turned the reference into a digest: `source`, or the mirror's `registry/repository`. */
  resolvedFrom: string
  sourceDigest: Digest
  /** What the bundle delivers and push tags. */
  digest: Digest
  mediaType: string
  kind: 'image' | 'artifact'
  platforms: ImagePlatform[]
  /** Bytes of everything that `digest` reaches, each blob counted once. */
  size: number
  from: 'argument' | 'list' | 'kubeadm' | 'config'
}

/** `airgap.json`. */
export interface BundleDescription {
  type: typeof BUNDLE_TYPE
  formatVersion: string
  requires: string[]
  name: string
  version?: string | undefined
  sequence: number
  created: string
  expires?: string | undefined
  tool: { name: string; version: string }
  /** As asked for, or `all`. */
  platforms: 'all' | string[]
  images: ImageEntry[]
}

/** The most characters that a text in the description may have. */
export const MAX_TEXT = 4096

const text = v.pipe(v.string(), v.maxLength(MAX_TEXT, `longer than ${MAX_TEXT} characters`))
const digest = v.custom<Digest>(isDigest, 'must be sha256: and 64 hexadecimal digits')
const wholeNumber = v.pipe(
  v.number('must be a number'),
  v.safeInteger('must be a whole number below 2^53'),
  v.minValue(0, 'must not be negative'),
)
/** RFC 3339 in UTC with whole seconds: one spelling for one moment. */
const moment = v.pipe(v.string(), v.check(isMoment, 'must be a moment like 2026-01-31T12:00:00Z'))
const platform = v.pipe(
  v.string(),
  v.check((value) => {
    try {
      return formatPlatform(parsePlatform(value)) === value
    } catch {
      return false
    }
  }, 'must be a platform like linux/amd64'),
)

export const ImageEntrySchema = v.looseObject({
  source: v.pipe(
    text,
    v.check((value) => {
      try {
        return formatReference(parseReference(value)) === value
      } catch {
        return false
      }
    }, 'must be a fully qualified image reference'),
  ),
  resolvedFrom: text,
  sourceDigest: digest,
  digest,
  mediaType: v.pipe(
    v.string(),
    v.check(isManifestOrIndexType, 'must be the media type of a manifest or an index'),
  ),
  kind: v.picklist(['image', 'artifact']),
  // Whatever the image's own documents state, in the form of `formatPlatform`: compared with them later.
  platforms: v.array(v.looseObject({ platform: text, digest })),
  size: wholeNumber,
  from: v.picklist(['argument', 'list', 'kubeadm', 'config']),
})

export const PlatformsSchema = v.union([v.literal('all'), v.pipe(v.array(platform), v.minLength(1))])

const DescriptionSchema = v.looseObject({
  type: v.literal(BUNDLE_TYPE, `must be ${BUNDLE_TYPE}`),
  formatVersion: v.pipe(v.string(), v.regex(/^1\.[0-9]+$/, 'this release reads format 1')),
  requires: v.array(text),
  name: v.pipe(text, v.minLength(1)),
  version: v.optional(text),
  sequence: wholeNumber,
  created: moment,
  expires: v.optional(moment),
  tool: v.looseObject({ name: text, version: text }),
  platforms: PlatformsSchema,
  images: v.array(ImageEntrySchema),
})

const KNOWN_KEYS = Object.keys(DescriptionSchema.entries)
const TOOL_KEYS = ['name', 'version']
const PLATFORM_KEYS = ['platform', 'digest']
export const IMAGE_KEYS = Object.keys(ImageEntrySchema.entries)

/** Whether `value` is RFC 3339 in UTC with whole seconds, and a moment that exists. */
export function isMoment(value: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(value)) return false
  const time = Date.parse(value)
  return !Number.isNaN(time) && formatMoment(time) === value
}

/** Milliseconds since 1970 as RFC 3339 in UTC, whole seconds. */
export function formatMoment(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, 'Z')
}

export function serializeDescription(description: BundleDescription): Buffer {
  return canonicalJson(description)
}

/**
 * Reads `airgap.json`. Unknown fields are kept and ignored; features that it requires and we do not know are an
 * error, as is any spelling that the writer would not have chosen (key order, indent).
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseDescription(bytes: Uint8Array): BundleDescription {
  const value = parseStrictJson(bytes, DESCRIPTION)
  if (typeof value === 'object' && value !== null) checkKeyCase(value, KNOWN_KEYS, DESCRIPTION)
  const description = checkShape(DescriptionSchema, value, DESCRIPTION)
  checkKeyCase(description.tool, TOOL_KEYS, `${DESCRIPTION}, tool`)
  for (const image of description.images) {
    const what = `${DESCRIPTION}, ${image.source}`
    checkKeyCase(image, IMAGE_KEYS, what)
    for (const one of image.platforms) checkKeyCase(one, PLATFORM_KEYS, what)
  }
  const unknown = description.requires.filter((feature) => !KNOWN_FEATURES.has(feature))
  if (unknown.length > 0) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${DESCRIPTION}: the bundle requires ${unknown.slice(0, 10).join(', ')}`,
      {
        hint: 'It was made by a newer airgap; bring a release that knows these features.',
      },
    )
  }
  if (!canonicalJson(value).equals(bytes)) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${DESCRIPTION}: it is not spelled as airgap writes it (sorted keys, two-space indent, newline at the end)`,
    )
  }
  return description
}
