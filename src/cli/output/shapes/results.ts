import * as v from 'valibot'
import { from, source } from '../../../bundle/description.ts'
import {
  described,
  digest,
  instant,
  keyFingerprint,
  type Known,
  wholeNumber,
} from '../../../bundle/fields.ts'
import { ConfigSchema } from '../../../inputs/config/schema.ts'
import { bundleFile, openedFields } from './evidence.ts'

const role = v.object({
  version: wholeNumber,
  expires: described(instant, 'Until when this metadata is valid'),
  signed: v.optional(
    described(instant, 'When it was signed, if the repository says how long signatures are valid'),
  ),
})

/** The output of `trust-root fetch --json`. */
export const TrustRootSchema = v.object({
  file: described(v.string(), 'The trusted root, as --output named it'),
  digest: described(digest, "SHA-256 of the file's bytes, for people to compare"),
  size: described(wholeNumber, 'Bytes'),
  mirror: described(v.string(), 'The TUF repository that it comes from'),
  metadata: described(
    v.object({ root: role, timestamp: role, snapshot: role, targets: role }),
    'The TUF metadata by which it was verified',
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
        name: described(v.string(), 'Its URL, as in the trusted root'),
        start: v.optional(instant),
        end: v.optional(described(instant, 'Until when it was in use; absent if it still is')),
      }),
    ),
    'The authorities and logs that the trusted root names',
  ),
})
export type TrustRootResult = Known<v.InferOutput<typeof TrustRootSchema>>

/** The output of `sign --json`. */
export const SignSchema = v.object({
  file: bundleFile,
  verdict: described(
    v.picklist(['good', 'integrity-only']),
    'What was verified before signing. good: everything, including who made the bundle; integrity-only: complete and unaltered, but it was not checked who made it',
  ),
  ...openedFields,
  signatureFile: described(v.string(), 'The new file: a Sigstore bundle over SHA256SUMS'),
  keyFingerprint,
})
export type SignResult = Known<v.InferOutput<typeof SignSchema>>

/** A resource or configuration in a format of other projects. */
const anyObject = v.pipe(
  v.custom<object>((value) => typeof value === 'object' && value !== null),
  v.metadata({ type: 'object' }),
)

/** The output of `policy --json`. */
export const PolicySchema = v.object({
  enforcer: v.picklist(['kyverno', 'policy-controller', 'containers']),
  registries: described(v.array(v.string()), 'Where images must be signed: REGISTRY[/PREFIX]'),
  keyFingerprints: described(
    v.array(keyFingerprint),
    'The keys that images must be signed with; one is enough',
  ),
  files: v.array(
    v.object({
      name: described(v.string(), 'Path below the folder of -o'),
      about: described(v.string(), 'What the file is, and where it belongs'),
      text: described(v.string(), 'Content of the file: YAML with comments, or JSON'),
      documents: described(v.array(anyObject), 'The same as data, one for each document of the file'),
    }),
  ),
  folder: v.optional(described(v.string(), 'Folder to which -o wrote the files')),
})
export type PolicyResult = Known<v.InferOutput<typeof PolicySchema>>

const registry = described(v.string(), 'The registry, or a part of it, as the command line named it')
const storedIn = v.union([
  v.object({ file: described(v.string(), 'The credentials file') }),
  v.object({
    helper: described(v.string(), 'The credential helper: pass means docker-credential-pass'),
  }),
])

/** The output of `login --json`. It does not contain the password. */
export const LoginSchema = v.object({
  registry,
  username: v.string(),
  checked: described(
    v.boolean(),
    'Whether the registry accepted them; false if it asks for no authentication',
  ),
  storedIn: described(storedIn, 'Where they are stored'),
})
export type LoginResult = v.InferOutput<typeof LoginSchema>

/** The output of `logout --json`. */
export const LogoutSchema = v.object({
  registry,
  removed: described(v.boolean(), 'Whether there was something to remove'),
  storedIn: described(storedIn, 'Where they were stored, or were looked for'),
  stillFoundIn: v.optional(
    described(v.string(), 'Where there are still credentials for this registry; for people'),
  ),
})
export type LogoutResult = v.InferOutput<typeof LogoutSchema>
export type StoredIn = v.InferOutput<typeof storedIn>

/** The output of `keygen --json`. */
export const KeygenSchema = v.object({
  privateKeyFile: described(v.string(), 'The encrypted private key, which stays with the packer'),
  publicKeyFile: described(v.string(), 'The public key, for those who verify'),
  keyFingerprint,
})
export type KeygenResult = v.InferOutput<typeof KeygenSchema>

/** The output of `init --json`. With `--print-schema` the output is the schema of a config instead. */
export const InitSchema = v.object({
  file: described(v.string(), 'The config that was written, as --output named it'),
  schemaFile: v.optional(described(v.string(), 'The JSON schema that was written, as --schema named it')),
  // Other keys are allowed, as in all documents: the next release may have more.
  config: described(v.object(ConfigSchema.entries), 'Content of the config'),
})
export type InitResult = v.InferOutput<typeof InitSchema>

/** The output of `completion --json`. */
export const CompletionSchema = v.object({
  shell: v.picklist(['bash', 'zsh']),
  script: described(v.string(), 'The whole script for that shell'),
})
export type CompletionResult = v.InferOutput<typeof CompletionSchema>

/** The output of `list --json`. */
export const ListSchema = v.object({
  images: described(v.array(v.object({ source, from })), 'Sorted by source, each once'),
})
export type ListResult = v.InferOutput<typeof ListSchema>
