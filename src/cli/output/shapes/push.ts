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

/** What `push --dry-run --json` gives: named like the receipt's fields, where they mean the same. */
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
      tag: tagSchema(described(v.picklist(['created', 'unchanged', 'moved']), 'What will become of the tag')),
      sparseIndex: v.optional(
        described(
          v.object({ ...sparseIndexFields, state: v.picklist(['to-send', 'present']) }),
          "With --sparse-index: the source's own index, where only a part is delivered",
        ),
      ),
      imageSignatures: v.optional(
        described(
          v.array(v.object({ ...imageSignatureFields, state: v.picklist(['to-sign', 'present']) })),
          'With --sign-images: what will be signed, and what has its signature',
        ),
      ),
      referrers: v.optional(
        described(
          v.array(
            v.object({
              ...referrerFields,
              state: described(
                v.picklist(['to-send', 'present', 'to-merge', 'taken', 'not-delivered', 'left-out']),
                "to-merge: cosign's tag has other layers, which stay; taken: something stands there that nothing can be added to, and the push will be incomplete; not-delivered: what it refers to does not get into the target; left-out: by --referrers",
              ),
            }),
          ),
          'Signatures, attestations, SBOMs and whatever else refers to the image',
        ),
      ),
    }),
  ),
  imageSigning: v.optional(ImageSigningSchema),
  createdProjects: v.optional(described(ProjectsSchema, 'Projects that will be created in a Harbor')),
  totals: described(
    v.object({ uploaded: sum, mounted: sum, tagsMoved: wholeNumber }),
    'What will be done, summed over the repositories of the target; a registry that refuses to mount gets uploads instead',
  ),
})
export type PushPlanDocument = Known<v.InferOutput<typeof PushPlanSchema>>

/** What `push --json` gives: the receipt, and where it was kept. */
const PushedSchema = v.object({
  ...ReceiptSchema.entries,
  receiptFile: described(v.string(), 'The file that holds the same receipt'),
  report: described(ReportFileSchema, 'The report of the verification that went before'),
})
export const PushSchema = v.union([PushedSchema, PushPlanSchema])
export type PushResult = Known<v.InferOutput<typeof PushSchema>>
