import * as v from 'valibot'
import { described } from '../../../bundle/fields.ts'
import { EXIT_CODES, type ErrorCode } from '../../../errors.ts'

export const errorCode = v.picklist(Object.keys(EXIT_CODES) as ErrorCode[])

/** The fields of an error, in a document and in a log line alike. */
export const errorFields = {
  code: described(errorCode, 'What kind of failure; the exit code follows from it'),
  message: described(v.string(), 'What happened, to which image, registry or file; for people'),
  hint: v.optional(described(v.string(), 'What to do about it; for people')),
  problems: v.optional(
    described(
      v.array(
        v.object({
          entry: described(v.string(), 'The image, bundle entry, tag or source concerned'),
          message: v.string(),
          code: v.optional(
            described(errorCode, 'What kind of failure this one is, where there can be several kinds'),
          ),
          kind: v.optional(
            described(
              v.picklist(['expectation', 'cut-off']),
              'expectation: the bundle is sound, and is not what the caller expects (name, sequence, expiry). cut-off: the file ends too early, as one that was not copied whole',
            ),
          ),
        }),
      ),
      'Every single fault, where there can be several',
    ),
  ),
}

/** What every command gives with `--json` when it fails. */
export const ErrorSchema = v.object({ error: v.object(errorFields) })
export type ErrorDocument = v.InferOutput<typeof ErrorSchema>
