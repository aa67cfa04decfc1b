import * as v from 'valibot'
import { described, digest, instant, wholeNumber, type Known } from '../../../bundle/fields.ts'

const role = v.object({
  version: wholeNumber,
  expires: described(instant, 'Until when this metadata is good'),
  signed: v.optional(
    described(instant, 'When it was signed, where the repository says for how long it signs'),
  ),
})

/** What `trust-root fetch --json` gives. */
export const TrustRootSchema = v.object({
  file: described(v.string(), 'The trusted root, as --output named it'),
  digest: described(digest, "SHA-256 of the file's bytes: what people compare"),
  size: described(wholeNumber, 'Bytes'),
  mirror: described(v.string(), 'The TUF repository that it came from'),
  metadata: described(
    v.object({ root: role, timestamp: role, snapshot: role, targets: role }),
    'The metadata of the TUF repository by which it was verified',
  ),
  instances: described(
    v.array(
      v.object({
        kind: v.picklist([
          'certificate authority',
          'certificate log',
          'transparency log',
          'timestamp authority',
        ]),
        name: described(v.string(), 'Its URL, as the trusted root has it'),
        start: v.optional(instant),
        end: v.optional(described(instant, 'Until when it was in use; absent for one that is')),
      }),
    ),
    'Whom the trusted root names',
  ),
})
export type TrustRootResult = Known<v.InferOutput<typeof TrustRootSchema>>
