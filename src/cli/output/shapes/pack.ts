import * as v from 'valibot'
import {
  BundleIdentitySchema,
  ImageEntrySchema,
  PlatformsSchema,
  SkippedSchema,
} from '../../../bundle/description.ts'
import { described, keyFingerprint, sum, wholeNumber, type Known } from '../../../bundle/fields.ts'

/** The size of a bundle's file. */
export const fileFields = {
  size: described(wholeNumber, 'Bytes of the whole file'),
  entries: described(wholeNumber, 'Number of entries in the archive'),
}

/** The images' content in a bundle. */
export const contentSums = {
  blobs: described(sum, 'Layers, configs and other blobs in the archive, each once'),
  manifests: described(
    sum,
    'Manifests and indexes in the archive, each once, including those kept as evidence',
  ),
}

export const hasSignature = described(
  v.boolean(),
  'Whether the bundle carries a signature; does not say whose',
)

/** The output of `pack --json`, with and without `--dry-run`. */
export const PackSchema = v.object({
  dryRun: described(v.boolean(), 'Whether this is only a plan, and nothing was written'),
  file: v.optional(described(v.string(), 'The bundle, as --output named it; absent in a dry run')),
  bundle: v.object({ ...BundleIdentitySchema.entries, ...fileFields }),
  hasSignature,
  keyFingerprint: v.optional(keyFingerprint),
  certificate: v.optional(
    described(
      v.object({
        identity: described(v.string(), 'Identity in the certificate: an e-mail address or a URI'),
        issuer: described(v.string(), 'Issuer that vouched for that identity'),
        logEntries: described(
          v.array(
            v.object({
              url: described(v.string(), 'The transparency log'),
              index: described(v.string(), 'Index of the entry in the log; decimal'),
            }),
          ),
          'Entries of the signature in transparency logs',
        ),
      }),
      'Certificate that a keyless bundle was signed with; absent in a dry run',
    ),
  ),
  ...contentSums,
  platforms: PlatformsSchema,
  images: v.array(ImageEntrySchema),
  mirrors: described(
    v.array(
      v.object({
        prefix: described(
          v.string(),
          'The registry, or a part of it, whose images are read from mirrors first',
        ),
        places: described(
          v.array(
            v.object({
              location: described(v.string(), 'The mirror, as it was configured'),
              origin: described(v.string(), 'Where it was configured: a flag or a file'),
            }),
          ),
          'In the order in which they are tried',
        ),
        registryItself: described(v.boolean(), 'Whether the registry itself is tried after them'),
      }),
    ),
    'The mirrors in use',
  ),
  skipped: v.optional(SkippedSchema),
  fetched: described(sum, 'What was fetched over the network after planning; in a dry run, what would be'),
  reused: described(
    sum,
    'What was taken from earlier bundles; in a dry run, what would be, if it is unaltered there',
  ),
  resumed: described(
    sum,
    'What an interrupted run had fetched: all its bytes, and the number of complete blobs',
  ),
})
export type PackResult = Known<v.InferOutput<typeof PackSchema>>
