import * as v from 'valibot'
import {
  BundleIdentitySchema,
  ImageEntrySchema,
  PlatformsSchema,
  SkippedSchema,
} from '../../../bundle/description.ts'
import { described, keyFingerprint, sum, wholeNumber, type Known } from '../../../bundle/fields.ts'

/** The size of the file, wherever a bundle's file is described. */
export const fileFields = {
  size: described(wholeNumber, 'Bytes of the whole file'),
  entries: described(wholeNumber, 'How many entries the archive has'),
}

/** What the archive holds of the images, wherever a bundle is described. */
export const contentSums = {
  blobs: described(sum, 'Layers, configs and other blobs in the archive, each once'),
  manifests: described(
    sum,
    'Manifests and indexes in the archive, each once; those that are kept as evidence included',
  ),
}

export const hasSignature = described(
  v.boolean(),
  'Whether the bundle carries a signature; says nothing about whose',
)

/** What `pack --json` gives, with and without `--dry-run`. */
export const PackSchema = v.object({
  dryRun: described(v.boolean(), 'Whether this is only the plan: then nothing was written'),
  file: v.optional(described(v.string(), 'The bundle, as --output named it; absent in a dry run')),
  bundle: v.object({ ...BundleIdentitySchema.entries, ...fileFields }),
  hasSignature,
  keyFingerprint: v.optional(keyFingerprint),
  certificate: v.optional(
    described(
      v.object({
        identity: described(v.string(), 'Whom the certificate names: an e-mail address or a URI'),
        issuer: described(v.string(), 'Who has vouched for that identity'),
        logEntries: described(
          v.array(
            v.object({
              url: described(v.string(), 'The transparency log'),
              index: described(v.string(), 'The place of the entry in it; decimal'),
            }),
          ),
          'Where the signature is entered',
        ),
      }),
      'What a bundle was signed with without a key; absent in a dry run',
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
          'The registry, or the part of it, whose images are read elsewhere first',
        ),
        places: described(
          v.array(
            v.object({
              location: described(v.string(), 'The mirror, as it was configured'),
              origin: described(v.string(), 'Where it was configured: a flag or a file'),
            }),
          ),
          'In the order in which they are asked',
        ),
        registryItself: described(v.boolean(), 'Whether the registry itself is asked behind them'),
      }),
    ),
    'The mirrors in use',
  ),
  skipped: v.optional(SkippedSchema),
  fetched: described(sum, 'What came over the network after planning; in a dry run, what will come'),
  reused: described(
    sum,
    'What came out of earlier bundles; in a dry run, what will, if it is unaltered there',
  ),
  resumed: described(
    sum,
    'What an interrupted run had fetched: its bytes, and the blobs that were complete by them',
  ),
})
export type PackResult = Known<v.InferOutput<typeof PackSchema>>
