import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { canonicalJson, checkKeyCase, checkShape, isCanonicalJson, parseStrictJson } from '../oci/json.ts'
import { isManifestOrIndexType } from '../oci/media-types.ts'
import { parsePlatform, formatPlatform } from '../oci/platform.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { isReason, isSorted, MAX_REASON } from './skipped.ts'
import { described, digest, firstTwice, moment, wholeNumber, type Known } from './fields.ts'
import { DESCRIPTION } from './names.ts'
import { REFERRER_KEYS, REFERRERS_FEATURE, ReferrersSchema } from './referrers.ts'
import { checkUpstreamKeys, upstreamFault, UpstreamSchema } from './upstream.ts'

export const BUNDLE_TYPE = 'dev.airgap.bundle'
export const FORMAT_VERSION = '1.0'

/** The feature that a bundle requires of its reader if an image lacks attestations that its source lists. */
const MISSING_ATTESTATIONS_FEATURE = 'missing-attestations'

/** The required features that this reader knows. */
const KNOWN_FEATURES: ReadonlySet<string> = new Set([REFERRERS_FEATURE, MISSING_ATTESTATIONS_FEATURE])

/** The features that a bundle of these images requires of its reader. */
export function requiredFeatures(
  images: readonly Pick<ImageEntry, 'referrers' | 'missingAttestations'>[],
): string[] {
  return [
    ...(images.some(({ referrers }) => referrers !== undefined) ? [REFERRERS_FEATURE] : []),
    ...(images.some(({ missingAttestations: lost }) => lost !== undefined)
      ? [MISSING_ATTESTATIONS_FEATURE]
      : []),
  ]
}

/** The longest text in the description, in characters. */
export const MAX_TEXT = 4096

const text = v.pipe(v.string(), v.maxLength(MAX_TEXT, `longer than ${MAX_TEXT} characters`))
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

export const source = described(
  v.pipe(
    text,
    v.check((value) => {
      try {
        return formatReference(parseReference(value)) === value
      } catch {
        return false
      }
    }, 'must be a fully qualified image reference'),
  ),
  'The fully qualified reference as requested, like docker.io/library/nginx:1.29',
)

export const from = described(
  v.picklist(['argument', 'list', 'kubeadm', 'config']),
  'Which kind of input named it; never a path',
)

/** A platform that is listed twice with the same manifest; undefined if there is none. */
function twicePlatform(all: readonly { platform: string; digest: string }[]): string | undefined {
  return firstTwice(all.map((one) => `${one.platform} ${one.digest}`))
}

/** One image or artifact of a bundle. `airgap.json` and the lock share it. */
export const ImageEntrySchema = v.looseObject({
  source,
  resolvedFrom: described(
    text,
    'Where the reference was resolved: `source`, or the registry/repository of a mirror',
  ),
  sourceDigest: described(digest, 'The digest that the reference was resolved to'),
  digest: described(
    digest,
    'What the bundle holds and push tags; differs from sourceDigest if only some platforms are packed',
  ),
  mediaType: described(
    v.pipe(v.string(), v.check(isManifestOrIndexType, 'must be the media type of a manifest or an index')),
    'The media type of that manifest or index',
  ),
  kind: described(
    v.picklist(['image', 'artifact']),
    'An image can be run; an artifact (a chart, a signature) cannot',
  ),
  // Any text: it is compared later with what the image's documents state, in the form of `formatPlatform`.
  platforms: described(
    v.pipe(
      v.array(
        v.looseObject({
          platform: described(text, 'os/architecture[/variant], like linux/arm64'),
          digest: described(digest, 'Its manifest'),
        }),
      ),
      v.check(
        (all) => twicePlatform(all) === undefined,
        ({ input }) => `names ${twicePlatform(input)} twice`,
      ),
    ),
    'The platforms in the bundle; empty for artifacts',
  ),
  size: described(wholeNumber, 'Bytes of everything that `digest` reaches, each blob counted once'),
  from,
  missingAttestations: v.optional(
    described(
      v.pipe(
        v.array(digest),
        v.minLength(1, 'must not be empty'),
        v.check(
          (all) => all.every((one, i) => i === 0 || (all[i - 1] ?? '') < one),
          'must be sorted, without duplicates',
        ),
      ),
      "Attestations that the source's index lists for these manifests but that could not be fetched; absent if none is missing",
    ),
  ),
  referrers: v.optional(ReferrersSchema),
  upstream: v.optional(UpstreamSchema),
})
export type ImageEntry = Known<v.InferOutput<typeof ImageEntrySchema>>
/** One platform of an image, with its manifest. */
export type ImagePlatform = ImageEntry['platforms'][number]

