import * as v from 'valibot'
import { described } from '../../../bundle/fields.ts'

/** What `completion --json` gives. */
export const CompletionSchema = v.object({
  shell: v.picklist(['bash', 'zsh']),
  script: described(v.string(), 'The whole script, to be read by that shell'),
})
export type CompletionResult = v.InferOutput<typeof CompletionSchema>
