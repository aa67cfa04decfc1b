import * as v from 'valibot'
import { described } from '../../../bundle/fields.ts'
import { EXIT_CODES, type ErrorCode } from '../../../errors.ts'

export const errorCode = v.picklist(Object.keys(EXIT_CODES) as ErrorCode[])

/** The fields of an error, in a document and in a log line. */
export const errorFields = {
  code: described(errorCode, 'Kind of failure; determines the exit code'),
  message: described(v.string(), 'What happened, to which image, registry or file; for people'),
  hint: v.optional(described(v.string(), 'What to do about it; for people')),
  problems: v.optional(
    described(
      v.array(
        v.object({
          entry: described(v.string(), 'The affected image, bundle entry, tag or source'),
          message: v.string(),
          code: v.optional(described(errorCode, 'Kind of this failure, if there can be several kinds')),
          kind: v.optional(
            described(
              v.picklist(['expectation', 'cut-off']),
              'expectation: the bundle is sound, but not what the caller expects (name, sequence, expiry). cut-off: the file ends too early, as after an incomplete copy',
            ),
          ),
        }),
      ),
      'Every single fault, if there can be several',
    ),
  ),
}

/** The output of every command that fails with `--json`. */
export const ErrorSchema = v.object({ error: v.object(errorFields) })
export type ErrorDocument = v.InferOutput<typeof ErrorSchema>
