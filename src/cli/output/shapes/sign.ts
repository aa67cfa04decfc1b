import * as v from 'valibot'
import { described, keyFingerprint, type Known } from '../../../bundle/fields.ts'
import { bundleFile, openedFields } from './evidence.ts'

/** What `sign --json` gives. */
export const SignSchema = v.object({
  file: bundleFile,
  verdict: described(
    v.picklist(['good', 'integrity-only']),
    'What was verified before signing. good: everything, a signature of who made the bundle included; integrity-only: complete and unaltered, and who made it was not checked',
  ),
  ...openedFields,
  signatureFile: described(v.string(), 'The new file: a Sigstore bundle over SHA256SUMS'),
  keyFingerprint,
})
export type SignResult = Known<v.InferOutput<typeof SignSchema>>
