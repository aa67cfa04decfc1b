import * as v from 'valibot'
import { described } from '../../../bundle/fields.ts'
import { ConfigSchema } from '../../../inputs/config/schema.ts'

/** What `init --json` gives. With `--print-schema` it gives the schema of a config instead, which is one itself. */
export const InitSchema = v.object({
  file: described(v.string(), 'The config that was written, as --output named it'),
  schemaFile: v.optional(described(v.string(), 'The JSON schema that was written, as --schema named it')),
  // Open, as all documents are: the next release may have more keys.
  config: described(v.object(ConfigSchema.entries), 'What the config says'),
})
export type InitResult = v.InferOutput<typeof InitSchema>
