import * as v from 'valibot'
import { BundleIdentitySchema, source, ToolSchema } from '../bundle/description.ts'
import { ReferrerSchema } from '../bundle/referrers.ts'
import { described, digest, instant, keyFingerprint, sum, wholeNumber, type Known } from '../bundle/fields.ts'
import { canonicalJson } from '../oci/json.ts'
import { policySchemas, sequenceSchemas } from '../verify/policy-rules.ts'
import { identityName, issuerName, SignerSchema } from '../verify/signers.ts'

/** What became of a blob or manifest in a repository of the target. */
const OutcomeSchema = described(
  v.picklist(['uploaded', 'mounted', 'present-not-read', 'present-read-back', 'not-sent']),
  'uploaded: sent; mounted: taken over from another repository of the target; present-*: was there, and was or was not read back and hashed; not-sent: it failed, or the push broke off before',
)
export type ContentOutcome = v.InferOutput<typeof OutcomeSchema>

const TagStateSchema = described(
  v.picklist(['created', 'unchanged', 'moved', 'not-set']),
  'What became of the tag; not-set: something of the image failed, or the push broke off before',
)
export type TagState = v.InferOutput<typeof TagStateSchema>

export const AuthenticationSchema = v.object({
  state: described(
    v.picklist(['signed', 'not-checked']),
    'Whether the signature was checked with a key or an identity of the caller',
  ),
  keyFingerprint: v.optional(keyFingerprint),
  identity: v.optional(identityName),
  issuer: v.optional(issuerName),
  signers: v.optional(
    described(v.array(SignerSchema), 'Every good signature; the first is the one that stands above'),
  ),
})

export const TargetSchema = v.object({
  registry: v.string(),
  prefix: described(v.string(), 'The path that all names begin with; may be empty'),
  origin: described(v.string(), 'Where it was spoken to, like https://registry.internal:5000'),
})

/** Projects of a Harbor, which are created before anything is sent. */
export const ProjectsSchema = v.array(
  v.object({ name: v.string(), visibility: v.picklist(['private', 'public']) }),
)

/** The index of a source of which only some platforms are delivered. */
export const sparseIndexFields = {
  digest: described(digest, 'The digest that the reference stood for at its source'),
  tag: described(v.string(), 'Keeps the index from garbage collection'),
}

const SparseIndexSchema = v.object({
  ...sparseIndexFields,
  outcome: described(
    v.picklist(['uploaded', 'present-read-back', 'refused', 'not-sent']),
    'refused: the registry takes no index whose other platforms are missing; not-sent: the push broke off before',
  ),
  reason: v.optional(described(v.string(), 'What the registry has answered, where it has refused it')),
})

/** What the images were signed with. */
export const ImageSigningSchema = described(
  v.object({ keyFingerprint, formats: v.array(v.picklist(['cosign', 'sigstore-bundle'])) }),
  'The key that the images are signed with in the target, if they are, and the layouts of the signatures',
)

/** One signature of an image. */
export const imageSignatureFields = {
  digest: described(digest, 'The manifest or index that is signed'),
  format: described(
    v.picklist(['cosign', 'sigstore-bundle']),
    'cosign: a layer under the tag sha256-<hex>.sig; sigstore-bundle: a Sigstore bundle that refers to the digest',
  ),
  reference: v.optional(
    described(
      v.string(),
      'What the signature says that the image is; the format sigstore-bundle has no place for it',
    ),
  ),
  keyFingerprint,
}

/** What travels along with an image, in the bundle's own words. */
export const referrerFields = v.object(ReferrerSchema.entries).entries

