import * as v from 'valibot'
import { described } from '../../../bundle/fields.ts'

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