/** Images that are missing because they could not be resolved. `airgap.json` and the lock share it. */
export const SkippedSchema = described(
  v.pipe(
    v.array(
      v.looseObject({
        source,
        // Any code: later releases may have more.
        code: described(
          v.pipe(v.string(), v.regex(/^[A-Z][A-Z_]{0,63}$/, 'must be the code of an error')),
          'The kind of failure, like NOT_FOUND or DENIED',
        ),
        message: described(
          v.pipe(
            v.string(),
            v.check(isReason, `must be one line of text, at most ${MAX_REASON} characters`),
            v.metadata({ minLength: 1, maxLength: MAX_REASON }),
          ),
          'Why it could not be resolved, in one line; for people',
        ),
      }),
    ),
    v.minLength(1, 'must not be empty'),
    v.check((all) => isSorted(all), 'must be sorted by source, without duplicates'),
  ),
  'Requested images that could not be resolved and were left out; absent if there are none',
)
export type SkippedImage = Known<v.InferOutput<typeof SkippedSchema>>[number]

/** A list without duplicates. */
const setOf = <S extends v.GenericSchema<string, string>>(item: S) =>
  v.pipe(
    v.array(item),
    v.check(
      (all) => firstTwice(all) === undefined,
      ({ input }) => `names ${JSON.stringify(firstTwice(input))} twice`,
    ),
    v.metadata({ uniqueItems: true }),
  )

export const PlatformsSchema = described(
  v.union([v.literal('all'), v.pipe(setOf(platform), v.minLength(1))]),
  'The requested platforms, or `all`',
)

export const ToolSchema = described(
  v.looseObject({ name: text, version: text }),
  'The program that made this document',
)

/** The fields of the description that identify a bundle. */
const identityFields = {
  name: described(v.pipe(text, v.minLength(1)), "The bundle's name; releases of a bundle share it"),
  version: v.optional(described(text, 'A version to show, any text')),
  sequence: described(wholeNumber, 'Grows with every bundle of that name'),
  created: described(moment, 'When the bundle was created'),
  expires: v.optional(described(moment, 'The bundle is not accepted after this time')),
}

/** How receipts and results identify a bundle. */
export const BundleIdentitySchema = v.object({
  digest: described(digest, 'The bundle digest: SHA-256 of its SHA256SUMS'),
  ...identityFields,
})
export type BundleIdentity = v.InferOutput<typeof BundleIdentitySchema>

/** `airgap.json`. */
export const DescriptionSchema = v.looseObject({
  type: v.literal(BUNDLE_TYPE, `must be ${BUNDLE_TYPE}`),
  formatVersion: described(
    v.pipe(v.string(), v.regex(/^1\.[0-9]+$/, 'this release reads format 1')),
    'The version of the format, MAJOR.MINOR',
  ),
  requires: described(setOf(text), 'Features that a reader has to know to read the bundle'),
  ...identityFields,
  tool: ToolSchema,
  platforms: PlatformsSchema,
  images: v.array(ImageEntrySchema),
  skipped: v.optional(SkippedSchema),
})
export type BundleDescription = Known<v.InferOutput<typeof DescriptionSchema>>

const KNOWN_KEYS = Object.keys(DescriptionSchema.entries)
const TOOL_KEYS = ['name', 'version']
const PLATFORM_KEYS = ['platform', 'digest']
export const IMAGE_KEYS = Object.keys(ImageEntrySchema.entries)
export const SKIPPED_KEYS = ['source', 'code', 'message']

export function serializeDescription(description: BundleDescription): Buffer {
  return canonicalJson(description)
}

/**
 * Parses `airgap.json`. Unknown fields are kept and ignored. A required feature that we do not know is an error, and so
 * is any formatting that airgap would not write (key order, indent).
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
    for (const one of image.referrers ?? []) checkKeyCase(one, REFERRER_KEYS, `${what}, referrers`)
    if (image.upstream) checkUpstreamKeys(image.upstream, `${what}, upstream`)
    const fault = upstreamFault(image)
    if (fault !== undefined) throw new AirgapError('INVALID_CONTENT', `${what}, upstream: ${fault}`)
  }
  for (const one of description.skipped ?? [])
    checkKeyCase(one, SKIPPED_KEYS, `${DESCRIPTION}, skipped, ${one.source}`)
  const unknown = description.requires.filter((feature) => !KNOWN_FEATURES.has(feature))
  if (unknown.length > 0) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${DESCRIPTION}: the bundle requires ${unknown.slice(0, 10).join(', ')}`,
      {
        hint: 'It was made by a newer airgap. Use a release that knows these features.',
      },
    )
  }
  if (!isCanonicalJson(value, bytes)) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${DESCRIPTION}: it is not in the exact form that airgap writes (sorted keys, two-space indent, newline at the end)`,
    )
  }
  return description
}