const ReferrersSchema = v.array(
  v.object({
    ...referrerFields,
    outcome: described(
      v.picklist([
        'uploaded',
        'present-not-read',
        'present-read-back',
        'refused',
        'not-sent',
        'not-delivered',
        'left-out',
      ]),
      'uploaded: put; present-*: was there, and was or was not read back and hashed; refused: it could not be put, or would not be found; not-sent: the push broke off before; not-delivered: what it refers to is not in the target; left-out: nobody wanted it',
    ),
    foundBy: v.optional(
      described(
        v.picklist(['listed', 'tag']),
        "How tools find it: the registry's own list, or a tag (cosign's, or the one that stands in for the list)",
      ),
    ),
    mergedInto: v.optional(
      described(digest, "What stands under cosign's tag, where that has other layers besides these"),
    ),
    reason: v.optional(described(v.string(), 'Why it was refused; for people')),
  }),
)

const targetName = described(v.string(), 'The full name in the target, with the tag')
export const plannedImageFields = { source, target: targetName, digest, mediaType: v.string() }

/** Where a tag stands, and where it stood. */
export function tagSchema<S extends v.GenericSchema>(
  state: S,
): v.ObjectSchema<
  { name: v.StringSchema<undefined>; state: S; previousDigest: v.OptionalSchema<typeof digest, undefined> },
  undefined
> {
  return v.object({ name: v.string(), state, previousDigest: v.optional(digest) })
}

/** The receipt of a push; published as `docs/schemas/receipt.schema.json`. */
export const ReceiptSchema = v.object({
  type: v.literal('dev.airgap.receipt'),
  formatVersion: v.literal('1.0'),
  tool: ToolSchema,
  bundle: BundleIdentitySchema,
  authentication: AuthenticationSchema,
  ...policySchemas,
  ...sequenceSchemas,
  target: TargetSchema,
  started: instant,
  finished: instant,
  complete: described(
    v.boolean(),
    'False when the push could not be completed: then some content is not-sent, and some tags are not-set; and when a sparseIndex or a referrer was refused',
  ),
  createdProjects: v.optional(described(ProjectsSchema, 'Projects that this push has created in a Harbor')),
  imageSigning: v.optional(ImageSigningSchema),
  images: v.array(
    v.object({
      ...plannedImageFields,
      tag: v.object({
        ...tagSchema(TagStateSchema).entries,
        unconfirmed: v.optional(described(v.literal(true), 'It was set, and could not be read back')),
      }),
      sparseIndex: v.optional(
        described(
          SparseIndexSchema,
          "The source's own index, where only a part is delivered and it was asked for",
        ),
      ),
      imageSignatures: v.optional(
        described(
          v.array(
            v.object({
              ...imageSignatureFields,
              outcome: described(
                v.picklist(['signed', 'present', 'not-signed']),
                'present: a good signature by this key was there; not-signed: something failed, or the push broke off before',
              ),
            }),
          ),
          'The signatures made of the image, one for each manifest and layout',
        ),
      ),
      content: described(
        v.array(
          v.object({
            digest,
            size: described(wholeNumber, 'Bytes'),
            kind: v.picklist(['manifest', 'blob']),
            outcome: OutcomeSchema,
          }),
        ),
        'Everything that the image consists of',
      ),
      referrers: v.optional(
        described(ReferrersSchema, 'Signatures, attestations, SBOMs and whatever else refers to the image'),
      ),
    }),
  ),
  totals: described(
    v.object({
      uploaded: sum,
      mounted: sum,
      present: sum,
      manifests: described(
        v.object({ uploaded: sum, present: sum }),
        'Manifests and indexes, those of referrers included',
      ),
      tagsMoved: wholeNumber,
    }),
    "Sums over the target's repositories: of blobs, and of manifests; one that two repositories need counts in each",
  ),
})
export type Receipt = Known<v.InferOutput<typeof ReceiptSchema>>

/** Whether every tag was set, so that nothing can be missing but source indexes. */
export function isAllTagged({ images }: Receipt): boolean {
  return images.every(({ tag }) => tag.state !== 'not-set' && tag.unconfirmed !== true)
}

export function serializeReceipt(receipt: Receipt): Buffer {
  return canonicalJson(receipt)
}
