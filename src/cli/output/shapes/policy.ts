import * as v from 'valibot'
import { described, keyFingerprint, type Known } from '../../../bundle/fields.ts'

/** A resource, or a configuration, by a schema of others. */
const anyObject = v.pipe(
  v.custom<object>((value) => typeof value === 'object' && value !== null),
  v.metadata({ type: 'object' }),
)

/** What `policy --json` gives. */
export const PolicySchema = v.object({
  enforcer: v.picklist(['kyverno', 'policy-controller', 'containers']),
  registries: described(v.array(v.string()), 'What is held to signatures: REGISTRY[/PREFIX]'),
  keyFingerprints: described(
    v.array(keyFingerprint),
    'The keys that images are signed with; any one suffices',
  ),
  files: v.array(
    v.object({
      name: described(v.string(), 'Its path below the folder of -o'),
      about: described(v.string(), 'What it is, and where it goes'),
      text: described(v.string(), 'What the file holds: YAML with comments, or JSON'),
      documents: described(v.array(anyObject), 'The same as data, one for each document of the file'),
    }),
  ),
  folder: v.optional(described(v.string(), 'Where -o has written the files')),
})
export type PolicyResult = Known<v.InferOutput<typeof PolicySchema>>
