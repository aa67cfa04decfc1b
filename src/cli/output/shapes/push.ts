import * as v from 'valibot'
import { BundleIdentitySchema } from '../../../bundle/description.ts'
import { policySchemas, sequenceSchemas } from '../../../verify/policy-rules.ts'
import { described, sum, wholeNumber, type Known } from '../../../bundle/fields.ts'
import {
  AuthenticationSchema,
  imageSignatureFields,
  ImageSigningSchema,
  plannedImageFields,
  ProjectsSchema,
  ReceiptSchema,
  referrerFields,
  sparseIndexFields,
  tagSchema,
  TargetSchema,
} from '../../../push/receipt.ts'
import { ReportFileSchema } from './evidence.ts'

/** The output of `push --dry-run --json`. Fields that mean the same as in the receipt have the same names. */
export const PushPlanSchema = v.object({
  dryRun: described(v.literal(true), 'Nothing was sent'),
  bundle: BundleIdentitySchema,
  authentication: AuthenticationSchema,
  ...policySchemas,
  ...sequenceSchemas,
  target: TargetSchema,
  images: v.array(
    v.object({
      ...plannedImageFields,
      tag: tagSchema(
        described(v.picklist(['created', 'unchanged', 'moved']), 'What would happen to the tag'),
      ),
      sparseIndex: v.optional(
        described(
          v.object({ ...sparseIndexFields, state: v.picklist(['to-send', 'present']) }),
          "With --sparse-index: the source's own index, if only a part is delivered",
        ),
      ),
      imageSignatures: v.optional(
        described(
          v.array(v.object({ ...imageSignatureFields, state: v.picklist(['to-sign', 'present']) })),
          'With --sign-images: what would be signed, and what is already signed',
        ),
      ),
      referrers: v.optional(
        described(
          v.array(
            v.object({
              ...referrerFields,
              state: described(
                v.picklist(['to-send', 'present', 'to-merge', 'taken', 'not-delivered', 'left-out']),
                "to-merge: cosign's tag has other layers, which stay; taken: the tag points to something that cannot be added to, so the push would be incomplete; not-delivered: what it refers to is not pushed; left-out: by --referrers",
              ),
            }),
          ),
          'Signatures, attestations, SBOMs and other referrers of the image',
        ),
      ),
    }),
  ),
  imageSigning: v.optional(ImageSigningSchema),
  createdProjects: v.optional(described(ProjectsSchema, 'Projects that would be created in Harbor')),
  totals: described(
    v.object({ uploaded: sum, mounted: sum, tagsMoved: wholeNumber }),
    'What would be done, summed over the repositories of the target; if the registry refuses to mount, blobs are uploaded instead',
  ),
})
export type PushPlanDocument = Known<v.InferOutput<typeof PushPlanSchema>>

/** The output of `push --json`: the receipt, and its file. */
const PushedSchema = v.object({
  ...ReceiptSchema.entries,
  receiptFile: described(v.string(), 'The file with the same receipt'),
  report: described(ReportFileSchema, 'The report of the verification before the push'),
})
export const PushSchema = v.union([PushedSchema, PushPlanSchema])
export type PushResult = Known<v.InferOutput<typeof PushSchema>>
