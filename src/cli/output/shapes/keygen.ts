import * as v from 'valibot'
import { described, keyFingerprint } from '../../../bundle/fields.ts'

/** What `keygen --json` gives. */
export const KeygenSchema = v.object({
  privateKeyFile: described(v.string(), 'The encrypted private key; it stays with the packer'),
  publicKeyFile: described(v.string(), 'The public key, for those who check'),
  keyFingerprint,
})
export type KeygenResult = v.InferOutput<typeof KeygenSchema>
