import * as v from 'valibot'
import { BundleIdentitySchema, source, ToolSchema } from '../bundle/description.ts'
import { ReferrerSchema } from '../bundle/referrers.ts'
import { described, digest, instant, keyFingerprint, sum, wholeNumber, type Known } from '../bundle/fields.ts'
import { canonicalJson } from '../oci/json.ts'
import { policySchemas, sequenceSchemas } from '../verify/policy-rules.ts'
import { identityName, issuerName, SignerSchema } from '../verify/signers.ts'

/** The outcome of a blob or manifest in a repository of the target. */
const OutcomeSchema = described(
  v.picklist(['uploaded', 'mounted', 'present-not-read', 'present-read-back', 'not-sent']),
  'uploaded: sent; mounted: mounted from another repository of the target; present-*: was there already, and was or was not read back and hashed; not-sent: it failed, or the push broke off before',
)
export type ContentOutcome = v.InferOutput<typeof OutcomeSchema>

const TagStateSchema = described(
  v.picklist(['created', 'unchanged', 'moved', 'not-set']),
  'What happened to the tag; not-set: something of the image failed, or the push broke off before',
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
  signers: v.optional(described(v.array(SignerSchema), 'Every good signature; the first is the one above')),
})

export const TargetSchema = v.object({
  registry: v.string(),
  prefix: described(v.string(), 'The path that all names begin with; may be empty'),
  origin: described(v.string(), 'The URL under which it was reached, like https://registry.internal:5000'),
})

/** Harbor projects, which are created before anything is sent. */
export const ProjectsSchema = v.array(
  v.object({ name: v.string(), visibility: v.picklist(['private', 'public']) }),
)

/** The index of a source of which only some platforms are delivered. */
export const sparseIndexFields = {
  digest: described(digest, 'The digest that the reference was resolved to'),
  tag: described(v.string(), 'The tag that protects the index from garbage collection'),
}

const SparseIndexSchema = v.object({
  ...sparseIndexFields,
  outcome: described(
    v.picklist(['uploaded', 'present-read-back', 'refused', 'not-sent']),
    'refused: the registry accepts no index with missing platforms; not-sent: the push broke off before',
  ),
  reason: v.optional(described(v.string(), "The registry's answer, if it refused the index")),
})

export const ImageSigningSchema = described(
  v.object({ keyFingerprint, formats: v.array(v.picklist(['cosign', 'sigstore-bundle'])) }),
  'The key that signs the images in the target, and the formats of the signatures; absent if they are not signed',
)

export const imageSignatureFields = {
  digest: described(digest, 'The manifest or index that is signed'),
  format: described(
    v.picklist(['cosign', 'sigstore-bundle']),
    'cosign: a layer under the tag sha256-<hex>.sig; sigstore-bundle: a Sigstore bundle that refers to the digest',
  ),
  reference: v.optional(
    described(v.string(), 'The image reference in the signature; the format sigstore-bundle has none'),
  ),
  keyFingerprint,
}

/** The fields of a referrer, as in the bundle. */
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
      'uploaded: sent; present-*: was there already, and was or was not read back and hashed; refused: it could not be pushed, or would not be found; not-sent: the push broke off before; not-delivered: what it refers to is not in the target; left-out: not requested',
    ),
    foundBy: v.optional(
      described(
        v.picklist(['listed', 'tag']),
        "How tools find it: by the registry's list of referrers, or by a tag (cosign's, or the fallback for the list)",
      ),
    ),
    mergedInto: v.optional(
      described(digest, 'The manifest under the cosign tag, if that has other layers, too'),
    ),
    reason: v.optional(described(v.string(), 'Why it was refused; for people')),
  }),
)

const targetName = described(v.string(), 'The full name in the target, with the tag')
export const plannedImageFields = { source, target: targetName, digest, mediaType: v.string() }

/** A tag, what happened to it, and the digest that it pointed to before. */
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
    'False if the push could not be completed (some content is not-sent, some tags are not-set), or if a sparseIndex or a referrer was refused',
  ),
  createdProjects: v.optional(described(ProjectsSchema, 'Projects that this push created in Harbor')),
  imageSigning: v.optional(ImageSigningSchema),
  images: v.array(
    v.object({
      ...plannedImageFields,
      tag: v.object({
        ...tagSchema(TagStateSchema).entries,
        unconfirmed: v.optional(described(v.literal(true), 'It was set, but could not be read back')),
      }),
      sparseIndex: v.optional(
        described(
          SparseIndexSchema,
          "The source's own index, if only some platforms are delivered and it was requested",
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
          'The signatures of the image, one for each manifest and format',
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
        'All content of the image',
      ),
      referrers: v.optional(
        described(ReferrersSchema, 'The referrers of the image: signatures, attestations, SBOMs and others'),
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
        'Manifests and indexes, including those of referrers',
      ),
      tagsMoved: wholeNumber,
    }),
    'Totals of blobs and of manifests for all repositories of the target; content that two repositories need counts in each',
  ),
})
export type Receipt = Known<v.InferOutput<typeof ReceiptSchema>>

/** Whether every tag was set and confirmed, so that only source indexes and referrers can be missing. */
export function isAllTagged({ images }: Receipt): boolean {
  return images.every(({ tag }) => tag.state !== 'not-set' && tag.unconfirmed !== true)
}

export function serializeReceipt(receipt: Receipt): Buffer {
  return canonicalJson(receipt)
}
