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

const registry = described(v.string(), 'The registry, or a part of it, as the command line named it')
const storedIn = v.union([
  v.object({ file: described(v.string(), 'The credentials file') }),
  v.object({
    helper: described(v.string(), 'The credential helper: pass stands for docker-credential-pass'),
  }),
])

/** What `login --json` gives. The password is nowhere in it. */
export const LoginSchema = v.object({
  registry,
  username: v.string(),
  checked: described(
    v.boolean(),
    'Whether the registry has accepted them; one that asks for no authentication cannot say',
  ),
  storedIn: described(storedIn, 'Where they are kept'),
})
export type LoginResult = v.InferOutput<typeof LoginSchema>

/** What `logout --json` gives. */
export const LogoutSchema = v.object({
  registry,
  removed: described(v.boolean(), 'Whether there was something to remove'),
  storedIn: described(storedIn, 'Where they were kept, or were looked for'),
  stillFoundIn: v.optional(
    described(v.string(), 'Where commands still find credentials for this registry; for people'),
  ),
})
export type LogoutResult = v.InferOutput<typeof LogoutSchema>
export type StoredIn = v.InferOutput<typeof storedIn>

/** What `keygen --json` gives. */
export const KeygenSchema = v.object({
  privateKeyFile: described(v.string(), 'The encrypted private key; it stays with the packer'),
  publicKeyFile: described(v.string(), 'The public key, for those who check'),
  keyFingerprint,
})
export type KeygenResult = v.InferOutput<typeof KeygenSchema>

/** What `init --json` gives. With `--print-schema` it gives the schema of a config instead, which is one itself. */
export const InitSchema = v.object({
  file: described(v.string(), 'The config that was written, as --output named it'),
  schemaFile: v.optional(described(v.string(), 'The JSON schema that was written, as --schema named it')),
  // Open, as all documents are: the next release may have more keys.
  config: described(v.object(ConfigSchema.entries), 'What the config says'),
})
export type InitResult = v.InferOutput<typeof InitSchema>

/** What `completion --json` gives. */
export const CompletionSchema = v.object({
  shell: v.picklist(['bash', 'zsh']),
  script: described(v.string(), 'The whole script, to be read by that shell'),
})
export type CompletionResult = v.InferOutput<typeof CompletionSchema>

/** What `list --json` gives. */
export const ListSchema = v.object({
  images: described(v.array(v.object({ source, from })), 'Sorted by source, each once'),
})
export type ListResult = v.InferOutput<typeof ListSchema>
