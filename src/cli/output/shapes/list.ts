import * as v from 'valibot'
import { from, source } from '../../../bundle/description.ts'
import { described } from '../../../bundle/fields.ts'

/** What `list --json` gives. */
export const ListSchema = v.object({
  images: described(v.array(v.object({ source, from })), 'Sorted by source, each once'),
})
export type ListResult = v.InferOutput<typeof ListSchema>
